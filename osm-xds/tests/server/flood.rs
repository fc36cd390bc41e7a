//! A proxy that asks without end is read no faster than it may ask. What it costs
//! is counted, not timed.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use envoy_types::pb::envoy::service::discovery::v3::DeltaDiscoveryRequest;
use osm_xds::resource::ResourceKind;

use crate::fixture::{Delta, Running, eventually, node, small_view};

const BURST: u32 = 100;

async fn server() -> Running {
    Running::start_with(|options| {
        options.request_burst = BURST;
        // As good as none while the test runs.
        options.requests_per_second = 1;
    })
    .await
}

/// Sends requests without reading an answer, until the server takes no more.
fn flood(
    delta: &Delta,
    request: impl Fn(usize) -> DeltaDiscoveryRequest + Send + 'static,
) -> Arc<AtomicUsize> {
    let (sent, requests) = (Arc::new(AtomicUsize::new(0)), delta.requests.clone());
    let counter = Arc::clone(&sent);
    tokio::spawn(async move {
        for number in 0.. {
            if requests.send(request(number)).await.is_err() {
                return;
            }
            counter.fetch_add(1, Ordering::Relaxed);
        }
    });
    sent
}

fn request(kind: ResourceKind, subscribe: Vec<String>, unsubscribe: Vec<String>) -> DeltaDiscoveryRequest {
    DeltaDiscoveryRequest {
        node: node("flood"),
        type_url: kind.type_url().to_owned(),
        resource_names_subscribe: subscribe,
        resource_names_unsubscribe: unsubscribe,
        ..Default::default()
    }
}

#[tokio::test]
async fn a_flood_of_requests_is_not_read_faster_than_allowed_and_slows_nobody_else() {
    const CHANGES: u64 = 200;
    let server = server().await;
    let mut other = server.delta("other").await;
    other.subscribe().await;
    other.accept_until("inbound").await;
    let flooding = server.delta("flood").await;
    // Subscribes and unsubscribes for ever.
    let sent = flood(&flooding, |number| {
        let name = vec![format!("ns/{}", number / 2)];
        match number % 2 {
            0 => request(ResourceKind::Endpoints, name, vec![]),
            _ => request(ResourceKind::Endpoints, vec![], name),
        }
    });
    eventually("the flood is not read", || server.metric("osm_xds_throttled_total") >= Some(1.0)).await;

    for version in 2..CHANGES + 2 {
        server.views.0.send(small_view(version, &format!("c{version}")));
        other.accept_until("till").await;
    }
    let taken = server.metric("osm_xds_requests_total{kind=\"endpoints\"}").expect("a number");
    assert!(taken >= f64::from(BURST) && taken < f64::from(2 * BURST), "{taken} requests of the flood");
    let answered = server.metric("osm_xds_requests_total{kind=\"cluster\"}").expect("a number");
    assert!(answered > CHANGES as f64, "{answered} requests of the other");
    // The rest stays with the client: its window, and what waits for it there.
    let sent = sent.load(Ordering::Relaxed);
    assert!(sent < 10_000, "{sent} requests were taken from the client");
    server.stop().await;
}

#[tokio::test]
async fn many_names_cost_as_much_as_many_requests() {
    let server = server().await;
    let flooding = server.delta("flood").await;
    let names = |from: usize| (from..from + 3200).map(|name| format!("ns/{name}")).collect::<Vec<_>>();
    let old_and_new = move |number: usize| match number {
        0 => request(ResourceKind::Endpoints, names(0), vec![]),
        _ => request(ResourceKind::Endpoints, names(number * 3200), names((number - 1) * 3200)),
    };
    flood(&flooding, old_and_new);
    eventually("the flood is not read", || server.metric("osm_xds_throttled_total") >= Some(1.0)).await;
    let mut other = server.delta("other").await;
    other.subscribe().await;
    other.accept_until("inbound").await;
    assert_eq!(server.metric("osm_xds_requests_total{kind=\"endpoints\"}"), Some(1.0));
    server.stop().await;
}

/// Acknowledgements are as many as responses, and are never waited with.
#[tokio::test]
async fn a_proxy_that_only_answers_is_never_held_up() {
    let server = server().await;
    let mut delta = server.delta("till-1").await;
    delta.subscribe().await;
    delta.accept_until("inbound").await;
    for version in 2..=u64::from(5 * BURST) {
        server.views.0.send(small_view(version, &format!("c{version}")));
        delta.accept_until("till").await;
    }
    assert_eq!(server.metric("osm_xds_throttled_total"), Some(0.0));
    server.stop().await;
}
