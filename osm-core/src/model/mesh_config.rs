//! MeshConfig: the settings of the whole mesh.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use crate::name::QualifiedName;

use super::{Meta, TlsSettings};

/// Settings of the whole mesh.
///
/// A mesh without a MeshConfig has the values of [`MeshConfig::new`]: default
/// deny, no egress. Absence is never permission.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct MeshConfig {
    /// Generation and place.
    pub meta: Meta,
    /// Its name; the mesh reads the one that its operator chose
    /// (`osm-system/osm-mesh-config`).
    pub name: QualifiedName,
    /// Whether SMI access policy is ignored and every workload of the mesh may
    /// reach every service of the mesh, still over mTLS.
    pub permissive: bool,
    /// Whether connections to addresses that the mesh does not know pass
    /// through the proxy unchanged.
    pub egress: bool,
    /// How long a workload's certificate lives.
    pub service_certificate_validity: Duration,
    /// What keys workloads prove themselves with.
    pub service_key: ServiceKey,
    /// How proxies speak TLS with each other.
    pub tls: Arc<TlsSettings>,
    /// The most proxies that one controller serves at a time; `None` is no limit.
    pub max_data_plane_connections: Option<NonZeroU32>,
}

/// The kind of key that workloads prove themselves with.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ServiceKey {
    /// An elliptic curve key on P-256: small, and fast to make and to use.
    #[default]
    P256,
    /// An elliptic curve key on P-384, for those who have to have one.
    P384,
    /// An RSA key of 2048 bits.
    Rsa2048,
    /// An RSA key of 3072 bits.
    Rsa3072,
    /// An RSA key of 4096 bits.
    Rsa4096,
}

impl MeshConfig {
    /// How long a certificate lives unless someone says otherwise.
    pub const DEFAULT_CERTIFICATE_VALIDITY: Duration = Duration::from_secs(24 * 60 * 60);

    /// The settings of a mesh in which nobody said anything.
    #[must_use]
    pub fn new(name: QualifiedName) -> Self {
        Self {
            meta: Meta::default(),
            name,
            permissive: false,
            egress: false,
            service_certificate_validity: Self::DEFAULT_CERTIFICATE_VALIDITY,
            service_key: ServiceKey::default(),
            tls: Arc::default(),
            max_data_plane_connections: None,
        }
    }
}
