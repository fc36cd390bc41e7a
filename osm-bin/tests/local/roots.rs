//! The root of a mesh is exchanged while it serves.

mod client;
mod domains;

use std::collections::BTreeMap;
use std::time::Duration;

use osm_bin::local::api::{Happening, RootStep, RootsStatus};

use crate::PAUSE;
use crate::mesh::{Mesh, TestFolder};
use crate::within::within;
use client::Client;

pub(crate) const SHOP: &str = include_str!("connections.yaml");
pub(crate) const CONFIG: &str = "
apiVersion: config.openservicemesh.io/v1alpha2
kind: MeshConfig
metadata: {name: osm-mesh-config, namespace: osm-system}
spec: {traffic: {enablePermissiveTrafficPolicyMode: true}}
";
/// A pod that asks nobody anything: its proxy may stand still without a request being late.
const IDLE: &str = "
apiVersion: v1
kind: Pod
metadata: {name: idle, namespace: shop}
spec:
  serviceAccountName: idle
  containers: [{name: app, command: [sleep, infinity]}]
";

/// How many requests are made at least; `OSM_ROOTS_REQUESTS` says otherwise.
const REQUESTS: u64 = 5_000;
/// Longer than any change of roots takes: a proxy that did not believe a certificate that was tried out is asked again after 15 s.
const BOUND: Duration = Duration::from_secs(120);

/// The root that a mesh makes by itself, and the Secret that it would be in.
pub(crate) const FIRST: (&str, &str) = ("osm-mesh-root-certificate", "osm-ca-bundle");

/// A root that the mesh keeps itself.
pub(crate) fn root(name: &str, role: &str) -> String {
    let secret = if name == FIRST.0 { FIRST.1 } else { name };
    root_of(name, role, secret, "cluster.local")
}

/// The same by this Secret, for identities in this trust domain.
fn root_of(name: &str, role: &str, secret: &str, domain: &str) -> String {
    format!(
        "
---
apiVersion: config.openservicemesh.io/v1alpha2
kind: MeshRootCertificate
metadata: {{name: {name}, namespace: osm-system}}
spec:
  role: {role}
  trustDomain: {domain}
  provider: {{tresor: {{ca: {{secretRef: {{name: {secret}}}}}}}}}
"
    )
}

/// A mesh whose roots change while clients ask on and on.
struct Market<'a> {
    folder: &'a TestFolder<'a>,
    mesh: Mesh<'a>,
    clients: [Client; 2],
}

impl<'a> Market<'a> {
    async fn open(folder: &'a TestFolder<'a>) -> Self {
        let mesh = Mesh::up(folder).await;
        let clients = ["buyer", "other"].map(|pod| Client::start(&mesh, pod));
        let this = Self { folder, mesh, clients };
        this.settled(FIRST.0, &[]).await;
        this.asked(100).await;
        this
    }

    /// Says which roots there are to be, and what for.
    fn want(&self, roles: &[(&str, &str)]) {
        let objects: String = roles.iter().map(|(name, role)| root(name, role)).collect();
        self.folder.write("roots.yaml", &objects);
    }

    async fn roots(&self) -> Option<RootsStatus> {
        self.mesh.client.status().await.expect("a status").roots
    }

    /// Waits until the roots are like this.
    async fn until(&self, what: &str, is_so: impl Fn(&RootsStatus) -> bool) -> RootsStatus {
        within(BOUND, PAUSE, what, async || {
            let roots = self.roots().await.ok_or_else(|| "there is no control plane".to_owned())?;
            if is_so(&roots) { Ok(roots) } else { Err(format!("{roots:?}\n{}", self.mesh.said())) }
        })
        .await
    }

    /// Waits until this root signs, just these others are trusted, and nothing more is to be done.
    async fn settled(&self, root: &str, others: &[&str]) {
        let mut trusted = [&[root], others].concat();
        trusted.sort_unstable();
        self.until(&format!("{root} signs, and {trusted:?} are trusted"), |roots| {
            roots.settled && roots.issuing == root && roots.serving == root && roots.trusted == trusted
        })
        .await;
    }

    /// Waits until everybody is told to trust a root.
    async fn trusts(&self, root: &str) {
        self.until("it is trusted", |roots| roots.trusted.iter().any(|trusted| trusted == root)).await;
    }

    /// Waits until a root signs and the control plane does not serve by it.
    async fn signs(&self, root: &str) {
        self.until("it signs", |roots| roots.issuing == root && roots.serving != root).await;
    }

    /// Waits until the control plane serves by a root, and another is trusted still.
    async fn serves(&self, root: &str) {
        self.until("it serves", |roots| roots.serving == root && !roots.settled).await;
    }

    async fn restart_controller(&self) {
        self.mesh.client.restart_controller(Duration::ZERO).await.expect("it is restarted");
    }

    /// Has the proxy of the idle pod stand still, or go on.
    async fn idle(&self, signal: &str) {
        let pid = self.mesh.pid("shop/idle", "envoy").await;
        self.mesh.signal_inside(pid, signal).await;
    }

    /// Waits until so many more requests were made by each client.
    async fn asked(&self, more: u64) {
        for client in &self.clients {
            let enough = client.requests() + more;
            within(BOUND, PAUSE, "requests are made", async || match client.requests() {
                made if made < enough => Err(format!("{made} of {enough}")),
                _ => Ok(()),
            })
            .await;
        }
    }

    fn requests(&self) -> u64 {
        self.clients.iter().map(Client::requests).sum()
    }

    /// Checks that no request has failed, those after a course included.
    async fn sees_no_failure(&self, course: &str) {
        self.asked(50).await;
        for client in &self.clients {
            let requests = client.requests();
            assert_eq!(client.failures(), BTreeMap::new(), "{course}: of {requests}\n{}", self.mesh.said());
        }
    }

    async fn close(self) {
        drop(self.clients);
        self.mesh.down().await;
    }
}

/// Another root and another one: the object of the one before is taken away at once.
async fn exchange(market: &Market<'_>, next: &str) {
    market.want(&[(next, "active")]);
    market.settled(next, &[]).await;
    market.sees_no_failure("exchange").await;
    for step in [RootStep::Told, RootStep::Signs, RootStep::Serves] {
        let wanted = Happening::Root { root: next.to_owned(), step };
        market.mesh.event(|what| (*what == wanted).then_some(())).await;
    }
    let is_settled = |what: &Happening| matches!(what, Happening::RootsSettled { root, .. } if root == next);
    market.mesh.event(|what| is_settled(what).then_some(())).await;
}

/// People change their mind before all trust the other root, and when it signs already.
async fn changes_of_mind(market: &Market<'_>, now: &str, other: &str) {
    market.idle("STOP").await;
    market.want(&[(now, "inactive"), (other, "active")]);
    let who = "shop/idle has not acknowledged it";
    let held_up = market.until("one is waited for", |roots| roots.held_up_by == [who]).await;
    assert_eq!((held_up.issuing, held_up.trusted), (now.to_owned(), vec![now.to_owned(), other.to_owned()]));
    let told = market.mesh.event(|what| match what {
        Happening::RootsHeldUp { message } => Some(message.clone()),
        _ => None,
    });
    let told = told.await;
    assert!(told.contains(&format!("until all trust {other}: {who}")), "{told}");
    market.asked(50).await;
    market.want(&[(now, "active"), (other, "inactive")]);
    market.idle("CONT").await;
    market.settled(now, &[]).await;
    market.sees_no_failure("back before it signs").await;

    market.want(&[(now, "inactive"), (other, "active")]);
    market.signs(other).await;
    market.want(&[(now, "active")]);
    market.settled(now, &[]).await;
    market.sees_no_failure("back when it signs").await;
}

/// The control plane is another one in each kind of step.
async fn restarts(market: &Market<'_>, now: &str, next: &str) {
    market.want(&[(now, "inactive"), (next, "active")]);
    market.restart_controller().await;
    market.trusts(next).await;
    market.restart_controller().await;
    market.signs(next).await;
    market.restart_controller().await;
    market.serves(next).await;
    market.restart_controller().await;
    market.settled(next, &[]).await;
    market.sees_no_failure("restarts").await;
}

/// A change stands still at its beginning and in its middle, whoever the control plane is.
async fn pauses(market: &Market<'_>, now: &str, next: &str) {
    let paused = "active\n  paused: true";
    let stands_still = async || {
        let before = market.until("it is paused", |roots| roots.message == "paused").await;
        market.asked(50).await;
        market.restart_controller().await;
        let after = market.until("it is paused still", |roots| roots.message == "paused").await;
        assert_eq!(after, before);
    };
    market.want(&[(now, "inactive"), (next, paused)]);
    stands_still().await;
    market.want(&[(now, "inactive"), (next, "active")]);
    market.signs(next).await;
    market.want(&[(now, "inactive"), (next, paused)]);
    stands_still().await;
    market.want(&[(now, "inactive"), (next, "active")]);
    market.settled(next, &[]).await;
    market.sees_no_failure("pauses").await;
}

/// Two roots are in use for as long as people want, and either signs.
async fn two_roots(market: &Market<'_>, now: &str, next: &str) {
    market.want(&[(now, "active"), (next, "passive")]);
    market.settled(now, &[next]).await;
    market.want(&[(now, "active"), (next, "active")]);
    market.asked(50).await;
    market.settled(now, &[next]).await;
    market.want(&[(now, "passive"), (next, "active")]);
    market.settled(next, &[now]).await;
    market.want(&[(now, "active"), (next, "active")]);
    market.asked(50).await;
    market.settled(next, &[now]).await;
    market.want(&[(next, "active")]);
    market.settled(next, &[]).await;
    market.sees_no_failure("two roots").await;
}

#[tokio::test]
#[ignore = "needs root and Envoy: run by `cargo xtask test`"]
async fn roots_change_in_every_way_while_each_request_is_a_new_connection() {
    let wanted = std::env::var("OSM_ROOTS_REQUESTS").ok();
    let wanted = wanted.map_or(REQUESTS, |text| text.parse().expect("OSM_ROOTS_REQUESTS is a number"));
    let folder = TestFolder::new(&[("shop.yaml", SHOP), ("config.yaml", CONFIG), ("idle.yaml", IDLE)]);
    let market = Market::open(&folder).await;
    for lap in 1.. {
        let [a, b, c, d] = ["a", "b", "c", "d"].map(|letter| format!("{letter}{lap}"));
        exchange(&market, &a).await;
        exchange(&market, FIRST.0).await;
        exchange(&market, &a).await;
        changes_of_mind(&market, &a, &b).await;
        two_roots(&market, &a, &b).await;
        restarts(&market, &b, &c).await;
        pauses(&market, &c, &d).await;
        println!("lap {lap}: {} requests", market.requests());
        if market.requests() >= wanted {
            break;
        }
    }
    market.close().await;
}

#[tokio::test]
#[ignore = "needs root and Envoy: run by `cargo xtask test`"]
async fn roots_that_make_no_sense_are_findings_and_change_nothing() {
    let vault = "
apiVersion: config.openservicemesh.io/v1alpha2
kind: MeshRootCertificate
metadata: {name: vault, namespace: osm-system}
spec:
  role: active
  provider: {vault: {host: vault, port: 8200, protocol: http, role: mesh, kubernetes: {role: mesh}}}
";
    let folder = TestFolder::new(&[("shop.yaml", SHOP), ("config.yaml", CONFIG)]);
    let market = Market::open(&folder).await;
    let found = async |code: &str| {
        market
            .mesh
            .until(code, async || {
                let status = market.mesh.client.status().await.expect("a status");
                status.findings.iter().any(|finding| finding.code == code)
            })
            .await;
        let roots = market.roots().await.expect("roots");
        assert_eq!((roots.issuing.as_str(), roots.trusted.len()), (FIRST.0, 1), "{code}");
    };
    market.want(&[("a", "passive"), ("b", "inactive")]);
    found("no-active-root").await;
    market.want(&[("a", "passive"), ("b", "active"), ("c", "passive")]);
    found("too-many-roots").await;
    market.folder.write("roots.yaml", vault);
    found("provider-elsewhere").await;
    market.sees_no_failure("findings").await;
    market.want(&[("a", "active")]);
    market.settled("a", &[]).await;
    market.sees_no_failure("after findings").await;
    market.close().await;
}

#[tokio::test]
#[ignore = "needs root and Envoy: run by `cargo xtask test`"]
async fn a_mesh_that_is_started_again_begins_with_its_first_root_whatever_the_last_one_ended_with() {
    let folder = TestFolder::new(&[("shop.yaml", SHOP), ("config.yaml", CONFIG)]);
    let market = Market::open(&folder).await;
    market.want(&[("a", "active")]);
    market.settled("a", &[]).await;
    market.close().await;
    folder.remove("roots.yaml");
    let again = Market::open(&folder).await;
    again.sees_no_failure("started again").await;
    again.close().await;
}
