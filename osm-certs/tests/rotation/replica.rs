//! A replica of the control plane.

use osm_certs::rotation::{Report, Stage};
use osm_core::name::ObjectName;

use crate::proxy::Leaf;

/// A replica that runs.
#[derive(Debug, Clone)]
pub(crate) struct Replica {
    pub(crate) stage: Stage,
    /// The certificate that it gives out.
    pub(crate) store: Option<Leaf>,
    /// The root by which it is having one signed.
    pub(crate) signing: Option<ObjectName>,
    /// The root of the certificate that it serves with.
    pub(crate) serves: ObjectName,
    /// The last that it said.
    pub(crate) report: Option<Report>,
    pub(crate) is_cut_off: bool,
}

impl Replica {
    /// One that has just read this stage.
    pub(crate) fn started(stage: &Stage) -> Self {
        Self {
            stage: stage.clone(),
            store: None,
            signing: None,
            serves: stage.serving.clone(),
            report: None,
            is_cut_off: false,
        }
    }
}
