//! The publisher and its driver: what comes in from the catalog and from the
//! provider of certificates, and who is subscribed.

use std::sync::Arc;
use std::time::Duration;

use osm_certs::certificate::{Certified, TrustBundle};
use osm_certs::enrolment::Enrolment;
use osm_certs::in_process::InProcessCa;
use osm_certs::issuer::Issuer;
use osm_certs::manager::{CertificateManager, ManagerOptions};
use osm_certs::provider::{CertificateProvider, CertificateWatch, TrustWatch, Watch, WatchSender};
use osm_certs::subject::Subject;
use osm_core::catalog::{Catalog, CatalogDriver, MeshCatalog, SnapshotWatch};
use osm_core::identity::{ProxyId, TrustDomains};
use osm_core::model::MeshObject;
use osm_core::snapshot::{MeshOptions, MeshSnapshot};
use osm_core::source::SourceEvent;
use osm_core::testing::Fleet;
use osm_xds::generate::names;
use osm_xds::push::{Cause, Publication, Publisher};
use osm_xds::resource::{ResourceKey, ResourceKind, ResourceName};
use osm_xds::view::{RefusalKind, ViewSource, ViewWatch};
use parking_lot::Mutex;
use tokio::task::JoinHandle;

use crate::cost::fleet;
use crate::from_scratch;

/// How long anything may take before the test fails.
const PATIENCE: Duration = Duration::from_secs(20);

async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(PATIENCE, future).await {
        Ok(value) => value,
        Err(_) => panic!("{what} did not happen within {PATIENCE:?}"),
    }
}

/// Waits for a view that fits.
async fn view_with(watch: &mut ViewWatch, fits: impl Fn(&osm_xds::view::View) -> bool) {
    soon("such a view", async {
        while !watch.latest().is_some_and(|view| fits(&view)) {
            watch.changed().await.expect("views go on");
        }
    })
    .await;
}

async fn publication(publisher: &Publisher, fits: impl Fn(&Publication) -> bool) -> Publication {
    let mut publications = publisher.publications();
    let found = soon("such a publication", publications.wait_for(|found| fits(found))).await;
    found.expect("the driver goes on").clone()
}

fn secret(name: &str) -> ResourceKey {
    ResourceKey::new(ResourceKind::Secret, ResourceName::new(name))
}

/// A provider that shows what the test gives it.
#[derive(Default)]
struct Given {
    certificates: Mutex<Vec<(Subject, WatchSender<Certified>)>>,
    trust: WatchSender<TrustBundle>,
}

impl CertificateProvider for Given {
    fn watch(&self, subject: &Subject) -> CertificateWatch {
        let sender = WatchSender::new();
        let watch = sender.watch();
        self.certificates.lock().push((subject.clone(), sender));
        watch
    }

    fn trust(&self) -> TrustWatch {
        self.trust.watch()
    }
}

impl Given {
    /// The subjects that somebody watches.
    fn watched(&self) -> Vec<String> {
        let certificates = self.certificates.lock();
        let watched = certificates.iter().filter(|(_, sender)| sender.watches() > 0);
        watched.map(|(subject, _)| subject.to_string()).collect()
    }
}

/// A mesh that never changes.
struct Still(Arc<MeshSnapshot>);

impl MeshCatalog for Still {
    fn snapshot(&self) -> Arc<MeshSnapshot> {
        Arc::clone(&self.0)
    }

    fn watch(&self) -> SnapshotWatch {
        SnapshotWatch::still(Arc::clone(&self.0))
    }
}

/// One root for everybody, and no certificate for anybody.
struct OnlyTrust(Arc<TrustBundle>);

impl CertificateProvider for OnlyTrust {
    fn watch(&self, _: &Subject) -> CertificateWatch {
        // It has ended, without a certificate.
        WatchSender::new().watch()
    }

    fn trust(&self) -> TrustWatch {
        Watch::still(Arc::clone(&self.0))
    }
}

struct Running {
    fleet: Fleet,
    reader: Catalog,
    catalog: CatalogDriver,
    publisher: Publisher,
    driver: JoinHandle<()>,
}

/// A publisher of a small fleet that runs.
fn run(provider: Arc<dyn CertificateProvider>) -> Running {
    let fleet = fleet(10, 20, true);
    let (reader, mut catalog) = Catalog::new(MeshOptions::default());
    catalog.take_in(SourceEvent::round(fleet.objects()));
    let (publisher, driver) = Publisher::new(Arc::new(reader.clone()), provider);
    Running { fleet, reader, catalog, publisher, driver: tokio::spawn(driver.run()) }
}

#[tokio::test]
async fn a_subscriber_is_shown_each_change_and_the_publication_says_what_it_took() {
    let Running { fleet, mut catalog, publisher, .. } = run(Arc::new(Given::default()));
    let mut watch = publisher.subscribe(&fleet.client_proxy(0)).expect("it may");
    let endpoints = ResourceKey::new(ResourceKind::Endpoints, ResourceName::new("fleet/s3|80"));
    view_with(&mut watch, |view| view.get(&endpoints).is_some()).await;
    let first = publication(&publisher, |found| found.snapshot == 1).await;
    catalog.take_in([SourceEvent::apply(fleet.slice(3, 1))]);
    let change = publication(&publisher, |found| found.snapshot == 2).await;
    assert_eq!((change.cause, change.proxies), (Cause::Mesh, 1));
    assert!((1..=2).contains(&change.work.generated), "{change:?}");
    assert_eq!(change.total, {
        let mut total = first.total;
        total += change.work;
        total
    });
    assert_eq!(watch.latest().map(|view| view.version()), Some(change.version));
}

#[tokio::test]
async fn the_certificates_of_exactly_the_connected_identities_are_watched() {
    let given = Arc::new(Given::default());
    let Running { fleet, publisher, .. } = run(Arc::clone(&given) as Arc<dyn CertificateProvider>);
    // Clients 0 and 10 have one account, client 1 another.
    let watches: Vec<_> =
        [0, 10, 1].map(|client| publisher.subscribe(&fleet.client_proxy(client)).expect("it may")).into();
    let settled = |expected: &[&str]| {
        let expected: Vec<_> =
            expected.iter().map(|account| format!("spiffe://cluster.local/{account}/fleet")).collect();
        let given = Arc::clone(&given);
        async move {
            soon("the right watches", async {
                while given.watched() != expected {
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
            })
            .await;
        }
    };
    settled(&["c0", "c1"]).await;
    let [one, other, last]: [ViewWatch; 3] = watches.try_into().expect("three");
    drop(one);
    drop(last);
    settled(&["c0"]).await;
    drop(other);
    settled(&[]).await;
}

/// The trust domain of a mesh, and another one in which its identities are known.
fn domains(own: &str, other: &str) -> TrustDomains {
    let [own, other] = [own, other].map(|name| name.parse().expect("a name"));
    TrustDomains::new(own, [("other".parse().expect("a name"), other)])
}

#[tokio::test]
async fn another_trust_domain_comes_into_every_view_and_a_certificate_stays_until_there_is_one_of_it() {
    let authority = Arc::new(InProcessCa::ephemeral().expect("an authority"));
    let given = Arc::new(Given::default());
    let running = run(Arc::clone(&given) as Arc<dyn CertificateProvider>);
    let Running { fleet, reader, mut catalog, publisher, .. } = running;
    let show = async |text: &str| {
        let id = format!("spiffe://{text}/c0/fleet");
        let subject = Subject::Workload(id.parse().expect("a SPIFFE ID"));
        let Enrolment { key, request } =
            Enrolment::new(subject.clone(), Duration::from_secs(3600)).expect("a key");
        let chain = authority.sign(&request).await.expect("a certificate");
        let certified = Certified::new(subject.clone(), chain, key).expect("they fit");
        let certificates = given.certificates.lock();
        let watched = certificates.iter().rfind(|(other, sender)| *other == subject && sender.watches() > 0);
        watched.expect("it is watched").1.publish(Arc::new(certified));
    };
    let mut watch = publisher.subscribe(&fleet.client_proxy(0)).expect("it may");
    view_with(&mut watch, |_| true).await;
    show("cluster.local").await;
    let own = secret(names::CERTIFICATE_SECRET);
    view_with(&mut watch, |view| view.get(&own).is_some()).await;
    let version = |watch: &ViewWatch| watch.current().and_then(|view| Some(view.get(&own)?.version));
    let old = version(&watch);

    // Both are known first: every proxy is told so, and none has another name.
    let cluster = ResourceKey::new(ResourceKind::Cluster, ResourceName::new("fleet/s3|80"));
    let names_both = |view: &osm_xds::view::View| {
        let body = view.get(&cluster).map(|resource| resource.body.clone()).unwrap_or_default();
        let text = String::from_utf8_lossy(&body).into_owned();
        ["spiffe://cluster.local/", "spiffe://next.example/"].iter().all(|name| text.contains(name))
    };
    let wanted = domains("cluster.local", "next.example");
    reader.set_trust_domains(wanted.clone());
    catalog.take_in([]);
    view_with(&mut watch, |view| view.domains().is_some_and(|domains| **domains == wanted)).await;
    assert!(names_both(&watch.current().expect("a view")));
    assert_eq!(given.watched(), ["spiffe://cluster.local/c0/fleet"]);

    // Then it is asked for by the new name, and the old one serves, renewed if need be, until that comes.
    let wanted = domains("next.example", "cluster.local");
    reader.set_trust_domains(wanted.clone());
    catalog.take_in([]);
    view_with(&mut watch, |view| view.domains().is_some_and(|domains| **domains == wanted)).await;
    assert_eq!(given.watched(), ["spiffe://cluster.local/c0/fleet", "spiffe://next.example/c0/fleet"]);
    assert_eq!(version(&watch), old);
    show("cluster.local").await;
    view_with(&mut watch, |view| view.get(&own).map(|found| found.version) != old).await;
    let renewed = version(&watch);
    show("next.example").await;
    view_with(&mut watch, |view| view.get(&own).map(|found| found.version) != renewed).await;
    assert_eq!(given.watched(), ["spiffe://next.example/c0/fleet"]);
    assert!(names_both(&watch.current().expect("a view")));
}

#[tokio::test]
async fn certificates_and_trust_come_into_views_when_they_are_there() {
    let authority = Arc::new(InProcessCa::ephemeral().expect("an authority"));
    let (certificates, manager) =
        CertificateManager::new(Arc::clone(&authority) as Arc<dyn Issuer>, ManagerOptions::default());
    let manager = tokio::spawn(manager.run());
    let Running { fleet, publisher, .. } = run(Arc::new(certificates.clone()));
    let mut watch = publisher.subscribe(&fleet.client_proxy(0)).expect("it may");
    let (own, trust) = (secret(names::CERTIFICATE_SECRET), secret(names::TRUST_SECRET));
    view_with(&mut watch, |view| view.get(&own).is_some() && view.get(&trust).is_some()).await;
    let before = watch.current().expect("a view");
    assert_eq!(certificates.rotate_now(), 1);
    view_with(&mut watch, |view| view.get(&own).map(|r| r.version) != before.get(&own).map(|r| r.version))
        .await;
    let after = watch.current().expect("a view");
    assert_eq!(after.changed_since(&before).into_iter().collect::<Vec<_>>(), [own]);
    manager.abort();
}

#[tokio::test]
async fn a_proxy_that_comes_back_at_once_is_shown_its_certificate_again() {
    let authority = Arc::new(InProcessCa::ephemeral().expect("an authority"));
    let (certificates, manager) =
        CertificateManager::new(Arc::clone(&authority) as Arc<dyn Issuer>, ManagerOptions::default());
    let manager = tokio::spawn(manager.run());
    let Running { fleet, publisher, .. } = run(Arc::new(certificates));
    let own = secret(names::CERTIFICATE_SECRET);
    let mut watch = publisher.subscribe(&fleet.client_proxy(0)).expect("it may");
    view_with(&mut watch, |view| view.get(&own).is_some()).await;
    // The driver runs on this thread: it takes in both commands at once.
    drop(watch);
    let mut watch = publisher.subscribe(&fleet.client_proxy(0)).expect("it may");
    view_with(&mut watch, |view| view.get(&own).is_some()).await;
    manager.abort();
}

#[tokio::test]
async fn i9_a_catalog_and_a_provider_that_end_leave_what_they_said_in_force() {
    let fleet = fleet(10, 20, true);
    let (_, snapshot) = from_scratch(fleet.objects());
    let authority = InProcessCa::ephemeral().expect("an authority");
    let provider = Arc::new(OnlyTrust(Arc::new(authority.root().clone())));
    let (publisher, driver) = Publisher::new(Arc::new(Still(snapshot)), provider);
    let driver = tokio::spawn(driver.run());
    for client in 0..3 {
        let mut watch = publisher.subscribe(&fleet.client_proxy(client)).expect("it may");
        view_with(&mut watch, |view| view.get(&secret(names::TRUST_SECRET)).is_some()).await;
        let view = watch.current().expect("a view");
        assert!(view.get(&secret(names::CERTIFICATE_SECRET)).is_none());
        assert!(view.iter(ResourceKind::Cluster).count() >= 10);
    }
    assert!(!driver.is_finished());
    drop(publisher);
    soon("the end of the driver", driver).await.expect("no panic");
}

#[tokio::test]
async fn the_driver_ends_with_the_last_publisher_and_watch() {
    let Running { fleet, publisher, driver, .. } = run(Arc::new(Given::default()));
    let watch = publisher.clone().subscribe(&fleet.client_proxy(0)).expect("it may");
    drop(publisher);
    tokio::task::yield_now().await;
    assert!(!driver.is_finished());
    drop(watch);
    soon("the end of the driver", driver).await.expect("no panic");
}

#[tokio::test]
async fn a_proxy_of_another_identity_is_refused_and_an_unknown_one_waits() {
    let Running { fleet, mut catalog, publisher, .. } = run(Arc::new(Given::default()));
    let known = fleet.client_proxy(0);
    let claimed = ProxyId::new(known.uuid.clone(), "fleet/c1".parse().expect("valid"));
    let refusal = publisher.subscribe(&claimed).expect_err("that is not its account");
    assert_eq!(refusal.kind, RefusalKind::Denied, "{refusal}");
    let early = ProxyId::new("client-20".parse().expect("valid"), "fleet/c0".parse().expect("valid"));
    let mut watch = publisher.subscribe(&early).expect("its pod may appear");
    // Who subscribes later is served later.
    let mut later = publisher.subscribe(&known).expect("it may");
    view_with(&mut later, |_| true).await;
    assert!(watch.current().is_none());
    let larger = Fleet { clients: 21, ..fleet };
    catalog.take_in(larger.objects().into_iter().map(SourceEvent::apply));
    view_with(&mut watch, |view| view.iter(ResourceKind::Cluster).count() > 0).await;
}

#[tokio::test]
async fn the_views_of_a_proxy_end_when_its_pod_becomes_somebody_else() {
    let Running { fleet, mut catalog, publisher, .. } = run(Arc::new(Given::default()));
    let [turned, other] = [0, 1].map(|client| fleet.client_proxy(client));
    let mut watch = publisher.subscribe(&turned).expect("it may");
    let mut bystander = publisher.subscribe(&other).expect("it may");
    for watch in [&mut watch, &mut bystander] {
        view_with(watch, |_| true).await;
    }
    let is_beside = |object: &MeshObject| match object {
        MeshObject::Workload(workload) if workload.proxy.as_ref() == Some(&turned.uuid) => {
            Some(workload.clone())
        }
        _ => None,
    };
    let mut pod = fleet.objects().iter().find_map(is_beside).expect("its pod");
    pod.service_account = "c1".parse().expect("valid");
    catalog.take_in([SourceEvent::apply(pod)]);
    soon("the end of its views", async { while watch.changed().await.is_ok() {} }).await;
    let refusal = publisher.subscribe(&turned).expect_err("that is not its account any more");
    assert!(refusal.kind == RefusalKind::Denied && refusal.reason.contains("fleet/c1"), "{refusal}");
    assert!(!bystander.has_ended());
}

#[tokio::test(start_paused = true)]
async fn i15_the_running_publisher_audits_one_proxy_after_the_other() {
    let fleet = fleet(10, 20, true);
    let (reader, mut catalog) = Catalog::new(MeshOptions::default());
    catalog.take_in(SourceEvent::round(fleet.objects()));
    let (publisher, driver) = Publisher::new(Arc::new(reader), Arc::new(Given::default()));
    let driver = tokio::spawn(driver.auditing(Duration::from_secs(60)).run());
    let watches: Vec<_> =
        (0..3).map(|client| publisher.subscribe(&fleet.client_proxy(client)).expect("it may")).collect();
    publication(&publisher, |found| found.total.views >= 3).await;
    // Time passes at once when nothing else is to be done.
    for _ in 0..1000 {
        tokio::time::sleep(Duration::from_secs(60)).await;
    }
    assert!(publisher.audits().done >= 5, "{:?}", publisher.audits());
    assert_eq!(publisher.audits().differing, 0);
    drop((watches, publisher));
    soon("the end of the driver", driver).await.expect("no panic");
}
