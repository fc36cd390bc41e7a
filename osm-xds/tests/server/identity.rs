//! Who is let in, and what the others are told.

use std::sync::Arc;
use std::time::Duration;

use envoy_types::pb::envoy::service::discovery::v3::aggregated_discovery_service_client::AggregatedDiscoveryServiceClient;
use osm_core::identity::ProxyId;
use osm_xds::resource::ResourceKind;
use osm_xds::server::{AuthenticationError, Evidence, ProxyAuthenticator, async_trait};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Code;

use crate::fixture::{Authority, Delta, Running, Sotw, eventually, soon};

#[tokio::test]
async fn a_client_without_a_certificate_is_told_so() {
    let server = Running::start().await;
    let channel = server.channel(None).await.expect("the handshake asks and does not insist");
    let mut delta = Delta::open(channel, "till-1").await;
    delta.subscribe().await;
    let status = delta.end().await;
    assert_eq!(status.code(), Code::Unauthenticated, "{status}");
    assert!(status.message().starts_with("no client certificate was shown"), "{status}");
    assert_eq!(server.metric("osm_xds_authentication_failures_total{reason=\"unproved\"}"), Some(1.0));
    server.stop().await;
}

#[tokio::test]
async fn a_certificate_of_a_foreign_authority_fails_the_handshake() {
    let server = Running::start().await;
    let foreign = Authority::new().proxy("till-1");
    // In TLS 1.3 the client learns of it only when it reads for the first time.
    if let Ok(channel) = server.channel(Some(foreign)).await {
        let (_keep, queue) = tokio::sync::mpsc::channel(1);
        let mut client = AggregatedDiscoveryServiceClient::new(channel);
        let call = client.delta_aggregated_resources(ReceiverStream::new(queue));
        let refused = soon("a refusal", call).await;
        let status = refused.expect_err("no stream without a handshake");
        assert!(matches!(status.code(), Code::Unavailable | Code::Unknown), "{status:?}");
    }
    let failures = "osm_xds_connection_failures_total{reason=\"handshake\"}";
    eventually("a failed handshake", || server.metric(failures) >= Some(1.0)).await;
    assert!(server.registry.statuses().is_empty());
    server.stop().await;
}

#[tokio::test]
async fn a_proxy_that_claims_to_be_another_one_is_refused() {
    let server = Running::start().await;
    let channel = server.channel(Some(server.authority.proxy("till-1"))).await.expect("a connection");
    let mut delta = Delta::open(channel, "till-2").await;
    delta.subscribe().await;
    let status = delta.end().await;
    assert_eq!(status.code(), Code::PermissionDenied, "{status}");
    for part in ["\"till-2\"", "spiffe://cluster.local/till-1/sidecar/till/shop"] {
        assert!(status.message().contains(part), "{status}");
    }
    server.stop().await;
}

#[tokio::test]
async fn a_proxy_may_not_become_another_one_later() {
    let server = Running::start().await;
    let channel = server.channel(Some(server.authority.proxy("till-1"))).await.expect("a connection");
    let mut sotw = Sotw::open(channel).await;
    sotw.ask("till-1", ResourceKind::Cluster).await;
    sotw.accept().await;
    sotw.ask("till-2", ResourceKind::Listener).await;
    eventually("the end of the stream", || server.registry.statuses().is_empty()).await;
    assert_eq!(server.metric("osm_xds_streams_ended_total{code=\"InvalidArgument\"}"), Some(1.0));
    server.stop().await;
}

#[tokio::test]
async fn a_request_without_a_node_is_refused() {
    let server = Running::start().await;
    let channel = server.channel(Some(server.authority.proxy("till-1"))).await.expect("a connection");
    let mut delta = Delta::open(channel, "").await;
    delta.subscribe().await;
    let status = delta.end().await;
    assert_eq!(
        (status.code(), status.message()),
        (Code::InvalidArgument, "node.id is missing in the first request")
    );
    server.stop().await;
}

#[tokio::test]
async fn a_refusal_by_the_source_of_views_reaches_the_proxy() {
    let server = Running::start().await;
    for (uuid, code, text) in [
        ("unwanted", Code::PermissionDenied, "this proxy's pod is unknown"),
        ("too-early", Code::Unavailable, "the cache is not filled yet"),
    ] {
        let mut delta = server.delta(uuid).await;
        delta.subscribe().await;
        let status = delta.end().await;
        assert_eq!((status.code(), status.message()), (code, text));
    }
    server.stop().await;
}

#[tokio::test]
async fn a_stream_ends_when_its_certificate_has_been_expired_for_the_grace_period() {
    let server = Running::start_with(|options| options.certificate_grace = Duration::ZERO).await;
    let credentials = server.authority.proxy_until("till-1", time::Duration::seconds(3));
    let channel = server.channel(Some(credentials)).await.expect("it is valid still");
    let mut delta = Delta::open(channel, "till-1").await;
    delta.subscribe().await;
    let first = delta.accept_until("till").await;
    assert_eq!(first.resources.len(), 1);
    let status = delta.end().await;
    assert_eq!(status.code(), Code::Unauthenticated, "{status}");
    assert!(status.message().contains("has expired"), "{status}");
    server.stop().await;
}

/// Believes one token; never decides about the node `undecided`.
struct ByToken;

#[async_trait]
impl ProxyAuthenticator for ByToken {
    async fn authenticate(&self, evidence: Evidence<'_>) -> Result<ProxyId, AuthenticationError> {
        if evidence.node.id == "undecided" {
            std::future::pending::<()>().await;
        }
        match evidence.bearer {
            Some("open sesame") => {
                let uuid = evidence.node.id.parse().map_err(|_| AuthenticationError::Denied("?".into()))?;
                Ok(ProxyId::new(uuid, "shop/till".parse().expect("an identity")))
            }
            _ => Err(AuthenticationError::Unproved("no such token".into())),
        }
    }

    async fn vouches(&self, bearer: &str) -> bool {
        bearer == "open sesame"
    }
}

/// A proxy that connects anew tells of all that it has, which can be much.
#[tokio::test]
async fn who_is_vouched_for_may_say_more_and_who_has_proved_itself_as_much_as_any() {
    let server = Running::start_believing(Arc::new(ByToken), |options| {
        options.max_unproved_request_bytes = 1_000;
        options.max_vouched_request_bytes = 10_000;
    })
    .await;
    let having =
        |count: usize| (0..count).map(|number| (format!("shop/service-{number:05}|80"), "1".to_owned()));
    for (token, count, expected) in [
        ("Bearer close", 100, Some(Code::OutOfRange)),
        ("Bearer open sesame", 100, None),
        ("Bearer open sesame", 1_000, Some(Code::OutOfRange)),
    ] {
        let channel = server.channel(None).await.expect("a connection");
        let mut delta = Delta::open_with(channel, "till-1", Some(token)).await;
        delta.subscribe_having(ResourceKind::Cluster, having(count)).await;
        if expected.is_none() {
            // On a stream whose proxy is known, any size will do.
            delta.subscribe_having(ResourceKind::Listener, having(1_000)).await;
        }
        match expected {
            Some(code) => assert_eq!(delta.end().await.code(), code, "{token} {count}"),
            None => drop(delta.accept_until("inbound").await),
        }
    }
    server.stop().await;
}

#[tokio::test]
async fn another_authenticator_may_believe_a_token() {
    let server = Running::start_believing(Arc::new(ByToken), |options| {
        options.authentication_timeout = Duration::from_millis(50);
    })
    .await;
    for (uuid, token, expected) in [
        ("till-1", "Bearer open sesame", None),
        ("till-1", "Bearer close", Some(Code::Unauthenticated)),
        ("undecided", "Bearer open sesame", Some(Code::Unavailable)),
    ] {
        let channel = server.channel(None).await.expect("a connection");
        let mut delta = Delta::open_with(channel, uuid, Some(token)).await;
        delta.subscribe().await;
        match expected {
            Some(code) => assert_eq!(delta.end().await.code(), code),
            None => drop(delta.accept_until("inbound").await),
        }
    }
    server.stop().await;
}
