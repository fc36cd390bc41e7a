//! What the control plane writes into a cluster: a lease, statuses, events.

use std::sync::Arc;
use std::time::Duration;

use osm_core::name::{ObjectRef, QualifiedName};
use osm_core::testing::SourceCheck;
use osm_k8s::lease::Lease;
use osm_k8s::replicas::{MAX_TEXT, Replicas, Topic};
use osm_k8s::source::cluster::PolicyObjects;
use osm_k8s::status::{Outlook, Outlooks, Programmed, StatusWriter};
use osm_k8s::{ApiClient, ManifestKind};
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use crate::cluster::{Listener, Mesh, knows, target};
use crate::eventually::eventually;

fn lease_name(mesh: &Mesh) -> QualifiedName {
    format!("{}/osm-controller", mesh.namespace("a")).parse().expect("a name")
}

#[tokio::test]
#[ignore = "needs a Kubernetes cluster: KUBECONFIG"]
async fn one_of_two_replicas_holds_the_lease_and_the_other_takes_it_when_it_is_given_up() {
    let mesh = Mesh::new().await;
    let server = ApiClient::from(mesh.client.clone());
    let replica = |name: &str| {
        let (lease, held) = Lease::new(server.clone(), lease_name(&mesh), name);
        let stop = CancellationToken::new();
        let task = tokio::spawn(lease.run(stop.clone().cancelled_owned()));
        (task, held, stop)
    };
    let (first, first_held, stop_first) = replica("first");
    eventually("the first holds it", || async { first_held.is_held().then_some(()) }).await;
    let (second, second_held, stop_second) = replica("second");
    // As long as it takes to be renewed twice.
    let begun = tokio::time::Instant::now();
    eventually("some time", || async {
        assert!(first_held.is_held() && !second_held.is_held());
        (begun.elapsed() > Duration::from_secs(8)).then_some(())
    })
    .await;
    stop_first.cancel();
    first.await.expect("it ends");
    assert!(!first_held.is_held());
    let given_up = tokio::time::Instant::now();
    eventually("the second holds it", || async { second_held.is_held().then_some(()) }).await;
    assert!(given_up.elapsed() < Duration::from_secs(10), "it need not wait until the lease runs out");
    stop_second.cancel();
    second.await.expect("it ends");
}

#[tokio::test]
#[ignore = "needs a Kubernetes cluster: KUBECONFIG"]
async fn replicas_hear_what_the_others_tell_until_they_leave() {
    let mesh = Mesh::new().await;
    let server = ApiClient::from(mesh.client.clone());
    let replica = |name| {
        Replicas::new(server.clone(), mesh.namespace("a").parse().expect("a name"), Topic::Proxies, name)
    };
    let (mut one, mut other) = (replica("one"), replica("other"));
    one.tell("1").await.expect("it is taken");
    other.tell("2").await.expect("it is taken");
    other.tell("3").await.expect("it is taken");
    assert_eq!(one.told().await.expect("they are heard"), ["3"]);
    assert_eq!(other.told().await.expect("they are heard"), ["1"]);
    other.leave().await.expect("it is taken away");
    assert_eq!(one.told().await.expect("they are heard"), [""; 0]);
    one.tell(&"x".repeat(MAX_TEXT)).await.expect("that much is taken");
    one.leave().await.expect("it is taken away");
}

/// The status of an object as it stands in the cluster.
async fn status(mesh: &Mesh, name: &str) -> Value {
    let kind = ManifestKind::TrafficTarget;
    let api = mesh.api(kind.api_version(), kind.name(), Some(&mesh.namespace("a")));
    api.get(name).await.expect("it is there").data["status"].clone()
}

fn accepted(status: &Value) -> Option<(&str, &str)> {
    let one = status["conditions"].as_array()?.iter().find(|one| one["type"] == "Accepted")?;
    Some((one["status"].as_str()?, one["reason"].as_str()?))
}

#[tokio::test]
#[ignore = "needs a Kubernetes cluster: KUBECONFIG"]
async fn a_status_says_what_became_of_an_object_and_an_event_that_it_was_refused() {
    let mesh = Mesh::new().await;
    let a = mesh.namespace("a");
    mesh.apply(&target(&a, "good", &a)).await;
    mesh.apply(&target(&a, "bad", "elsewhere")).await;
    let server = ApiClient::from(mesh.client.clone());
    let source = mesh.source(mesh.client.clone());
    let policies = source.policies();
    let mut listener = Listener::new(source);
    listener.until("the start", |told| told.is_ready() && knows(told, "TrafficTarget good")).await;

    let (lease, held) = Lease::new(server.clone(), lease_name(&mesh), "only");
    let stop = CancellationToken::new();
    let leasing = tokio::spawn(lease.run(stop.clone().cancelled_owned()));
    let told = listener.told.clone();
    let writer = StatusWriter::new(server, policies, held, "only");
    let writing = tokio::spawn(writer.run(move |objects| outlooks(&told, objects)));

    listener
        .during(eventually("both statuses", || async {
            let (good, bad) = (status(&mesh, "good").await, status(&mesh, "bad").await);
            let is_good = accepted(&good) == Some(("True", "Accepted")) && good["programmed"] == "1/2";
            (is_good && accepted(&bad) == Some(("False", "DestinationInOtherNamespace"))).then_some(())
        }))
        .await;
    assert_eq!(status(&mesh, "good").await["observedGeneration"], 1);
    let events = mesh.api("events.k8s.io/v1", "Event", Some(&a));
    listener
        .during(eventually("an event", || async {
            let all = events.list(&Default::default()).await.expect("an answer");
            let is_it = |data: &Value| {
                data["regarding"]["name"] == "bad" && data["reason"] == "DestinationInOtherNamespace"
            };
            all.items.iter().any(|event| is_it(&event.data)).then_some(())
        }))
        .await;

    // What is written once is not written again.
    let version = |name: &'static str| {
        let api = mesh.api("access.smi-spec.io/v1alpha3", "TrafficTarget", Some(&a));
        async move { api.get(name).await.expect("it is there").metadata.resource_version }
    };
    let before = version("good").await;
    let begun = tokio::time::Instant::now();
    listener
        .during(eventually("some rounds", || async {
            (begun.elapsed() > osm_k8s::status::INTERVAL * 3).then_some(())
        }))
        .await;
    assert_eq!(version("good").await, before);
    writing.abort();
    stop.cancel();
    leasing.await.expect("it ends");
}

/// What a mesh would make of the objects: its findings, and one of two proxies.
fn outlooks(told: &SourceCheck, objects: &PolicyObjects) -> Arc<Outlooks> {
    let of = |name: &ObjectRef| {
        let all = told.diagnostics().iter();
        let findings = all.filter(|one| one.object.as_ref() == Some(name)).cloned().collect();
        Outlook { findings, programmed: Some(Programmed::new(1, 2)) }
    };
    Arc::new(objects.keys().map(|name| (name.clone(), of(name))).collect())
}
