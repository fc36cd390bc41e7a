//! Exchanging the root of a mesh, and going back.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::Args;
use osm_core::identity::TrustDomain;
use osm_k8s::objects::{Applied, ObjectKey};
use osm_k8s::status::root::StageStatus;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::roots::{KIND, stage};
use crate::cli::connection::{Cluster, ClusterArgs};
use crate::cli::local::lines::print;
use crate::install::CONTROL_PLANE;
use crate::rotation::DEFAULT_ROOT;

/// How often is looked how far a change is.
const LOOK: Duration = Duration::from_secs(1);
/// A root that the mesh makes and keeps itself.
const OWN: &str = "tresor";

/// How long is waited, and where.
#[derive(Debug, Clone, Args)]
pub(super) struct ChangeArgs {
    /// Wait until nothing is left of other roots, and tell what is done meanwhile
    #[arg(long)]
    wait: bool,
    /// How long to wait
    #[arg(long, value_name = "SECONDS", default_value_t = 900, requires = "wait")]
    timeout: u64,
    /// The Secret of the root that the mesh was installed with [default: what the control plane was started with]
    #[arg(long, value_name = "NAME")]
    ca_bundle_secret_name: Option<String>,
    #[command(flatten)]
    pub(super) cluster: ClusterArgs,
}

/// What `osm certs rotate-root` is told.
#[derive(Debug, Clone, Args)]
pub(super) struct RotateArgs {
    /// The MeshRootCertificate that is to sign, or `tresor` for a new root that the mesh makes and keeps itself
    #[arg(long, value_name = "NAME", default_value = OWN)]
    to: String,
    /// The trust domain of identities under a new root [default: the one that they have]
    #[arg(long, value_name = "DOMAIN")]
    trust_domain: Option<TrustDomain>,
    #[command(flatten)]
    pub(super) change: ChangeArgs,
}

/// What `osm certs rollback` is told.
#[derive(Debug, Clone, Args)]
pub(super) struct RollbackArgs {
    #[command(flatten)]
    pub(super) change: ChangeArgs,
}

/// Something to write.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Write {
    /// A root of the mesh's own, with this Secret, for identities in this trust domain.
    Make { name: String, secret: String, role: &'static str, domain: Option<String> },
    /// A role.
    Role { name: String, role: &'static str },
}

/// What is known.
struct Known<'a> {
    /// The roots that have objects, and their roles.
    roles: Vec<(String, String)>,
    stage: &'a StageStatus,
    first_secret: &'a str,
}

impl Known<'_> {
    fn has(&self, name: &str) -> bool {
        self.roles.iter().any(|(known, _)| known == name)
    }

    /// What leads to this root alone. At each moment one root is active and no more than two are in use: one that is active
    /// stays, all others go, this one comes, and then that one goes.
    fn lead_to(&self, name: &str) -> Vec<Write> {
        let others = || self.roles.iter().filter(|(other, role)| other != name && role != "inactive");
        let active = || others().filter(|(_, role)| role == "active");
        let signs = active().find(|(other, _)| *other == self.stage.issuing);
        let kept = signs.or_else(|| active().next());
        let away = |(name, _): &(String, String)| Write::Role { name: name.clone(), role: "inactive" };
        let is_kept = |one: &&(String, String)| Some(*one) == kept;
        let here = Write::Role { name: name.to_owned(), role: "active" };
        let rest = others().filter(|one| !is_kept(one)).map(away);
        let mut writes: Vec<Write> = rest.chain([here]).chain(kept.map(away)).collect();
        writes.retain(|write| !self.is_so(write));
        writes
    }

    /// Whether something need not be written.
    fn is_so(&self, write: &Write) -> bool {
        match write {
            Write::Make { .. } => false,
            Write::Role { name, role } => self.roles.iter().any(|(known, is)| known == name && is == role),
        }
    }

    /// Whether a change can begin.
    fn can_begin(&self, to: &str) -> Result<()> {
        if let Some(given_up) = self.stage.given_up.as_ref().filter(|given_up| given_up.root == to) {
            bail!(
                "root {to} was given up, since not every proxy was there in time, and {} signs: `osm certs rollback` ends that; \
                 then it can be tried again",
                given_up.instead
            );
        }
        Ok(())
    }

    /// The object of the root that signs, where it has none: without it nobody could say that it is to sign again.
    fn first(&self) -> Vec<Write> {
        let is_first = self.stage.issuing == DEFAULT_ROOT && !self.has(DEFAULT_ROOT);
        is_first.then(|| self.again(DEFAULT_ROOT, "active")).into_iter().collect()
    }

    /// The object of the root that the mesh was installed with, with what it says of it.
    fn again(&self, name: &str, role: &'static str) -> Write {
        let (name, secret) = (name.to_owned(), self.first_secret.to_owned());
        let domains = &self.stage.trust_domains;
        let domain = domains.get(&name).or_else(|| domains.get(&self.stage.issuing)).cloned();
        Write::Make { name, secret, role, domain }
    }
}

/// What exchanges the root. Pure; `fresh` is a name that neither a root nor a Secret has.
fn rotation(known: &Known<'_>, to: &str, fresh: &str, domain: Option<&TrustDomain>) -> Result<Vec<Write>> {
    known.can_begin(to)?;
    let mut writes = known.first();
    if to != OWN {
        if !known.has(to) {
            let names: Vec<&str> = known.roles.iter().map(|(name, _)| name.as_str()).collect();
            bail!(
                "there is no MeshRootCertificate {to}{}; apply one with `role: inactive`, or leave --to out for a new root of the \
                 mesh's own",
                if names.is_empty() { String::new() } else { format!(", only {}", names.join(", ")) }
            );
        }
        if let Some(domain) = domain {
            bail!(
                "the trust domain of root {to} is what its MeshRootCertificate says, and never changes: leave --trust-domain out, \
                 or apply another MeshRootCertificate with `trustDomain: {domain}`"
            );
        }
        writes.extend(after(known, &writes).lead_to(to));
        return Ok(writes);
    }
    let name = fresh.to_owned();
    let kept = known.stage.trust_domains.get(&known.stage.issuing).cloned();
    let domain = domain.map(ToString::to_string).or(kept);
    let led = after(known, &writes).lead_to(&name);
    writes.extend(led.into_iter().map(|write| match write {
        Write::Role { name: of, role } if of == name => {
            Write::Make { secret: of.clone(), name: of, role, domain: domain.clone() }
        }
        other => other,
    }));
    Ok(writes)
}

/// What leads back. Pure.
fn rollback(known: &Known<'_>) -> Result<(String, Vec<Write>)> {
    let stage = known.stage;
    // The one that signed when the change began, or the one that still signs while another one is to.
    let is_wished = |name: &str| known.roles.iter().any(|(other, role)| other == name && role == "active");
    let is_other = known.roles.iter().any(|(name, role)| role == "active" && *name != stage.issuing);
    let back = match (&stage.previous, &stage.given_up) {
        (Some(previous), None) => previous.clone(),
        (_, Some(given_up)) => given_up.instead.clone(),
        (None, None) if is_other || !is_wished(&stage.issuing) && !known.roles.is_empty() => {
            stage.issuing.clone()
        }
        (None, None) => bail!(
            "no change of roots is under way: {} signs since {}; `osm certs rotate-root --to NAME` leads to another root",
            stage.issuing,
            stage.since
        ),
    };
    let mut writes = Vec::new();
    if !known.has(&back) {
        if back != DEFAULT_ROOT {
            bail!("root {back} signed before, and its MeshRootCertificate is gone: apply it again");
        }
        // It is the active one from when it is there.
        writes.push(known.again(&back, "inactive"));
    }
    writes.extend(after(known, &writes).lead_to(&back));
    Ok((back, writes))
}

/// What is known after something was written.
fn after<'a>(known: &Known<'a>, writes: &[Write]) -> Known<'a> {
    let mut roles = known.roles.clone();
    for write in writes {
        let (Write::Make { name, role, .. } | Write::Role { name, role }) = write;
        roles.retain(|(other, _)| other != name);
        roles.push((name.clone(), (*role).to_owned()));
    }
    Known { roles, stage: known.stage, first_secret: known.first_secret }
}

pub(super) async fn rotate(cluster: &Cluster, args: &RotateArgs) -> Result<ExitCode> {
    let looked = look(cluster, &args.change).await?;
    let (known, stage) = (looked.known(), &looked.stage);
    let fresh = fresh_name(cluster, &args.change.cluster.osm_namespace, stage.number).await?;
    let writes = rotation(&known, &args.to, &fresh, args.trust_domain.as_ref())?;
    let to = if args.to == OWN { fresh } else { args.to.clone() };
    carry_out(cluster, &writes, &to, stage, &args.change).await
}

pub(super) async fn roll_back(cluster: &Cluster, args: &RollbackArgs) -> Result<ExitCode> {
    let looked = look(cluster, &args.change).await?;
    let (known, stage) = (looked.known(), &looked.stage);
    let (to, writes) = rollback(&known)?;
    carry_out(cluster, &writes, &to, stage, &args.change).await
}

/// The Secret of the root that the mesh was installed with: the flag, or what the control plane was started with.
async fn first_secret(cluster: &Cluster, args: &ChangeArgs) -> Result<String> {
    if let Some(given) = &args.ca_bundle_secret_name {
        return Ok(given.clone());
    }
    let namespace = &args.cluster.osm_namespace;
    let key = ObjectKey::namespaced("apps/v1", "Deployment", namespace, CONTROL_PLANE);
    let deployment = cluster.objects.get(&key).await?.unwrap_or_default();
    let containers = deployment["spec"]["template"]["spec"]["containers"].as_array().into_iter().flatten();
    let mut words =
        containers.filter_map(|container| container["args"].as_array()).flatten().filter_map(Value::as_str);
    let secret = words.find_map(|word| word.strip_prefix("--ca-secret="));
    secret.map(str::to_owned).with_context(|| {
        format!("{key} does not say which Secret has the root that the mesh was installed with: name it with --ca-bundle-secret-name")
    })
}

/// A name that neither a root nor a Secret has: a key that was there before is no new one.
async fn fresh_name(cluster: &Cluster, namespace: &str, stage: u64) -> Result<String> {
    let mut number = stage + 1;
    loop {
        let name = format!("osm-root-{number}");
        let root = ObjectKey::namespaced(KIND.api_version(), KIND.name(), namespace, &name);
        let secret = ObjectKey::namespaced("v1", "Secret", namespace, &name);
        let is_taken =
            cluster.objects.get(&root).await?.is_some() || cluster.objects.get(&secret).await?.is_some();
        if !is_taken {
            return Ok(name);
        }
        number += 1;
    }
}

/// What a cluster says.
struct Looked {
    roles: Vec<(String, String)>,
    stage: StageStatus,
    first_secret: String,
}

impl Looked {
    fn known(&self) -> Known<'_> {
        Known { roles: self.roles.clone(), stage: &self.stage, first_secret: &self.first_secret }
    }
}

async fn look(cluster: &Cluster, args: &ChangeArgs) -> Result<Looked> {
    let namespace = &args.cluster.osm_namespace;
    let stage = stage(cluster, namespace).await?;
    let stage = stage.with_context(|| {
        format!("no mesh in namespace {namespace} has written which roots it has; is its control plane ready? `osm mesh list` shows meshes")
    })?;
    let objects = cluster.objects.list(KIND.key(), Some(namespace), "").await?;
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let roles =
        objects.iter().map(|object| (text(&object["metadata"]["name"]), text(&object["spec"]["role"])));
    Ok(Looked { roles: roles.collect(), stage, first_secret: first_secret(cluster, args).await? })
}

async fn carry_out(
    cluster: &Cluster,
    writes: &[Write],
    to: &str,
    stage: &StageStatus,
    args: &ChangeArgs,
) -> Result<ExitCode> {
    let namespace = &args.cluster.osm_namespace;
    for write in writes {
        let written = write_down(cluster, namespace, write).await;
        written.context("the change is half written: run the same command again to write the rest")?;
    }
    if writes.is_empty() {
        print(&format!("nothing had to be written: root {to} is asked for already"))?;
    }
    if stage.is_paused {
        print(
            "the change of roots is paused: set `paused: false` in the MeshRootCertificates that are in use to have it go on",
        )?;
    }
    if !args.wait {
        print(
            "`osm certs status` shows how far the mesh is with its roots, `osm certs rollback` leads back",
        )?;
        return Ok(ExitCode::SUCCESS);
    }
    wait(cluster, namespace, to, Duration::from_secs(args.timeout)).await
}

async fn write_down(cluster: &Cluster, namespace: &str, write: &Write) -> Result<()> {
    match write {
        Write::Make { name, secret, role, domain } => {
            let object = object(namespace, name, secret, role, domain.as_deref());
            let made = cluster.objects.create_if_absent(&object).await?;
            if made != Applied::Created {
                bail!("there is a MeshRootCertificate {name} already; try again");
            }
            print(&format!("MeshRootCertificate {name} is made: {role}"))
        }
        Write::Role { name, role } => {
            let key = ObjectKey::namespaced(KIND.api_version(), KIND.name(), namespace, name);
            cluster.objects.merge(&key, &json!({ "spec": { "role": role } })).await?;
            print(&format!("MeshRootCertificate {name} is {role}"))
        }
    }
}

fn object(namespace: &str, name: &str, secret: &str, role: &str, domain: Option<&str>) -> Value {
    let mut object = json!({
        "apiVersion": KIND.api_version(), "kind": KIND.name(), "metadata": { "name": name, "namespace": namespace },
        "spec": {
            "role": role,
            "provider": { "tresor": { "ca": { "secretRef": { "name": secret, "namespace": namespace } } } },
        },
    });
    if let Some(domain) = domain {
        object["spec"]["trustDomain"] = domain.into();
    }
    object
}

/// Waits until a root is the only one, and tells what is done meanwhile.
async fn wait(cluster: &Cluster, namespace: &str, to: &str, bound: Duration) -> Result<ExitCode> {
    let (began, mut said) = (Instant::now(), String::new());
    loop {
        let looked = stage(cluster, namespace).await;
        let is_over = began.elapsed() >= bound;
        // An API server that is away for a moment is no end of the change.
        let Some(stage) = looked.or_else(|error| if is_over { Err(error) } else { Ok(None) })? else {
            if is_over {
                bail!("how far the mesh is with its roots is written nowhere; is its control plane ready?");
            }
            sleep(LOOK).await;
            continue;
        };
        if stage.issuing == to && stage.serving == to && stage.trusted == [to] {
            print(&format!(
                "root {to} signs, and nothing is left of others, after {} s",
                began.elapsed().as_secs()
            ))?;
            return Ok(ExitCode::SUCCESS);
        }
        if let Some(given_up) = stage.given_up.as_ref().filter(|given_up| given_up.root == to) {
            bail!(
                "root {to} was given up, since not every proxy was there in time, and {} signs; `osm certs status` shows more",
                given_up.instead
            );
        }
        let key = ObjectKey::namespaced(KIND.api_version(), KIND.name(), namespace, to);
        let object = cluster.objects.get(&key).await.ok().flatten().unwrap_or_default();
        let message = object["status"]["message"].as_str().unwrap_or_default();
        if !message.is_empty() && message != said {
            print(&format!("{:>4} s  stage {}: {message}", began.elapsed().as_secs(), stage.number))?;
            message.clone_into(&mut said);
        }
        if is_over {
            bail!(
                "root {to} is not the only one after {} s, and the mesh goes on: {said}; `osm certs status` shows more, \
                 `osm certs rollback` leads back",
                bound.as_secs()
            );
        }
        sleep(LOOK).await;
    }
}

#[cfg(test)]
mod tests;
