//! Who is there, as one replica sees it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use osm_certs::certificate::TrustBundle;
use osm_certs::issuer::async_trait;
use osm_certs::rotation::{Holding, Replica, Report, Roots, Stage, Surroundings};
use osm_core::catalog::{Catalog, MeshCatalog};
use osm_core::identity::{ProxyUuid, TrustDomain};
use osm_xds::push::Publication;
use osm_xds::server::{Registry, TlsHandle};
use parking_lot::Mutex;
use tokio::sync::watch;

use super::Others;
use super::holdings::Attribution;

/// What this replica sees, and the others with whom it exchanges that.
pub(super) struct Here {
    replica: Replica,
    catalog: Catalog,
    /// That of roots of which none is known.
    trust_domain: TrustDomain,
    registry: Arc<Registry>,
    publications: watch::Receiver<Publication>,
    tls: TlsHandle,
    attribution: Mutex<Attribution>,
    others: Option<Arc<dyn Others>>,
}

impl Here {
    pub(super) fn new(
        replica: Replica,
        catalog: Catalog,
        trust_domain: TrustDomain,
        registry: Arc<Registry>,
        publications: watch::Receiver<Publication>,
        tls: TlsHandle,
        others: Option<Arc<dyn Others>>,
    ) -> Self {
        Self {
            replica,
            catalog,
            trust_domain,
            registry,
            publications,
            tls,
            attribution: Mutex::default(),
            others,
        }
    }
}

#[async_trait]
impl Surroundings for Here {
    fn proxies(&self) -> BTreeSet<ProxyUuid> {
        self.catalog.snapshot().workloads().filter_map(|workload| workload.proxy.clone()).collect()
    }

    fn enter(&self, stage: &Stage) {
        self.catalog.set_trust_domains(stage.trust_domains(&self.trust_domain));
    }

    fn holdings(&self, roots: &Roots, stage: &Stage) -> BTreeMap<ProxyUuid, Holding> {
        let credentials = self.registry.credentials();
        let mut attribution = self.attribution.lock();
        attribution.by(roots, stage, &self.trust_domain);
        attribution.holdings(&credentials)
    }

    async fn has_taken(&self, trust: &TrustBundle, stage: &Stage) -> bool {
        let is_told = {
            let published = self.publications.borrow();
            let is_named = published.domains.name_alike(&stage.trust_domains(&self.trust_domain));
            is_named && published.trust.as_deref() == Some(trust.pem())
        };
        let is_taken = is_told && self.tls.believes(trust.der());
        match &self.others {
            Some(others) if is_taken => others.has_taken(trust).await,
            _ => is_taken,
        }
    }

    async fn exchange(&self, own: Report) -> BTreeMap<Replica, Option<Report>> {
        match &self.others {
            Some(others) => others.exchange(own, &self.proxies()).await,
            None => BTreeMap::from([(Arc::clone(&self.replica), Some(own))]),
        }
    }
}
