//! `osm verify`: whether a mesh is as it should be, and what to do where it is not.

use std::collections::BTreeSet;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use clap::{Args, Subcommand};
use osm_core::name::QualifiedName;
use osm_k8s::forward::{self, PodPort};
use osm_k8s::objects::{ObjectKey, Objects};
use osm_k8s::webhook::WebhookNames;
use serde_json::Value;

use super::args::LookArgs;
use super::connection::Cluster;
use super::local::lines::print;
use super::policy::mesh;
use super::proxy::{ADMIN_PORT, sidecar};
use super::snapshot::snapshot;
use super::table::Output;
use crate::chart::Chart;
use crate::checks::{Check, connectivity, control_plane, injection};
use crate::install::{CONTROL_PLANE, Installed, control_plane_label};
use crate::mesh_namespace::MONITORED_BY;
use crate::verdict::Verdict;

/// The port of the control plane's health and metrics.
pub(super) const HEALTH_PORT: u16 = 9091;

/// Checks a mesh; the exit code is 1 if something is not as it should be
#[derive(Debug, Clone, Args)]
pub struct VerifyArgs {
    #[command(subcommand)]
    command: VerifyCommand,
}

#[derive(Debug, Clone, Subcommand)]
enum VerifyCommand {
    /// Checks that the control plane works
    #[command(alias = "control-plane-health")]
    ControlPlane(LookArgs),
    /// Checks that every pod that should have a sidecar has one that works
    Injection {
        /// Only this namespace
        #[arg(short, long, value_name = "NAMESPACE")]
        namespace: Option<String>,
        #[command(flatten)]
        look: LookArgs,
    },
    /// Checks that one pod can call another: policy, sidecars, and what their Envoys know
    Connectivity {
        /// Who calls, as NAMESPACE/POD
        #[arg(long, value_name = "NAMESPACE/POD")]
        from_pod: QualifiedName,
        /// Who is called, as NAMESPACE/POD
        #[arg(long, value_name = "NAMESPACE/POD")]
        to_pod: QualifiedName,
        /// By which Service, of the called pod's namespace; by any without
        #[arg(long, value_name = "SERVICE")]
        to_service: Option<String>,
        #[command(flatten)]
        look: LookArgs,
    },
}

impl VerifyArgs {
    /// Does it.
    ///
    /// # Errors
    /// When something can't be looked at; the text says what to do next.
    pub fn run(self) -> Result<ExitCode> {
        let (output, checks) = match self.command {
            VerifyCommand::ControlPlane(LookArgs { at, output }) => {
                let checks = at.cluster.run(async |cluster: Cluster| {
                    let mesh = mesh(&cluster, &at.mesh_name).await?;
                    Ok(control_plane::check(&parts(&cluster, &mesh).await?))
                });
                (output, checks?)
            }
            VerifyCommand::Injection { namespace, look: LookArgs { at, output } } => {
                let checks = at.cluster.run(async |cluster: Cluster| {
                    sidecars(&cluster.objects, &at.mesh_name, namespace.as_deref()).await
                });
                (output, checks?)
            }
            VerifyCommand::Connectivity { from_pod, to_pod, to_service, look: LookArgs { at, output } } => {
                let checks = at.cluster.run(async |cluster: Cluster| {
                    let mesh = mesh(&cluster, &at.mesh_name).await?;
                    calls(&cluster, &mesh, &from_pod, &to_pod, to_service.as_deref()).await
                });
                (output, checks?)
            }
        };
        match output {
            Output::Json => print(&serde_json::to_string_pretty(&checks)?)?,
            Output::Table => checks.iter().try_for_each(|check| print(&check.to_string()))?,
        }
        Ok(if checks.iter().all(|check| check.ok) { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}

/// What the cluster has of a control plane.
async fn parts(cluster: &Cluster, mesh: &Installed) -> Result<control_plane::Parts> {
    let objects = &cluster.objects;
    let namespace = mesh.namespace.clone();
    let pods = objects.list(("v1", "Pod"), Some(&namespace), &control_plane_label()).await?;
    let mut answers = Vec::new();
    for pod in &pods {
        let key = ObjectKey::of(pod)?;
        let to = PodPort { namespace: &namespace, pod: &key.name, port: HEALTH_PORT };
        let answer = forward::ask(&cluster.client, to, "GET", "health/ready").await;
        let answer = answer
            .map(|answer| (answer.status, String::from_utf8_lossy(&answer.body).into_owned()))
            .map_err(|error| error.to_string());
        answers.push((key.to_string(), answer));
    }
    let mut definitions = Vec::new();
    for definition in Chart::built_in()?.definitions()? {
        let key = ObjectKey::of(&definition)?;
        definitions.push((key.clone(), objects.get(&key).await?));
    }
    let config = ("config.openservicemesh.io/v1alpha2", "MeshConfig");
    Ok(control_plane::Parts {
        deployment: objects
            .get(&ObjectKey::namespaced("apps/v1", "Deployment", &namespace, CONTROL_PLANE))
            .await?,
        mesh_config: objects
            .get(&ObjectKey::namespaced(config.0, config.1, &namespace, "osm-mesh-config"))
            .await?,
        webhooks: webhooks(objects, &mesh.mesh).await?,
        namespace,
        pods,
        answers,
        definitions,
    })
}

/// The webhook configurations of a mesh, as far as they are there.
async fn webhooks(objects: &Objects, mesh: &str) -> Result<Vec<(ObjectKey, Option<Value>)>> {
    let names = WebhookNames::of_mesh(mesh);
    let kinds = [
        ("MutatingWebhookConfiguration", names.mutating),
        ("ValidatingWebhookConfiguration", names.validating),
    ];
    let mut found = Vec::new();
    for (kind, name) in kinds {
        let key = ObjectKey::of_cluster("admissionregistration.k8s.io/v1", kind, &name);
        let object = objects.get(&key).await?;
        found.push((key, object));
    }
    Ok(found)
}

async fn sidecars(objects: &Objects, mesh: &str, only: Option<&str>) -> Result<Vec<Check>> {
    let namespaces = objects.list(("v1", "Namespace"), None, &format!("{MONITORED_BY}={mesh}")).await?;
    let mut checks = Vec::new();
    for namespace in &namespaces {
        let name = namespace["metadata"]["name"].as_str().unwrap_or_default();
        if only.is_none_or(|only| only == name) {
            let pods = objects.list(("v1", "Pod"), Some(name), "").await?;
            checks.extend(injection::check(mesh, namespace, &pods));
        }
    }
    if checks.is_empty() {
        match only {
            Some(only) => {
                bail!("the namespace {only} is not in the mesh {mesh}; `osm namespace add {only}` adds it")
            }
            None => bail!("no namespace is in the mesh {mesh}; `osm namespace add NAMESPACE` adds one"),
        }
    }
    Ok(checks)
}

async fn calls(
    cluster: &Cluster,
    mesh: &Installed,
    from: &QualifiedName,
    to: &QualifiedName,
    service: Option<&str>,
) -> Result<Vec<Check>> {
    let snapshot = snapshot(cluster, mesh).await?;
    let verdict = Verdict::of(&snapshot, from, to)?;
    let refusal = (!verdict.allowed).then(|| verdict.reasons.join("; "));
    let mut checks = vec![Check::unless(
        format!("policy lets {from} call {to}"),
        refusal,
        "`osm policy check-pods` shows what policy says",
    )];
    let ports: BTreeSet<String> = snapshot
        .services_of(to)
        .filter(|linked| service.is_none_or(|service| linked.name.name.to_string() == service))
        .flat_map(|linked| linked.ports.keys().map(|port| format!("{}|{port}", linked.name)))
        .collect();
    let addresses: Vec<String> = snapshot
        .workload(to)
        .map(|workload| workload.addresses.iter().map(ToString::to_string).collect())
        .unwrap_or_default();
    let clusters = envoy(cluster, from, "clusters?format=json").await?;
    checks.push(connectivity::endpoints(&clusters, &ports, &addresses));
    for pod in [from, to] {
        checks.push(connectivity::certificates(&envoy(cluster, pod, "certs").await?, &pod.to_string()));
    }
    Ok(checks)
}

/// What the Envoy of a pod answers, as JSON.
pub(super) async fn envoy(cluster: &Cluster, pod: &QualifiedName, path: &str) -> Result<Value> {
    let (namespace, name) = (pod.namespace.to_string(), pod.name.to_string());
    sidecar(cluster, &namespace, &name).await?;
    let to = PodPort { namespace: &namespace, pod: &name, port: ADMIN_PORT };
    let answer = forward::ask(&cluster.client, to, "GET", path).await?;
    serde_json::from_slice(&answer.body)
        .with_context(|| format!("the Envoy of {pod} does not answer {path} as JSON"))
}
