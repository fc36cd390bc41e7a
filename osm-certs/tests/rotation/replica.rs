//! A replica of the control plane.

use osm_certs::rotation::{Report, Stage};
use osm_core::identity::{TrustDomain, TrustDomains};
use osm_core::name::ObjectName;

use crate::proxy::Leaf;
use crate::world::names;

/// A replica that runs.
#[derive(Debug, Clone)]
pub(crate) struct Replica {
    pub(crate) stage: Stage,
    /// What identities are called by it.
    pub(crate) names: TrustDomains,
    /// The certificate that it gives out.
    pub(crate) store: Option<Leaf>,
    /// The trust domain of the name for which it asks.
    pub(crate) subject: TrustDomain,
    /// The root by which it is having one signed, and for a name in which trust domain.
    pub(crate) signing: Option<(ObjectName, TrustDomain)>,
    /// The root of the certificate that it serves with.
    pub(crate) serves: ObjectName,
    /// The last that it said.
    pub(crate) report: Option<Report>,
    pub(crate) is_cut_off: bool,
}

impl Replica {
    /// One that has just read this stage.
    pub(crate) fn started(stage: &Stage) -> Self {
        let names = names(stage);
        Self {
            subject: names.own().clone(),
            names,
            stage: stage.clone(),
            store: None,
            signing: None,
            serves: stage.serving.clone(),
            report: None,
            is_cut_off: false,
        }
    }

    /// It is at this stage from now on.
    pub(crate) fn reads(&mut self, stage: &Stage) {
        self.stage = stage.clone();
        self.names = names(stage);
    }
}
