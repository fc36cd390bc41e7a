//! A driver that runs over two issuers that do as they are told, in simulated time.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use osm_certs::certificate::{CertificateChain, TrustBundle};
use osm_certs::issuer::Issuer;
use osm_certs::manager::{CertificateManager, ManagerOptions};
use osm_certs::provider::{CertificateProvider, CertificateWatch, Watch};
use osm_certs::rotation::{
    Authorities, Candidate, Holdup, Missing, Progress, Role, Roots, RotationDriver, RotationParts,
    RotationStatus, Stage, Step, Wanted, Wish,
};
use osm_certs::subject::Subject;
use osm_certs::testing::FakeIssuer;
use osm_core::name::ObjectName;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::around::{FakeStore, FakeSurroundings, names};

/// How long anything may take, in simulated time.
const PATIENCE: Duration = Duration::from_secs(3600);

pub(crate) struct Mesh {
    pub(crate) issuers: BTreeMap<&'static str, Arc<FakeIssuer>>,
    pub(crate) authorities: Arc<Authorities>,
    pub(crate) manager: CertificateManager,
    pub(crate) store: Arc<FakeStore>,
    pub(crate) around: Arc<FakeSurroundings>,
    pub(crate) wish: watch::Sender<Option<Wanted>>,
    pub(crate) status: watch::Receiver<RotationStatus>,
    pub(crate) candidate: watch::Receiver<Option<Candidate>>,
    pub(crate) workload: CertificateWatch,
    pub(crate) server: CertificateWatch,
    driving: Option<JoinHandle<()>>,
    managing: JoinHandle<()>,
}

impl Drop for Mesh {
    fn drop(&mut self) {
        self.managing.abort();
        self.driving.iter().for_each(JoinHandle::abort);
    }
}

impl Mesh {
    /// A mesh at its first stage, with the root `a`. There is `b` as well.
    pub(crate) fn start() -> Self {
        Self::start_with(|_| {})
    }

    /// The same, when its issuers were told something.
    pub(crate) fn start_with(adjust: impl FnOnce(&BTreeMap<&'static str, Arc<FakeIssuer>>)) -> Self {
        let issuer = || Arc::new(FakeIssuer::new().expect("an issuer"));
        let issuers = BTreeMap::from([("a", issuer()), ("b", issuer())]);
        adjust(&issuers);
        let authorities = Arc::new(Authorities::new(Stage::first(name("a"), SystemTime::now())));
        for (root, issuer) in &issuers {
            authorities.set(name(root), Arc::clone(issuer) as Arc<dyn Issuer>);
        }
        let (manager, driver) =
            CertificateManager::new(Arc::clone(&authorities) as _, ManagerOptions::default());
        let managing = tokio::spawn(driver.run());
        let (store, around) = (Arc::new(FakeStore::default()), Arc::new(FakeSurroundings::default()));
        let (wish, wanted) = watch::channel(None);
        let driver = RotationDriver::new(RotationParts {
            authorities: Arc::clone(&authorities),
            manager: manager.clone(),
            store: Arc::clone(&store) as _,
            surroundings: Arc::clone(&around) as _,
            wanted,
            servers: servers(),
        });
        Self {
            status: driver.status(),
            candidate: driver.candidate(),
            workload: manager.watch(&workload()),
            server: manager.watch(&servers()),
            issuers,
            authorities,
            manager,
            store,
            around,
            wish,
            driving: Some(tokio::spawn(driver.run())),
            managing,
        }
    }

    /// Ends the driver.
    pub(crate) async fn stop(&mut self) {
        let Some(driving) = self.driving.take() else { return };
        driving.abort();
        assert!(driving.await.expect_err("it was running").is_cancelled());
    }

    /// People want these roots.
    pub(crate) fn want(&self, roles: &[(&str, Role)]) {
        let wish = wish(roles);
        self.wish.send_replace(Some(Wanted { wish, patience: None }));
    }

    /// Waits until it is doing like this, but not for ever.
    pub(crate) async fn eventually(
        &self,
        what: &str,
        mut is_so: impl FnMut(&RotationStatus) -> bool,
    ) -> RotationStatus {
        let mut status = self.status.clone();
        let waited = timeout(PATIENCE, status.wait_for(|status| is_so(status))).await;
        match waited {
            Ok(status) => status.expect("the driver runs").clone(),
            Err(_) => panic!("{what} did not happen: {:?}", self.status.borrow()),
        }
    }

    /// Waits until just these hold it up at this step.
    pub(crate) async fn waits_for(&self, step: &Step, holdups: &[Holdup]) -> RotationStatus {
        let is_so = |status: &RotationStatus| match &status.progress {
            Progress::Waiting(waiting) => waiting.step == *step && waiting.holdups == holdups,
            _ => false,
        };
        self.eventually(&format!("waiting {step} for {holdups:?}"), is_so).await
    }

    pub(crate) async fn settles(&self) -> RotationStatus {
        let trusts = self.manager.trust();
        let status = self.eventually("settling", |status| status.progress == Progress::Settled).await;
        let bundle =
            self.bundle(&status.stage.trusted.iter().map(ObjectName::as_str).collect::<Vec<_>>()).await;
        shows("the trust of the stage", &trusts, |trust| ders(trust) == ders(&bundle)).await;
        status
    }

    /// The certificates of these roots.
    pub(crate) async fn bundle(&self, roots: &[&str]) -> TrustBundle {
        let mut all = Vec::new();
        for root in roots {
            all.extend(self.issuers[root].trust_bundle().await.expect("it tells").der().to_vec());
        }
        TrustBundle::from_der(all).expect("certificates")
    }

    /// What is given out as trusted.
    pub(crate) fn trusts(&self) -> Vec<Vec<u8>> {
        self.manager.trust().current().as_deref().map(ders).unwrap_or_default()
    }

    /// By which root a certificate is.
    pub(crate) fn root_of(&self, chain: &CertificateChain) -> Option<ObjectName> {
        let known: Roots = self.authorities.known();
        known.signer(chain, &name("a"), SystemTime::now())
    }

    /// Waits until a certificate that is given out is of this root.
    pub(crate) async fn is_of(&self, watch: &CertificateWatch, root: &str) {
        let what = format!("a certificate of {root}");
        shows(&what, watch, |one| self.root_of(one.chain()) == Some(name(root))).await;
    }
}

/// Waits until a watch shows what is like this, but not for ever.
async fn shows<T>(what: &str, watch: &Watch<T>, is_so: impl Fn(&T) -> bool) {
    let mut watch = watch.clone();
    let waited = timeout(PATIENCE, async {
        while !watch.current().is_some_and(|shown| is_so(&shown)) {
            watch.changed().await.expect("the manager runs");
        }
    });
    waited.await.unwrap_or_else(|_| panic!("{what} did not come"));
}

pub(crate) fn ders(bundle: &TrustBundle) -> Vec<Vec<u8>> {
    let mut ders: Vec<_> = bundle.der().iter().map(|one| one.to_vec()).collect();
    ders.sort();
    ders
}

pub(crate) fn wish(roles: &[(&str, Role)]) -> Wish {
    // The same roles are the same wish.
    let revision = roles.iter().flat_map(|(root, role)| format!("{root}{role:?}").into_bytes());
    let revision = revision.fold(1, |sum: u64, byte| sum.wrapping_mul(31).wrapping_add(byte.into()));
    Wish::new(roles.iter().map(|(root, role)| (name(root), *role)), revision).expect("it makes sense")
}

pub(crate) fn name(name: &str) -> ObjectName {
    names(&[name]).pop_first().expect("one")
}

pub(crate) fn proxy(proxy: &str, missing: Missing) -> Holdup {
    Holdup::Proxy(proxy.parse().expect("a name"), missing)
}

pub(crate) fn workload() -> Subject {
    Subject::Workload("spiffe://cluster.local/till/shop".parse().expect("a SPIFFE ID"))
}

fn servers() -> Subject {
    Subject::control_plane(["osm-controller.osm-system.svc".parse().expect("a name")])
}
