//! Clients that do not take what they are sent. The transport says they are there:
//! they answer its pings.

use std::time::Duration;

use osm_xds::resource::ResourceKind;

use crate::fixture::{Running, eventually, resource, small_view, view};

#[tokio::test]
async fn a_client_that_takes_nothing_is_dropped_after_a_bound_and_others_go_on() {
    let server = Running::start_with(|options| {
        options.stall_timeout = Duration::from_millis(300);
        options.drain_timeout = Duration::from_millis(50);
    })
    .await;
    let large = resource(ResourceKind::Cluster, "till", vec![b'x'; 1_000_000]);
    server.views.0.send(view(2, [large.clone(), resource(ResourceKind::Listener, "inbound", "l")]));
    let silent = server.delta("silent").await;
    silent.subscribe().await;
    let mut reading = server.delta("till-1").await;
    reading.subscribe().await;
    reading.accept_until("inbound").await;
    let stalled = "osm_xds_rejected_total{reason=\"stalled\"}";
    eventually("the end of the silent one", || server.metric(stalled) == Some(1.0)).await;
    eventually("one connection", || server.metric("osm_xds_connections") == Some(1.0)).await;
    assert_eq!(server.registry.statuses().len(), 1);

    server.views.0.send(small_view(3, "c3"));
    reading.accept_until("till").await;
    assert_eq!(server.metric(stalled), Some(1.0));
    server.stop().await;
}
