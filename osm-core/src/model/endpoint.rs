//! Addresses behind a service, as discovery.k8s.io/v1 EndpointSlices tell them.

use std::net::IpAddr;
use std::num::NonZeroU16;

use crate::name::{Hostname, ObjectName, QualifiedName, ServiceName};

use super::Meta;

/// A part of the addresses behind one service.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct EndpointSlice {
    /// Generation and place.
    pub meta: Meta,
    /// The name of the slice.
    pub name: QualifiedName,
    /// The service, in the same namespace.
    pub service: ServiceName,
    /// The ports that every endpoint of this slice serves.
    pub ports: Vec<EndpointPort>,
    /// The endpoints.
    pub endpoints: Vec<Endpoint>,
}

impl EndpointSlice {
    /// A slice without ports and endpoints.
    #[must_use]
    pub fn new(name: QualifiedName, service: ServiceName) -> Self {
        Self { meta: Meta::default(), name, service, ports: Vec::new(), endpoints: Vec::new() }
    }
}

/// A port of a slice: which service port it serves, and its number on the workload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndpointPort {
    /// The name of the service port.
    pub name: String,
    /// The number on the workload.
    pub port: NonZeroU16,
}

/// One workload behind a service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// Its addresses; all lead to the same workload.
    pub addresses: Vec<IpAddr>,
    /// Whether it takes requests.
    pub ready: bool,
    /// The pod, in the slice's namespace, where the slice tells it.
    pub workload: Option<ObjectName>,
    /// The name by which it alone is asked for, before the service's own.
    pub hostname: Option<Hostname>,
}
