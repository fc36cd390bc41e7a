//! The root of a mesh in a real cluster is exchanged while it serves: by another one of its own, by one behind Vault,
//! by one behind cert-manager, and back, with a change of mind and the end of the control plane on the way. Meanwhile requests
//! are made all the time, each on a new connection too, and none fails.
//!
//! `cargo xtask e2e cluster_roots` runs it in the cluster of the project's own. `OSM_ROOTS_REQUESTS=100000` before it goes round
//! and round until so many requests were made on new connections. In another cluster, `$OSM_HOST` is the address of this machine
//! as pods see it.

mod issuers;
mod roots;

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use osm_e2e::cluster::inventory::Inventory;
use osm_e2e::cluster::mesh::{Mesh, osm, upgrade};
use osm_e2e::cluster::replicas::Replica;
use osm_e2e::cluster::seen::{Seen, everybody_calls};
use osm_e2e::cluster::{Step, proxies, replicas, step, tidy_up};
use osm_e2e::kubectl::{apply, kubectl, told_by, until};

use issuers::{CertManager, OpenBao};
use roots::{FIRST, Provider, is_active, root, settled, settled_soon, stage, until_stage};

/// How many requests are made on new connections at least; `OSM_ROOTS_REQUESTS` says otherwise.
const REQUESTS: u64 = 5_000;
/// How long is between two of them.
const PAUSE: Duration = Duration::from_millis(5);

/// Exchanges the root for this one, and waits until nothing of another is left.
fn exchange(name: &str, provider: &Provider) -> Result<String> {
    let seen = Seen::now()?;
    // Two are the most that may be in use: this one signs, and what signed is for nothing any more.
    apply(&root(name, provider, "active"))?;
    for other in roots::others(name)? {
        kubectl(&[
            "patch",
            "--namespace=osm-system",
            "meshrootcertificates",
            &other,
            "--type=merge",
            "--patch={\"spec\":{\"role\":\"inactive\"}}",
        ])?;
    }
    settled_soon(name)?;
    is_active(name)?;
    seen.all_went_well()
}

/// By the command line, as a person would, and with nobody who hurries.
fn by_hand() -> Result<String> {
    let seen = Seen::now()?;
    let said = osm(&["certs", "rotate-root", "--wait", "--timeout=400"])?;
    let name = stage()?.issuing;
    ensure!(name.starts_with("osm-root-") && said.contains("nothing is left of others"), "{said}");
    settled(&name)?;
    is_active(&name)?;
    let shown = osm(&["certs", "status", "--namespace=bookstore"])?;
    ensure!(shown.contains(&name) && shown.contains(FIRST), "{shown}");
    seen.all_went_well()
}

const FIRST_STEPS: &[Step] = &[
    ("a new root takes the place of the first by one command", by_hand),
    ("and a root of the mesh's own that was written down its place", || {
        exchange("second", &Provider::InProcess)
    }),
    MIND,
    KILLED,
    (
        "everybody gets a name in another trust domain by one command, from two replicas of which one is lost in the middle",
        renamed,
    ),
];
/// From `second`, which signs, to `second` and from there to `third`.
const MIND: Step = ("a change of mind in the middle leads back", change_of_mind);
const KILLED: Step = ("a control plane that is killed in the middle goes on where it was", killed);

fn change_of_mind() -> Result<String> {
    let seen = Seen::now()?;
    let before = stage()?.number;
    apply(&root("third", &Provider::InProcess, "active"))?;
    apply(&root("second", &Provider::InProcess, "passive"))?;
    until_stage("the new root signs", |stage| stage.issuing == "third")?;
    let said = osm(&["certs", "rollback"])?;
    ensure!(said.contains("MeshRootCertificate second is active"), "{said}");
    settled_soon("second")?;
    let steps = stage()?.number - before;
    Ok(format!("{steps} stages; {}", seen.all_went_well()?))
}

fn killed() -> Result<String> {
    let seen = Seen::now()?;
    apply(&root("third", &Provider::InProcess, "active"))?;
    apply(&root("second", &Provider::InProcess, "inactive"))?;
    until_stage("the new root is trusted", |stage| stage.trusted.iter().any(|root| root == "third"))?;
    let how = replicas::lose(&busiest()?)?;
    settled_soon("third")?;
    Ok(format!("{how}; {}", seen.all_went_well()?))
}

/// The replica of the control plane to which the most proxies are connected.
fn busiest() -> Result<Replica> {
    replicas::all()?.into_iter().max_by_key(|replica| replica.streams).context("a replica")
}

fn renamed() -> Result<String> {
    let seen = Seen::now()?;
    upgrade(&["osm.osmController.replicaCount=2"])?;
    until("replicas", || {
        let replicas = replicas::all()?;
        ensure!(replicas.len() == 2, "{replicas:?}");
        Ok(())
    })?;
    let lost = busiest()?;
    osm(&["certs", "rotate-root", "--trust-domain=next.example"])?;
    until_stage("names in both trust domains are known", |stage| {
        stage.trusted.len() == 2 && stage.trust_domains.values().collect::<BTreeSet<_>>().len() == 2
    })?;
    let how = replicas::lose(&lost)?;
    until_stage("the new root signs", |stage| stage.issuing != "third")?;
    let name = stage()?.issuing;
    settled_soon(&name)?;
    is_active(&name)?;
    let names: Vec<String> =
        proxies::certificates()?.into_values().map(|certificate| certificate.uri).collect();
    let are_renamed = names.iter().all(|uri| uri.starts_with("spiffe://next.example/"));
    ensure!(names.len() > 4 && are_renamed, "{names:?}");
    Ok(format!("{} proxies, one replica {how}; {}", names.len(), seen.all_went_well()?))
}

/// Roots behind real servers sign, one after the other, and in the end one of the mesh's own again.
fn issuers(lap: u32) -> Result<()> {
    let vault = OpenBao::start()?;
    step("a root behind Vault takes its place", || {
        // Each time another server with another root, and an object is for one root.
        exchange(&format!("vault-{lap}"), &vault.provider())
    })?;
    step("and one behind cert-manager that of Vault's", || exchange("cert-manager", &Provider::CertManager))?;
    drop(vault);
    step("and one of the mesh's own that of cert-manager's, with Vault gone", || {
        exchange("second", &Provider::InProcess)
    })
}

/// Goes round until there were so many requests.
fn laps(wanted: u64, all: &Seen) -> Result<()> {
    let cert_manager = CertManager::start()?;
    FIRST_STEPS.iter().try_for_each(|(title, work)| step(title, work))?;
    issuers(1)?;
    for lap in 2.. {
        let made = all.new_connections()?;
        if made >= wanted {
            break;
        }
        println!("         lap {lap}, as {made} of {wanted} requests were made on new connections");
        [MIND, KILLED].iter().try_for_each(|(title, work)| step(title, work))?;
        issuers(lap)?;
    }
    cert_manager.end()
}

/// Does all of it. `mesh` is what is installed meanwhile.
fn walk(mesh: &mut Option<Mesh>) -> Result<()> {
    let wanted = match std::env::var("OSM_ROOTS_REQUESTS") {
        Ok(text) => text.parse().with_context(|| format!("OSM_ROOTS_REQUESTS is a number, not {text}"))?,
        Err(_) => REQUESTS,
    };
    tidy_up()?;
    let before = Inventory::take()?;
    step("the mesh is installed", || {
        let (installed, saw) = Mesh::install()?;
        *mesh = Some(installed);
        Ok(saw)
    })?;
    step("the bookstore and others make requests", || everybody_calls(PAUSE))?;
    let all = Seen::now()?;
    step("the mesh has the root that it was installed with", || settled(FIRST).map(|()| FIRST.to_owned()))?;
    laps(wanted, &all)?;
    step("altogether", || all.all_went_well())?;
    step("nothing is left after the mesh was uninstalled", || {
        mesh.take().map_or(Ok(()), Mesh::uninstall)?;
        before.compare()
    })
}

#[test]
#[ignore = "needs a Kubernetes cluster: KUBECONFIG, OSM_OPENBAO, OSM_CERT_MANAGER"]
fn the_root_of_a_mesh_is_exchanged_and_no_request_fails() {
    let mut mesh = None;
    if let Err(error) = walk(&mut mesh) {
        let told = told_by(&["osm-system", "bookbuyer", "bookstore", "bookthief", "workloads"]);
        let stage = kubectl(&["get", "--namespace=osm-system", "configmap/osm-mesh-roots", "--output=yaml"]);
        drop(mesh);
        panic!("{error:?}\n\n{stage:?}\n\n{told}");
    }
}
