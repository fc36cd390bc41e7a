//! Clients that come and go: nothing is left of them.

use std::sync::Arc;

use tokio::io::AsyncWriteExt;
use tokio::runtime::Handle;

use crate::fixture::{Running, eventually};

const ONE: [u8; 4] = [127, 0, 0, 1];

/// What there is while nobody is connected.
#[derive(Debug, PartialEq, Eq)]
struct Left {
    tasks: usize,
    streams: usize,
    watches: usize,
    /// Who holds the resources that everybody is sent.
    resources: usize,
    series: usize,
}

fn left(server: &Running) -> Left {
    let view = server.views.0.current().expect("a view");
    let mut metrics = String::new();
    prometheus_client::encoding::text::encode(&mut metrics, &server.metrics).expect("it can be written");
    Left {
        tasks: Handle::current().metrics().num_alive_tasks(),
        streams: server.registry.statuses().len(),
        watches: server.views.0.watches(),
        resources: view.iter(osm_xds::resource::ResourceKind::Cluster).map(Arc::strong_count).sum(),
        series: metrics.lines().count(),
    }
}

/// Clients that end at every stage: before and in the handshake, before a request,
/// without an answer, and in order.
async fn churn(server: &Running, rounds: usize) {
    for round in 0..rounds {
        let uuid = format!("till-{round}");
        drop(server.socket_from(ONE).await.expect("a connection"));
        let mut half = server.socket_from(ONE).await.expect("a connection");
        half.write_all(b"\x16\x03\x01").await.expect("it is taken");
        drop(half);
        drop(server.tls_from(ONE, Some(server.authority.proxy(&uuid))).await.expect("a handshake"));
        drop(server.delta(&uuid).await);
        let asks = server.delta(&uuid).await;
        asks.subscribe().await;
        drop(asks);
        let mut refuses = server.delta(&uuid).await;
        refuses.subscribe().await;
        let clusters = refuses.next().await.expect("clusters");
        refuses.answer(&clusters, Some("no")).await;
        drop(refuses);
        let mut accepts = server.delta(&uuid).await;
        accepts.subscribe().await;
        accepts.accept_until("inbound").await;
    }
    eventually("nobody", || server.metric("osm_xds_connections") == Some(0.0)).await;
    // The client's own end as well.
    let is_quiet = || server.views.0.watches() == 0 && Handle::current().metrics().num_alive_tasks() <= 1;
    eventually("no task of them", is_quiet).await;
}

#[tokio::test]
async fn nothing_is_left_of_clients_that_come_and_go() {
    let server = Running::start().await;
    churn(&server, 3).await;
    let before = left(&server);
    assert_eq!((before.streams, before.watches), (0, 0));
    churn(&server, 40).await;
    assert_eq!(left(&server), before);
    server.stop().await;
}
