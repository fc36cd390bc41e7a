//! The facts that make up a mesh.
//!
//! A fact is what one object says, already parsed into types: who made it
//! (Kubernetes, a file, a program) can no longer be seen. Facts do not refer
//! to each other except by name; [`crate::snapshot`] links them.
//!
//! The structs are `#[non_exhaustive]`: make one with its `new` and set the
//! fields that matter.

mod access;
mod endpoint;
mod mesh_config;
mod object;
mod root_certificate;
mod service;
mod tls;
mod traffic_split;
mod workload;

pub use access::{HttpMatch, HttpRouteGroup, Methods, RouteRule, TcpRoute, TrafficTarget};
pub use endpoint::{Endpoint, EndpointPort, EndpointSlice};
pub use mesh_config::{MeshConfig, ServiceKey};
pub use object::{MeshObject, Meta, Namespace, ServiceAccount};
pub use root_certificate::{
    CertManagerRoot, MAX_ROOTS_IN_USE, MAX_TRUSTED_ROOTS, PemSource, RootCertificate, RootPatience,
    RootProvider, RootRole, SecretEntry, VaultLogin, VaultRoot, WhenLate,
};
pub use service::{Protocol, Service, ServicePort, TargetPort, Transport, UnsupportedProtocol};
pub use tls::{CipherSuite, Curve, TlsSettings, TlsVersion, UnknownName};
pub use traffic_split::{SplitBackend, TrafficSplit};
pub use workload::{ContainerPort, Workload};
