//! The change from root to root in a control plane: what `osm_certs::rotation` needs from around it.
//!
//! - [`RotationOptions`] say where stages are written down, which roots there are, and who signs by each.
//! - `holdings` tells of what proxies hold by which root it is.
//! - [`folder`] keeps stages in a file, for a control plane that is alone.

pub mod folder;
mod holdings;
mod roots;
mod surroundings;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result};
use osm_certs::certificate::TrustBundle;
use osm_certs::issuer::{Issuer, IssuerError, async_trait};
use osm_certs::manager::CertificateManager;
use osm_certs::provider::CertificateProvider;
use osm_certs::rotation::{
    Authorities, Candidate, Replica, Report, RotationDriver, RotationParts, RotationStatus, Stage, StageStore,
};
use osm_certs::subject::Subject;
use osm_core::catalog::Catalog;
use osm_core::identity::{ProxyUuid, TrustDomain, TrustDomains};
use osm_core::model::RootCertificate;
use osm_core::name::{ObjectName, QualifiedName};
use osm_xds::push::Publisher;
use osm_xds::server::{Offer, Registry, TlsHandle, TlsMaterial};
use tokio::sync::watch;
use tokio::time::{Instant, sleep};

use crate::controller::tasks::Tasks;
use roots::RootsOfMesh;
use surroundings::Here;

/// The name of the root of a mesh that names none: that of Open Service Mesh.
pub const DEFAULT_ROOT: &str = "osm-mesh-root-certificate";

fn default_root() -> ObjectName {
    DEFAULT_ROOT.parse().expect("it is a name")
}

/// Who signs by a root.
#[async_trait]
pub trait Issuers: Send + Sync + 'static {
    /// The issuer of a root. Asked for each that is wanted or trusted; once it succeeds, not again until nothing of that root is
    /// left. A root that is trusted already is never made: another one of its name would be believed by nobody.
    ///
    /// # Errors
    /// When it can't be used; what to do about it.
    async fn issuer(&self, root: &RootCertificate, is_trusted: bool) -> Result<Arc<dyn Issuer>, IssuerError>;
}

/// The other replicas of a control plane, and who else has to believe it.
#[async_trait]
pub trait Others: Send + Sync + 'static {
    /// Whether everybody besides proxies who asks this replica believes it by these roots.
    async fn has_taken(&self, trust: &TrustBundle) -> bool;

    /// Tells the others what this replica says of itself, and gives what all say, this one included. `proxies` are those whose
    /// names are known.
    async fn exchange(&self, own: Report, proxies: &BTreeSet<ProxyUuid>)
    -> BTreeMap<Replica, Option<Report>>;

    /// Tells the others that this replica ends.
    async fn leave(&self);
}

/// What a control plane needs to change roots.
#[derive(Clone)]
pub struct RotationOptions {
    /// Where stages are written down.
    pub store: Arc<dyn StageStore>,
    /// The Secret of the root of a mesh that has no MeshRootCertificate, where it has one.
    pub first_secret: Option<QualifiedName>,
    /// Who signs.
    pub issuers: Arc<dyn Issuers>,
    /// The name of this replica.
    pub replica: Replica,
    /// The others; `None` where it is alone.
    pub others: Option<Arc<dyn Others>>,
    /// How long is waited at the start for a stage that can't be read.
    pub patience: Duration,
}

/// How long is waited before a stage is read again at the start.
const PAUSE: Duration = Duration::from_secs(2);

impl fmt::Debug for RotationOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RotationOptions").field("replica", &self.replica).finish_non_exhaustive()
    }
}

/// The issuers of a mesh at the stage that is written down. None is there yet: which there are shows when the mesh is known.
///
/// # Errors
/// When the stage can't be read.
pub(crate) async fn open(options: &RotationOptions) -> Result<Arc<Authorities>> {
    let deadline = Instant::now() + options.patience;
    let stage = loop {
        match options.store.load().await {
            Ok(stage) => break stage,
            Err(error) if Instant::now() + PAUSE < deadline => {
                let error = format!("{:#}", anyhow::Error::from(error));
                tracing::warn!(error, "the stage of the mesh's roots is waited for");
                sleep(PAUSE).await;
            }
            Err(error) => return Err(error).context("the stage of the mesh's roots"),
        }
    };
    let stage = stage.unwrap_or_else(|| Stage::first(default_root(), SystemTime::now()));
    Ok(Arc::new(Authorities::new(stage)))
}

/// The names of identities at this stage, for a mesh of which nobody was told anything yet: others may be in the middle of a change.
pub(crate) fn names(stage: &Stage, told: &TrustDomain) -> TrustDomains {
    let domains = stage.trust_domains(told);
    if domains.own() != told {
        let own = domains.own();
        tracing::warn!(%own, %told, "identities stay in their own trust domain, whatever --trust-domain says: a root moves them");
    }
    domains
}

/// The parts of a control plane that a change of roots touches.
pub(crate) struct Around {
    pub(crate) authorities: Arc<Authorities>,
    /// Who signs by the root of a mesh that has no MeshRootCertificate.
    pub(crate) default: Arc<dyn Issuer>,
    pub(crate) manager: CertificateManager,
    pub(crate) catalog: Catalog,
    /// The trust domain of roots of which none is known.
    pub(crate) trust_domain: TrustDomain,
    pub(crate) publisher: Publisher,
    pub(crate) registry: Arc<Registry>,
    pub(crate) tls: TlsHandle,
    pub(crate) servers: Subject,
}

/// Begins to change roots as people want. Says how that goes.
pub(crate) fn start(
    options: RotationOptions,
    around: Around,
    tasks: &mut Tasks,
) -> watch::Receiver<RotationStatus> {
    let RotationOptions { store, first_secret, issuers, replica, others, patience: _ } = options;
    let Around { authorities, default, manager, catalog, trust_domain, publisher, registry, tls, servers } =
        around;
    let publications = publisher.publications();
    let here = Here::new(
        replica,
        catalog.clone(),
        trust_domain.clone(),
        registry,
        publications,
        tls.clone(),
        others,
    );
    let (wish, wanted) = watch::channel(None);
    let driver = RotationDriver::new(RotationParts {
        authorities: Arc::clone(&authorities),
        manager: manager.clone(),
        store,
        surroundings: Arc::new(here),
        wanted,
        servers,
    });
    let status = driver.status();
    tasks.spawn("candidate of the server", offer(tls, driver.candidate(), manager));
    let first = default_root();
    let reported = BTreeMap::new();
    let roots =
        RootsOfMesh { authorities, default, issuers, first, first_secret, trust_domain, wish, reported };
    tasks.spawn("roots of the mesh", roots.follow(catalog, status.clone()));
    tasks.spawn("change of roots", driver.run());
    status
}

/// Tries out who believes the certificate that the server is to have next.
async fn offer(
    tls: TlsHandle,
    mut candidate: watch::Receiver<Option<Candidate>>,
    manager: CertificateManager,
) {
    let mut trust = manager.trust();
    loop {
        let shown = candidate.borrow_and_update().clone();
        let offered = shown.zip(trust.current()).map(|(Candidate { root, certified }, trust)| {
            let (chain, key) = certified.to_rustls();
            let material = TlsMaterial { chain, key, client_roots: trust.der().to_vec() };
            Offer { root: root.as_str().into(), material }
        });
        if let Err(error) = tls.offer(offered) {
            tracing::error!(%error, "the control plane's next certificate cannot be used");
        }
        let changed = tokio::select! {
            changed = candidate.changed() => changed.is_ok(),
            changed = trust.changed() => changed.is_ok(),
        };
        if !changed {
            return std::future::pending().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use osm_certs::rotation::StoreError;

    use super::*;

    /// A store that can't be read so many times.
    struct Away(AtomicUsize);

    #[async_trait]
    impl StageStore for Away {
        async fn load(&self) -> Result<Option<Stage>, StoreError> {
            match self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)) {
                Ok(_) => Err(StoreError { what: "reading it".to_owned(), source: "it is away".into() }),
                Err(_) => Ok(None),
            }
        }

        async fn swap(&self, _: Option<u64>, _: &Stage) -> Result<bool, StoreError> {
            Ok(false)
        }
    }

    struct Nobody;

    #[async_trait]
    impl Issuers for Nobody {
        async fn issuer(&self, _: &RootCertificate, _: bool) -> Result<Arc<dyn Issuer>, IssuerError> {
            Err(IssuerError::refused("there is none"))
        }
    }

    fn options(failures: usize, patience: Duration) -> RotationOptions {
        RotationOptions {
            store: Arc::new(Away(failures.into())),
            first_secret: None,
            issuers: Arc::new(Nobody),
            replica: "one".into(),
            others: None,
            patience,
        }
    }

    #[test]
    fn identities_keep_the_trust_domain_that_they_have_whatever_the_flag_says() {
        let domain = |name: &str| -> TrustDomain { name.parse().expect("a name") };
        let mut stage = Stage::first(default_root(), SystemTime::UNIX_EPOCH);
        assert_eq!(
            names(&stage, &domain("told.example")).own(),
            &domain("told.example"),
            "a mesh that begins"
        );
        stage.domains.insert(default_root(), domain("own.example"));
        let kept = TrustDomains::new(domain("own.example"), [(default_root(), domain("own.example"))]);
        assert_eq!(names(&stage, &domain("told.example")), kept);
    }

    #[tokio::test(start_paused = true)]
    async fn a_stage_that_can_not_be_read_is_waited_for_and_not_for_ever() {
        let opened = open(&options(3, PAUSE * 10)).await.expect("it is read in time");
        assert_eq!(opened.stage().issuing.as_str(), DEFAULT_ROOT);
        for patience in [PAUSE * 2, Duration::ZERO] {
            let error = format!("{:#}", open(&options(9, patience)).await.expect_err("it is away"));
            assert_eq!(error, "the stage of the mesh's roots: reading it: it is away");
        }
    }
}
