//! The policy objects of an API server as they were seen last: what a status is
//! written about, and what stands there now. Shared by a source with who writes it.

use std::collections::BTreeMap;
use std::sync::Arc;

use osm_core::model::MeshObject;
use osm_core::name::ObjectRef;
use tokio::sync::watch;

use super::object::Object;
use crate::manifest::ManifestKind;
use crate::status::PolicyStatus;

/// Policy objects by name.
pub type PolicyObjects = BTreeMap<ObjectRef, Arc<PolicyObject>>;

/// A policy object as it was seen last.
#[derive(Debug, Clone, PartialEq)]
pub struct PolicyObject {
    /// The kind.
    pub kind: ManifestKind,
    /// The version of the API that it was read in.
    pub api_version: &'static str,
    /// What tells it from another one of the same name.
    pub uid: String,
    /// Its generation.
    pub generation: i64,
    /// The status that stands there.
    pub status: PolicyStatus,
    /// What it says, if anything of it is in force.
    pub fact: Option<MeshObject>,
}

impl PolicyObject {
    pub(super) fn of(kind: ManifestKind, api_version: &'static str, object: &Object) -> Self {
        let uid = object.uid().unwrap_or_default().to_owned();
        Self { kind, api_version, uid, generation: object.generation(), status: object.status(), fact: None }
    }

    pub(super) fn saying(self, fact: Option<&MeshObject>) -> Self {
        Self { fact: fact.cloned(), ..self }
    }
}

/// The policy objects of a source. Cheap to clone; clones see the same.
#[derive(Debug, Clone)]
pub struct Policies {
    newest: watch::Receiver<Arc<PolicyObjects>>,
}

impl Policies {
    pub(crate) fn new() -> (watch::Sender<Arc<PolicyObjects>>, Self) {
        let (sender, newest) = watch::channel(Arc::default());
        (sender, Self { newest })
    }

    /// What is known of them now; nothing before the source is ready.
    #[must_use]
    pub fn current(&self) -> Arc<PolicyObjects> {
        Arc::clone(&self.newest.borrow())
    }
}

/// Whether objects of a kind have a status that the mesh writes.
pub(super) fn has_status(kind: ManifestKind) -> bool {
    matches!(
        kind,
        ManifestKind::MeshConfig
            | ManifestKind::TrafficTarget
            | ManifestKind::HttpRouteGroup
            | ManifestKind::TcpRoute
            | ManifestKind::TrafficSplit
    )
}
