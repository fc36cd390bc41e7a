//! The identities of a mesh get another trust domain while it serves.

use super::client::Client;
use super::*;

const FIRST_DOMAIN: &str = "cluster.local";
const NEXT_DOMAIN: &str = "next.example";

/// Who may call is said by name, and both sides check it.
const POLICY: &str = "
apiVersion: specs.smi-spec.io/v1alpha4
kind: TCPRoute
metadata: {name: plain, namespace: shop}
spec: {matches: {ports: [14003]}}
---
apiVersion: access.smi-spec.io/v1alpha3
kind: TrafficTarget
metadata: {name: plain, namespace: shop}
spec:
  destination: {kind: ServiceAccount, name: store, namespace: shop}
  sources:
  - {kind: ServiceAccount, name: buyer, namespace: shop}
  - {kind: ServiceAccount, name: other, namespace: shop}
  rules: [{kind: TCPRoute, name: plain}]
";

/// A root: its name, role, Secret and trust domain.
type Root<'a> = (&'a str, &'a str, &'a str, &'a str);

impl Market<'_> {
    fn want_in(&self, roots: &[Root<'_>]) {
        let objects: String =
            roots.iter().map(|(name, role, secret, domain)| root_of(name, role, secret, domain)).collect();
        self.folder.write("roots.yaml", &objects);
    }

    /// Waits until a root signs alone, for identities in this trust domain alone.
    async fn named(&self, root: &str, domain: &str) {
        self.settled(root, &[]).await;
        let roots = self.roots().await.expect("a control plane");
        assert_eq!(roots.trust_domains, [domain]);
        let names = self.mesh.client.status().await.expect("a status");
        let pods = names.pods.iter().filter_map(|pod| pod.proxy.as_ref()?.certificate.as_ref());
        let uris: Vec<&str> = pods.map(|certificate| certificate.id.as_str()).collect();
        let begins = format!("spiffe://{domain}/");
        assert!(uris.len() >= 4 && uris.iter().all(|uri| uri.starts_with(&begins)), "{uris:?}");
        self.sees_no_failure(&format!("to {root} in {domain}")).await;
    }
}

#[tokio::test]
#[ignore = "needs root and Envoy: run by `cargo xtask test`"]
async fn a_mesh_gets_another_trust_domain_while_each_request_is_a_new_connection() {
    let config = CONFIG.replace("true", "false");
    let stranger = IDLE.replace("idle", "stranger");
    let files = [
        ("shop.yaml", SHOP),
        ("config.yaml", config.as_str()),
        ("stranger.yaml", stranger.as_str()),
        ("policy.yaml", POLICY),
    ];
    let folder = TestFolder::new(&files);
    let market = Market::open(&folder).await;
    let refused = Client::start(&market.mesh, "stranger");
    let kept = Client::start_on_one(&market.mesh, "buyer");
    let (first, next) = (FIRST_DOMAIN, NEXT_DOMAIN);

    // Another root, and another name.
    market.want_in(&[("a", "active", "a", next)]);
    market.named("a", next).await;
    // Another name under the same root.
    market.want_in(&[("b", "active", "a", first), ("a", "inactive", "a", next)]);
    market.named("b", first).await;
    // Another root, under whose name everybody is known again when it has signed already.
    market.want_in(&[("c", "active", "c", next), ("b", "inactive", "a", first)]);
    market.signs("c").await;
    market.want_in(&[("c", "inactive", "c", next), ("b", "active", "a", first)]);
    market.named("b", first).await;
    // The control plane is another one in the middle.
    market.want_in(&[("d", "active", "d", next), ("b", "inactive", "a", first)]);
    market.trusts("d").await;
    market.restart_controller().await;
    market.signs("d").await;
    market.restart_controller().await;
    market.named("d", next).await;
    // Two roots, each of its own trust domain, for as long as people want.
    market.want_in(&[("d", "active", "d", next), ("e", "passive", "e", first)]);
    market.settled("d", &["e"]).await;
    assert_eq!(market.roots().await.expect("a control plane").trust_domains, [next, first]);
    market.sees_no_failure("two trust domains").await;

    assert!(kept.requests() > 100 && kept.failures().is_empty(), "{} {:?}", kept.requests(), kept.failures());
    let denied = refused.failures().values().sum::<u64>();
    assert!(
        denied > 20 && refused.requests() == denied,
        "{:?} of {}",
        refused.failures(),
        refused.requests()
    );
    println!("{} requests", market.requests());
    market.close().await;
}
