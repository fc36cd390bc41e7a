//! What is delivered, and how far the registry says it has come.

use std::collections::HashMap;
use std::time::Duration;

use osm_xds::resource::ResourceKind;
use osm_xds::session::Dialect;

use crate::fixture::{Running, Sotw, eventually, resource, small_view, soon, view};

#[tokio::test]
async fn an_incremental_client_gets_its_resources_and_then_what_changes() {
    let server = Running::start().await;
    let mut delta = server.delta("till-1").await;
    delta.subscribe().await;
    let clusters = delta.next().await.expect("clusters");
    assert_eq!(clusters.type_url, ResourceKind::Cluster.type_url());
    let body = clusters.resources[0].resource.as_ref().expect("a body");
    assert_eq!((clusters.resources[0].name.as_str(), body.value.as_slice()), ("till", &b"c"[..]));
    delta.answer(&clusters, None).await;
    delta.accept_until("inbound").await;
    soon("convergence", server.registry.converged()).await;

    server.views.0.send(small_view(2, "c2"));
    let changed = delta.next().await.expect("the change");
    let names: Vec<_> = changed.resources.iter().map(|resource| resource.name.as_str()).collect();
    assert_eq!((names, changed.system_version_info.as_str()), (vec!["till"], "2"));
    delta.answer(&changed, None).await;
    soon("convergence", server.registry.converged()).await;
    let status = &server.registry.statuses()[0];
    assert_eq!(
        (status.dialect, status.session.synced_version, status.in_sync),
        (Dialect::Delta, Some(2), true)
    );
    assert_eq!((status.sent.responses, status.sent.resources, status.sent.bytes), (3, 3, 4));
    assert_eq!(status.delivered(ResourceKind::Cluster), 1);
    server.stop().await;
}

#[tokio::test]
async fn a_state_of_the_world_client_gets_its_resources() {
    let server = Running::start().await;
    let channel = server.channel(Some(server.authority.proxy("till-1"))).await.expect("a connection");
    let mut sotw = Sotw::open(channel).await;
    for (kind, body) in [(ResourceKind::Cluster, b"c"), (ResourceKind::Listener, b"l")] {
        sotw.ask("till-1", kind).await;
        let response = sotw.accept().await;
        assert_eq!(response.type_url, kind.type_url());
        assert_eq!(response.resources[0].value, body);
    }
    soon("convergence", server.registry.converged()).await;
    assert_eq!(server.registry.statuses()[0].dialect, Dialect::Sotw);
    assert_eq!(server.metric("osm_xds_streams{dialect=\"sotw\"}"), Some(1.0));
    server.stop().await;
}

#[tokio::test]
async fn the_registry_tells_who_is_behind_and_when_all_have_caught_up() {
    let server = Running::start().await;
    let mut clients = Vec::new();
    for place in 0..5 {
        let mut delta = server.delta(&format!("till-{place}")).await;
        delta.subscribe().await;
        delta.accept_until("inbound").await;
        clients.push(delta);
    }
    soon("convergence", server.registry.converged()).await;
    let state = server.registry.convergence();
    assert_eq!((state.streams, state.behind, state.touched), (5, 0, 0));
    let before = state.last_converged.expect("all were in sync");

    server.views.0.send(small_view(2, "c2"));
    let registry = server.registry.clone();
    let converged = registry.converged();
    tokio::pin!(converged);
    for client in &mut clients[1..] {
        client.accept_until("till").await;
    }
    eventually("four of five", || server.registry.convergence().behind == 1).await;
    assert!(futures::poll!(converged.as_mut()).is_pending(), "one has not acknowledged");
    clients[0].accept_until("till").await;
    soon("convergence", converged).await;
    let state = server.registry.convergence();
    assert_eq!((state.behind, state.last_touched), (0, 5));
    assert!(state.last_converged > Some(before));

    drop(clients);
    eventually("that all are gone", || server.registry.convergence().streams == 0).await;
    soon("convergence of nobody", server.registry.converged()).await;
    server.stop().await;
}

#[tokio::test]
async fn a_refusal_is_kept_and_counted() {
    let server = Running::start().await;
    let mut delta = server.delta("till-1").await;
    delta.subscribe().await;
    let clusters = delta.next().await.expect("clusters");
    delta.answer(&clusters, Some("no such filter")).await;
    eventually("a refusal", || {
        server.registry.statuses().iter().any(|status| !status.session.refused.is_empty())
    })
    .await;
    let (rejected, nack) = server.registry.statuses()[0].session.refused[0].clone();
    assert_eq!((rejected.key.name.as_str(), nack.message.as_str()), ("till", "no such filter"));
    assert_eq!(server.metric("osm_xds_nacks_total{kind=\"cluster\"}"), Some(1.0));
    server.stop().await;
}

#[tokio::test]
async fn the_metrics_count_what_happened() {
    let server = Running::start().await;
    let mut delta = server.delta("till-1").await;
    delta.subscribe().await;
    delta.accept_until("inbound").await;
    soon("convergence", server.registry.converged()).await;
    for (line, value) in [
        ("osm_xds_connections", 1.0),
        ("osm_xds_streams{dialect=\"delta\"}", 1.0),
        ("osm_xds_requests_total{kind=\"cluster\"}", 2.0),
        ("osm_xds_responses_total{kind=\"listener\"}", 1.0),
        ("osm_xds_resources_total{kind=\"cluster\"}", 1.0),
        ("osm_xds_resource_bytes_total{kind=\"listener\"}", 1.0),
        ("osm_xds_acknowledgement_seconds_count{kind=\"cluster\"}", 1.0),
        ("osm_xds_synchronization_seconds_count", 1.0),
    ] {
        assert_eq!(server.metric(line), Some(value), "{line}");
    }
    drop(delta);
    eventually("a closed connection", || server.metric("osm_xds_connections") == Some(0.0)).await;
    assert_eq!(server.metric("osm_xds_streams{dialect=\"delta\"}"), Some(0.0));
    server.stop().await;
}

#[tokio::test]
async fn a_proxy_that_connects_anew_is_sent_only_what_changed() {
    let server = Running::start().await;
    let mut delta = server.delta("till-1").await;
    delta.subscribe().await;
    let mut versions = HashMap::new();
    while versions.len() < 2 {
        let response = delta.next().await.expect("a response");
        delta.answer(&response, None).await;
        versions.extend(response.resources.into_iter().map(|r| (r.name, r.version)));
    }
    drop(delta);

    let mut delta = server.delta("till-1").await;
    for (kind, name) in [(ResourceKind::Cluster, "till"), (ResourceKind::Listener, "inbound")] {
        delta.subscribe_having(kind, [(name.to_owned(), versions[name].clone())]).await;
    }
    soon("convergence", async {
        // With nothing to send there is nothing to acknowledge, but an empty answer is allowed.
        let converged = server.registry.converged();
        tokio::pin!(converged);
        loop {
            tokio::select! {
                () = &mut converged => break,
                response = delta.responses.message() => {
                    let response = response.expect("no refusal").expect("no end");
                    assert!(response.resources.is_empty(), "{response:?}");
                    delta.answer(&response, None).await;
                }
            }
        }
    })
    .await;
    server.views.0.send(small_view(2, "c2"));
    let changed = delta.accept_until("till").await;
    assert_eq!((changed.resources.len(), changed.system_version_info.as_str()), (1, "2"));
    server.stop().await;
}

/// A client that does not read is sent a bounded amount, whatever changes
/// meanwhile; when it reads again it gets the newest state, not the history.
#[tokio::test]
async fn a_client_that_does_not_read_is_not_buffered_for() {
    const VERSIONS: u64 = 200;
    const SIZE: usize = 60_000;
    let server = Running::start().await;
    let body = |version: u64| {
        let mut body = vec![b'x'; SIZE];
        body.extend(version.to_string().bytes());
        body
    };
    let mut delta = server.delta("till-1").await;
    delta.subscribe().await;
    delta.accept_until("inbound").await;
    soon("convergence", server.registry.converged()).await;
    let sent = || server.registry.statuses()[0].sent;
    let mut blocked_at = None;
    for version in 2..=VERSIONS {
        let before = sent();
        let cluster = resource(ResourceKind::Cluster, "till", body(version));
        server.views.0.send(view(version, [cluster, resource(ResourceKind::Listener, "inbound", "l")]));
        let deadline = tokio::time::Instant::now() + Duration::from_millis(200);
        // Until the server is blocked, every version is sent.
        while blocked_at.is_none() && sent() == before {
            tokio::task::yield_now().await;
            if tokio::time::Instant::now() > deadline {
                blocked_at = Some(version);
            }
        }
    }
    let blocked_at = blocked_at.expect("the server stops sending at some point");
    // The client's window is 64 KiB, and so is the server's buffer.
    assert!((3..10).contains(&blocked_at), "blocked at version {blocked_at}");

    let newest = body(VERSIONS);
    loop {
        let response = delta.next().await.expect("a response");
        delta.answer(&response, None).await;
        let mut bodies = response.resources.iter().filter_map(|resource| resource.resource.as_ref());
        if bodies.any(|body| body.value == newest) {
            break;
        }
    }
    assert!(sent().resources < blocked_at + 4, "{:?} for {VERSIONS} versions", sent());
    server.stop().await;
}
