//! SMI TrafficSplit, v1alpha2 to v1alpha4.

use crate::name::{ObjectName, QualifiedName, ServiceName};

use super::Meta;

/// Divides the traffic of a root service among backends of its namespace.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct TrafficSplit {
    /// Generation and place.
    pub meta: Meta,
    /// Its name.
    pub name: QualifiedName,
    /// The root service: clients dial this one.
    pub service: ServiceName,
    /// Who serves it instead, in the order of the manifest.
    pub backends: Vec<SplitBackend>,
    /// The HTTPRouteGroups of its namespace whose requests it divides: those that
    /// fit any of them. `None` divides all requests and connections.
    pub matches: Option<Vec<ObjectName>>,
}

impl TrafficSplit {
    /// A split without backends.
    #[must_use]
    pub fn new(name: QualifiedName, service: ServiceName) -> Self {
        Self { meta: Meta::default(), name, service, backends: Vec::new(), matches: None }
    }
}

/// A backend and its share.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SplitBackend {
    /// The service that serves.
    pub service: ServiceName,
    /// Its share, relative to the sum of all.
    pub weight: u32,
}
