//! A real Envoy refuses one of fifty new resources: the other forty-nine are in
//! force within a second, and whoever made the bad one is named.
//!
//! What is generated is accepted, so that the fault is planted: one resource of the
//! views is exchanged for one that only Envoy finds fault with.
//!
//! And what such an Envoy shows of its key on its own pages: nothing.

mod mesh;
mod planted;
#[path = "../../../osm-k8s/tests/support/within.rs"]
mod within;

use std::collections::BTreeSet;
use std::time::Duration;

use osm_xds::resource::ResourceKind;

use mesh::{Mesh, log};
use planted::Planted;

/// How long Envoy may take to have what is good.
const BOUND: Duration = Duration::from_secs(1);
/// How long anything else may take before the test fails.
const PATIENCE: Duration = Duration::from_secs(20);
/// The services that come at once.
const NEW: usize = 50;
/// The one of them that is at fault.
const BAD: usize = 7;

/// What takes time is measured: these tests don't run side by side.
static ONE_AT_A_TIME: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

async fn one_of_fifty(kind: ResourceKind, name: &str) {
    let _alone = ONE_AT_A_TIME.lock().await;
    let mesh = Mesh::start(Planted { kind, name: name.to_owned() }).await;
    assert_eq!(mesh.in_force().await, BTreeSet::from([0]), "the first service");

    let good: BTreeSet<usize> = (0..=NEW).filter(|service| *service != BAD).collect();
    mesh.publish(1 + NEW);
    mesh.within(BOUND, "the good ones are in force", async || mesh.in_force().await == good).await;

    // Whoever made it is named: in the status, the metric and the log.
    let object = format!("Service fleet/s{BAD}");
    let refused = mesh.until_refused().await;
    let names: Vec<_> = refused.iter().map(|(rejected, _)| rejected.key.to_string()).collect();
    assert_eq!(names, [format!("{kind} {name}")]);
    let (rejected, nack) = &refused[0];
    assert_eq!(rejected.origins.first().map(|origin| origin.name()), Some(object.clone()));
    assert!(!nack.message.is_empty(), "what Envoy says");
    let series = format!("osm_xds_refused_resources{{kind=\"{kind}\",object=\"{object}\"}} 1");
    assert!(mesh.metrics().contains(&series), "{series} is not in\n{}", mesh.metrics());
    let told: Vec<_> = log().lines().filter(|line| line.contains(name)).map(ToOwned::to_owned).collect();
    assert!(
        told.iter()
            .any(|line| line.contains("WARN") && line.contains(&object) && line.contains(&nack.message)),
        "{told:#?}"
    );

    // As soon as it is good, it is in force, and nobody speaks of it any more.
    mesh.mend();
    let all: BTreeSet<usize> = (0..=NEW).collect();
    mesh.until("all are in force and none is refused", async || {
        mesh.in_force().await == all && !mesh.is_refused() && !mesh.metrics().contains(&object)
    })
    .await;
    assert!(log().lines().any(|line| line.contains("no connected proxy refuses") && line.contains(name)));
    mesh.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs Envoy: run by `cargo xtask test`"]
async fn of_fifty_clusters_one_is_refused_and_the_others_are_in_force_within_a_second() {
    one_of_fifty(ResourceKind::Cluster, &format!("fleet/s{BAD}|80")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs Envoy: run by `cargo xtask test`"]
async fn of_fifty_listeners_one_is_refused_and_the_others_are_in_force_within_a_second() {
    one_of_fifty(ResourceKind::Listener, &format!("outbound_fleet/s{BAD}_80_http")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs Envoy: run by `cargo xtask test`"]
async fn of_fifty_routes_one_is_refused_and_the_others_are_in_force_within_a_second() {
    one_of_fifty(ResourceKind::Route, &format!("rds-outbound.fleet/s{BAD}_80")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs Envoy: run by `cargo xtask test`"]
async fn of_fifty_endpoints_one_is_refused_and_the_others_are_in_force_within_a_second() {
    one_of_fifty(ResourceKind::Endpoints, &format!("fleet/s{BAD}|80")).await;
}

/// Envoy's pages that say something about its configuration: those that
/// `osm support bug-report` collects, and more.
const PAGES: [&str; 9] = [
    "/config_dump",
    "/config_dump?include_eds",
    "/config_dump?resource=dynamic_active_secrets",
    "/init_dump",
    "/certs",
    "/clusters?format=json",
    "/listeners?format=json",
    "/stats?format=json",
    "/server_info",
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs Envoy: run by `cargo xtask test`"]
async fn an_envoy_shows_its_key_on_no_page() {
    let _alone = ONE_AT_A_TIME.lock().await;
    let nothing = Planted { kind: ResourceKind::Cluster, name: "nothing".to_owned() };
    let mesh = Mesh::start(nothing).await;
    mesh.until("Envoy has its certificate, and a key of which it says no more", async || {
        let said = mesh.ask("/config_dump?resource=dynamic_active_secrets").await;
        said.contains("service-cert") && said.contains("\"inline_string\": \"[redacted]\"")
    })
    .await;
    for page in PAGES {
        let said = mesh.ask(page).await;
        assert!(!said.is_empty() && !said.contains("PRIVATE KEY"), "{page}");
    }
    mesh.end().await;
}
