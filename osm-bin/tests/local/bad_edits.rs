//! Bad edits of a live mesh: named with file and line, and access is nowhere
//! wider or narrower than before.

use osm_bin::local::api::Happening;

use crate::mesh::{Mesh, TestFolder};
use crate::{SHOP, buys};

const POLICY: &str = "apiVersion: access.smi-spec.io/v1alpha3
kind: TrafficTarget
metadata: {name: more, namespace: shop}
spec:
  destination: {kind: ServiceAccount, name: store, namespace: shop}
  rules: [{kind: HTTPRouteGroup, name: all}]
  sources: [{kind: ServiceAccount, name: friend, namespace: shop}]
";

/// The friend has no pod: the test calls in its name.
const FRIEND: &str = "{apiVersion: v1, kind: ServiceAccount, metadata: {name: friend, namespace: shop}}";

/// A bad edit of `policy.yaml`, the word for it, and the line that is named.
fn edits() -> Vec<(&'static str, String, &'static str, &'static str)> {
    let half = POLICY.find("sources").expect("it is there") + 3;
    let stranger = POLICY.replace("friend", "stranger");
    vec![
        ("half-saved", POLICY[..half].to_owned(), "policy.yaml:7", "half-saved"),
        ("malformed YAML", stranger.replace("spec:", "spec: ["), "policy.yaml:", "bad-document"),
        ("an unknown field", stranger.replace("  rules:", "  rulez: []\n  rules:"), "policy.yaml:", "rulez"),
        ("a duplicate object", format!("{POLICY}---\n{stranger}"), "policy.yaml:9", "duplicate"),
        (
            "a target to nowhere",
            POLICY.replace("name: all}", "name: nothing}"),
            "policy.yaml:1",
            "target-to-nowhere",
        ),
    ]
}

/// Who gets an answer from the store.
async fn may(mesh: &Mesh<'_>, account: &str) -> bool {
    let outcome = mesh.client.dial(&buys(&format!("shop/{account}"))).await.expect("an outcome");
    outcome.http.is_some_and(|answer| answer.status == 200)
}

#[tokio::test]
#[ignore = "needs root and Envoy: run by `cargo xtask test`"]
async fn i9_a_bad_edit_of_each_kind_is_named_and_widens_nothing() {
    let folder = TestFolder::new(&[("shop.yaml", SHOP), ("policy.yaml", POLICY), ("friend.yaml", FRIEND)]);
    let mesh = Mesh::up(&folder).await;
    assert!(may(&mesh, "friend").await && may(&mesh, "buyer").await && !may(&mesh, "stranger").await);
    for (what, text, place, word) in edits() {
        folder.write("policy.yaml", &text);
        let found = mesh.event(|event| match event {
            Happening::Findings { new, .. } => {
                new.iter().map(|finding| finding.text.clone()).find(|text| text.contains(word))
            }
            _ => None,
        });
        let found = found.await;
        assert!(found.contains(place), "{what}: {found}");
        assert!(!may(&mesh, "stranger").await, "{what} gives nobody access");
        // A target whose routes are gone grants nothing; whatever can't be read stays as it was.
        assert_eq!(may(&mesh, "friend").await, word != "target-to-nowhere", "{what}");
        assert!(may(&mesh, "buyer").await, "{what} concerns nobody else");

        folder.write("policy.yaml", POLICY);
        mesh.until("the finding is gone", async || {
            mesh.client
                .status()
                .await
                .expect("a status")
                .findings
                .iter()
                .all(|finding| !finding.text.contains("policy.yaml"))
        })
        .await;
        mesh.until("the friend may again", async || may(&mesh, "friend").await).await;
    }
    mesh.down().await;
}
