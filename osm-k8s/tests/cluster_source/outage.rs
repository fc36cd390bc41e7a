//! An API server that can't be reached for a while: nothing is lost, and nothing is
//! taken away that is still there.

use std::time::Duration;

use osm_core::source::SourceEvent;
use osm_core::testing::SourceCheck;
use osm_k8s::ManifestKind;

use crate::cluster::{self, Listener, Mesh, account, knows, service};
use crate::eventually::eventually;
use crate::relay::{Line, Relay};

#[tokio::test]
#[ignore = "needs a Kubernetes cluster: KUBECONFIG"]
async fn an_api_server_that_is_away_takes_nothing_along_and_what_changed_meanwhile_is_told() {
    let mesh = Mesh::new().await;
    let a = mesh.namespace("a");
    for name in ["stays", "goes"] {
        mesh.apply(&account(&a, name)).await;
    }
    mesh.apply(&service(&a, "web", 80)).await;
    let relay = Relay::new(&cluster::config().await).await;
    let source = mesh.source(relay.client(cluster::config().await));
    let freshness = source.freshness();
    let mut listener = Listener::new(source);
    listener.until("the start", |told| told.is_ready() && knows(told, "ServiceAccount stays")).await;
    assert!(freshness.is_complete() && freshness.staleness() == Duration::ZERO);

    relay.set(Line::Cut);
    listener.said.clear();
    let watched = ManifestKind::ALL.iter().filter(|kind| kind.fact().is_some()).count();
    let outage = async {
        eventually("staleness", || async { (freshness.lost().len() == watched).then_some(()) }).await;
        mesh.delete(ManifestKind::ServiceAccount, &a, "goes").await;
        mesh.apply(&account(&a, "comes")).await;
        mesh.apply(&service(&a, "web", 81)).await;
        eventually("seconds of staleness", || async {
            (freshness.staleness() > Duration::from_secs(3)).then_some(())
        })
        .await;
    };
    listener.during(outage).await;
    assert_eq!(listener.said, [], "nobody knows anything new");
    assert!(listener.knows("ServiceAccount goes"), "an outage is no deletion");

    relay.set(Line::Whole);
    let is_up_to_date = |told: &SourceCheck| {
        knows(told, "ServiceAccount comes") && !knows(told, "ServiceAccount goes") && port_is(told, 81)
    };
    listener.until("what changed meanwhile", is_up_to_date).await;
    let watched = async {
        eventually("all kinds are watched again", || async { freshness.lost().is_empty().then_some(()) })
            .await;
    };
    listener.during(watched).await;
    assert_eq!(freshness.staleness(), Duration::ZERO);
    let deleted: Vec<_> = listener
        .said
        .iter()
        .filter_map(|event| match event {
            SourceEvent::Delete(object) => Some(object.name.to_string()),
            _ => None,
        })
        .collect();
    assert!(deleted.iter().all(|name| name == "goes"), "{deleted:?} were deleted");
    assert!(listener.knows("ServiceAccount stays"));
}

fn port_is(told: &SourceCheck, port: u16) -> bool {
    told.objects().values().any(|object| match object {
        osm_core::model::MeshObject::Service(service) => {
            service.name.name.as_str() == "web" && service.ports.iter().any(|one| one.port.get() == port)
        }
        _ => false,
    })
}
