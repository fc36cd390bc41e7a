//! Certificates of the control plane's servers under roots that they do not serve with: one of them is next, and each shows
//! that its root signs.

use std::collections::BTreeMap;
use std::sync::Arc;

use osm_core::identity::ServiceIdentity;
use osm_core::name::ObjectName;
use tokio::task::JoinSet;

use super::super::{Authorities, Stage};
use crate::certificate::Certified;
use crate::clock::{Clock, SystemClock};
use crate::manager::{CertificateManager, ManagerOptions};
use crate::provider::{CertificateProvider, CertificateWatch};
use crate::subject::Subject;

/// The certificates, by their roots.
pub(super) struct Spares {
    servers: Subject,
    spares: BTreeMap<ObjectName, Spare>,
}

struct Spare {
    manager: CertificateManager,
    certificate: CertificateWatch,
    /// Of a name that workloads are to have by this root, where they have others: its issuer has to allow that.
    trial: Option<CertificateWatch>,
    /// Ends with it.
    _driving: JoinSet<()>,
}

impl Spares {
    pub(super) fn new(servers: Subject) -> Self {
        Self { servers, spares: BTreeMap::new() }
    }

    /// Keeps one for each root that is trusted and not served with.
    pub(super) fn follow(&mut self, stage: &Stage, authorities: &Authorities) {
        self.spares.retain(|root, _| stage.trusted.contains(root) && *root != stage.serving);
        for root in stage.trusted.iter().filter(|root| **root != stage.serving) {
            if self.spares.contains_key(root) {
                continue;
            }
            let Some(issuer) = authorities.issuer(root) else { continue };
            let (manager, driver) = CertificateManager::new(issuer, ManagerOptions::default());
            let certificate = manager.watch(&self.servers);
            let trial = trial(stage, root).map(|subject| manager.watch(&subject));
            let mut driving = JoinSet::new();
            driving.spawn(driver.run());
            self.spares.insert(root.clone(), Spare { manager, certificate, trial, _driving: driving });
        }
    }

    /// The certificate of a root, when there is one.
    pub(super) fn certificate(&self, root: &ObjectName) -> Option<Arc<Certified>> {
        self.spares.get(root)?.certificate.current()
    }

    /// What came of having one signed by a root.
    pub(super) fn signs(&self, root: &ObjectName) -> Result<(), String> {
        let Some(spare) = self.spares.get(root) else { return Err("no issuer of it is known".to_owned()) };
        let failed = spare.manager.statuses().into_iter().find_map(|status| status.failure);
        // One that failed to be renewed shows no more that its root signs.
        let lives = |certified: Arc<Certified>| certified.not_after() > SystemClock.now();
        let mut all = std::iter::once(&spare.certificate).chain(&spare.trial);
        if failed.is_none() && all.all(|one| one.current().is_some_and(lives)) {
            return Ok(());
        }
        let failure = failed.or_else(|| spare.manager.trust_failure());
        Err(failure.map_or_else(|| "it was not tried yet".to_owned(), |failure| failure.to_string()))
    }
}

/// What is signed on trial by a root of another trust domain than that of the one that signs.
fn trial(stage: &Stage, root: &ObjectName) -> Option<Subject> {
    let domain =
        stage.domains.get(root).filter(|domain| stage.domains.get(&stage.issuing) != Some(domain))?;
    let identity: ServiceIdentity = "osm-trial/osm-trial".parse().expect("it is an identity");
    Some(Subject::Workload(identity.principal(domain)))
}
