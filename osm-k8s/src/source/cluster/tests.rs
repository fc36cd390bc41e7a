//! What a source says, and what it shows of policies besides, in their order.

use osm_core::catalog::{Catalog, MeshCatalog};
use osm_core::snapshot::MeshOptions;
use serde_json::json;

use super::cursor::Seen;
use super::*;

/// An API server that nobody asks.
fn nobody() -> kube::Client {
    let answer = |_: http::Request<kube::client::Body>| async {
        Err::<http::Response<kube::client::Body>, _>(std::io::Error::other("nobody is asked"))
    };
    kube::Client::new(tower::service_fn(answer), "default")
}

fn list(kind: ManifestKind, object: serde_json::Value) -> impl Iterator<Item = Input> {
    [Seen::Begin, Seen::Listed(Object::new(object)), Seen::Done]
        .into_iter()
        .map(move |seen| Input::Seen(kind, kind.api_version(), seen))
}

fn split(generation: i64, weight: u32) -> serde_json::Value {
    json!({
        "metadata": { "name": "s", "namespace": "shop", "generation": generation },
        "spec": { "service": "root", "backends": [{ "service": "leaf", "weight": weight }] },
    })
}

#[tokio::test]
async fn a_policy_is_shown_once_a_catalog_has_taken_in_what_it_says() {
    let kinds = [ManifestKind::Namespace, ManifestKind::TrafficSplit];
    let (inputs, watched) = futures::channel::mpsc::unbounded();
    let mut mirror = Mirror::new("osm", kinds);
    let first = mirror.settle(Instant::now()).into();
    let (told_policies, policies) = Policies::new();
    let watching = Watching {
        client: nobody(),
        targets: Vec::new(),
        inputs: stream::select_all([watched.boxed()]),
        mirror,
        freshness: Freshness::default(),
        policies: told_policies,
        said_policies: None,
        first,
    };
    let send = |input| inputs.unbounded_send(input).expect("somebody reads");
    let labels = json!({ crate::manifest::MONITORED_BY_LABEL: "osm" });
    list(kinds[0], json!({ "metadata": { "name": "shop", "labels": labels } })).for_each(send);
    list(kinds[1], split(1, 1)).for_each(send);

    let (catalog, mut driver) = Catalog::new(MeshOptions::default());
    // As a catalog reads.
    let mut batches = watching.into_events().ready_chunks(4096);
    let shown = || policies.current().values().map(|policy| policy.generation).collect::<Vec<_>>();
    for (version, before, after) in [(1, vec![], vec![1]), (2, vec![1], vec![2])] {
        while catalog.snapshot().version() < version {
            let batch = batches.next().await.expect("it never ends");
            assert_eq!(shown(), before, "nobody has taken in {batch:?}");
            driver.take_in(batch);
        }
        assert!(batches.next().now_or_never().is_none(), "there is nothing more to say");
        assert_eq!(shown(), after);
        let object = Object::new(split(2, 2));
        send(Input::Seen(kinds[1], kinds[1].api_version(), Seen::Applied(object)));
    }
}
