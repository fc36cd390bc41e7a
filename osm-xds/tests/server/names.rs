//! In which trust domains a proxy is known to know identities.

use std::sync::Arc;

use envoy_types::pb::envoy::service::discovery::v3::DeltaDiscoveryRequest;
use osm_core::identity::TrustDomains;
use osm_xds::resource::{Resource, ResourceKind};
use osm_xds::view::{Layer, LayerId, View};

use crate::fixture::{Running, eventually, node, resource, soon};

/// The trust domains of a mesh: those of its names, the first one its own.
fn domains(names: &[&str]) -> Arc<TrustDomains> {
    let own = names[0].parse().expect("a name");
    let root = |name: &&str| (name.replace('.', "-").parse().expect("a name"), name.parse().expect("a name"));
    Arc::new(TrustDomains::new(own, names.iter().map(root)))
}

/// A cluster, a listener and a route, with names in these trust domains.
fn named(version: u64, text: &str, names: &[&str]) -> Arc<View> {
    let resources = [
        resource(ResourceKind::Cluster, "till", text),
        resource(ResourceKind::Listener, "inbound", "l"),
        resource(ResourceKind::Route, "till", text),
    ];
    let layer = Arc::new(Layer::new(LayerId::unique(), resources));
    Arc::new(View::new(version, [layer]).in_domains(domains(names)))
}

/// What the only proxy is known to know.
fn accepted(server: &Running) -> Option<String> {
    let [credentials] = server.registry.credentials().try_into().expect("one proxy");
    let names = credentials.names?;
    Some(names.certain.iter().map(|name| name.as_str()).collect::<Vec<_>>().join(" "))
}

fn route(uuid: &str, has: Option<&Resource>) -> DeltaDiscoveryRequest {
    let version = |resource: &Resource| ("till".to_owned(), resource.version.to_string());
    DeltaDiscoveryRequest {
        node: node(uuid),
        type_url: ResourceKind::Route.type_url().to_owned(),
        resource_names_subscribe: vec!["till".to_owned()],
        initial_resource_versions: has.map(version).into_iter().collect(),
        ..Default::default()
    }
}

#[tokio::test]
async fn a_proxy_knows_names_when_it_has_taken_all_that_has_them() {
    let server = Running::start().await;
    server.views.0.send(named(1, "one", &["a"]));
    let mut proxy = server.delta("till-1").await;
    proxy.subscribe().await;
    proxy.accept_until("inbound").await;
    soon("convergence", server.registry.converged()).await;
    assert_eq!(accepted(&server), None, "it has not asked for routes, and may have some");
    proxy.send(route("till-1", None)).await;
    proxy.accept_until("till").await;
    eventually("its names", || accepted(&server).as_deref() == Some("a")).await;

    server.views.0.send(named(2, "two", &["a", "b"]));
    let [clusters, routes] = [proxy.next().await.expect("clusters"), proxy.next().await.expect("routes")];
    proxy.answer(&clusters, None).await;
    assert_eq!(accepted(&server).as_deref(), Some("a"));
    proxy.answer(&routes, Some("bad")).await;
    eventually("a refusal", || !server.registry.statuses()[0].session.refused.is_empty()).await;
    soon("convergence", server.registry.converged()).await;
    assert_eq!(accepted(&server).as_deref(), Some("a"), "it kept its routes from before");
    server.views.0.send(named(3, "three", &["a", "b"]));
    proxy.accept_until("till").await;
    proxy.accept_until("till").await;
    eventually("both names", || accepted(&server).as_deref() == Some("a b")).await;
    server.stop().await;
}

#[tokio::test]
async fn a_proxy_that_comes_back_knows_names_only_when_it_has_told_of_its_routes() {
    let server = Running::start().await;
    let before = named(1, "one", &["a"]);
    let now = named(2, "one", &["a", "b"]);
    server.views.0.send(now);
    let mut proxy = server.delta("till-1").await;
    // It has everything but the routes of now, of which it tells later.
    for (kind, name) in [(ResourceKind::Cluster, "till"), (ResourceKind::Listener, "inbound")] {
        let version = before.find(kind, name).expect("it is there").version;
        proxy.subscribe_having(kind, [(name.to_owned(), version.to_string())]).await;
    }
    let is_in_sync = || server.registry.statuses().iter().any(|status| status.in_sync);
    eventually("being in sync", is_in_sync).await;
    assert_eq!(accepted(&server), None);
    let old = resource(ResourceKind::Route, "till", "older");
    proxy.send(route("till-1", Some(&old))).await;
    let routes = proxy.next().await.expect("routes");
    assert_eq!(accepted(&server), None);
    proxy.answer(&routes, None).await;
    eventually("both names", || accepted(&server).as_deref() == Some("a b")).await;
    server.stop().await;
}
