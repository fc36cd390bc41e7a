//! Encoded resources: the unit that is generated, compared, sent and acknowledged.

mod envelope;

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use envelope::Envelope;
use osm_core::diagnostic::Origin;
use xxhash_rust::xxh3::xxh3_64;

/// The types of resource that proxies of the mesh subscribe to, in the order in
/// which they are sent when several change at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ResourceKind {
    /// Upstream and local clusters (CDS).
    Cluster,
    /// Endpoints of a cluster (EDS).
    Endpoints,
    /// Certificates and trust (SDS).
    Secret,
    /// Listeners (LDS).
    Listener,
    /// Route configurations (RDS).
    Route,
}

impl ResourceKind {
    /// All kinds, in sending order.
    pub const ALL: [Self; 5] = [Self::Cluster, Self::Endpoints, Self::Secret, Self::Listener, Self::Route];

    /// The type URL in discovery requests and `Any` messages.
    #[must_use]
    pub fn type_url(self) -> &'static str {
        match self {
            Self::Cluster => "type.googleapis.com/envoy.config.cluster.v3.Cluster",
            Self::Endpoints => "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment",
            Self::Secret => "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret",
            Self::Listener => "type.googleapis.com/envoy.config.listener.v3.Listener",
            Self::Route => "type.googleapis.com/envoy.config.route.v3.RouteConfiguration",
        }
    }

    /// The kind that a type URL means.
    #[must_use]
    pub fn from_type_url(url: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.type_url() == url)
    }

    /// Whether a client that names nothing asks for everything (xDS: wildcard
    /// subscriptions exist for clusters and listeners only).
    #[must_use]
    pub fn has_wildcard(self) -> bool {
        matches!(self, Self::Cluster | Self::Listener)
    }
}

impl fmt::Display for ResourceKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Cluster => "cluster",
            Self::Endpoints => "endpoints",
            Self::Secret => "secret",
            Self::Listener => "listener",
            Self::Route => "route",
        })
    }
}

/// The name of a resource, unique within its kind for one proxy.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ResourceName(Arc<str>);

impl ResourceName {
    /// A name.
    #[must_use]
    pub fn new(name: impl Into<Arc<str>>) -> Self {
        Self(name.into())
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::borrow::Borrow<str> for ResourceName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ResourceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for ResourceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", &self.0)
    }
}

/// The version of a resource: a hash of its bytes, and so the same after a
/// restart and on every replica. Its text is 16 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version(u64);

impl Version {
    /// The version of a resource with these bytes.
    #[must_use]
    pub fn of(body: &[u8]) -> Self {
        Self(xxh3_64(body))
    }

    /// Reads the text form; `None` when it is not one of ours.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        if text.len() != 16 || !text.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return None;
        }
        u64::from_str_radix(text, 16).ok().map(Self)
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl fmt::Debug for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// The kind and name of a resource.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ResourceKey {
    /// What kind it is.
    pub kind: ResourceKind,
    /// Its name.
    pub name: ResourceName,
}

impl ResourceKey {
    /// A key.
    #[must_use]
    pub fn new(kind: ResourceKind, name: ResourceName) -> Self {
        Self { kind, name }
    }
}

impl fmt::Display for ResourceKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.kind, self.name)
    }
}

/// One resource, encoded once for all who see it.
#[derive(Clone, PartialEq, Eq)]
pub struct Resource {
    /// Its kind and name.
    pub key: ResourceKey,
    /// The hash of `body`.
    pub version: Version,
    /// The message, encoded canonically: the `value` of an `Any` whose type URL
    /// is that of the kind.
    pub body: Bytes,
    /// What must be there before this may be used: a route and a TCP listener
    /// name their clusters, a cluster its secrets. Sorted.
    pub needs: Box<[ResourceKey]>,
    /// The objects and defaults that made it, most important first.
    pub origins: Box<[Origin]>,
    /// What responses carry; `body` lies in it.
    envelope: Envelope,
}

impl Resource {
    /// A resource of these bytes.
    #[must_use]
    pub fn new(key: ResourceKey, body: Bytes, mut needs: Vec<ResourceKey>, origins: Vec<Origin>) -> Self {
        needs.sort_unstable();
        needs.dedup();
        let version = Version::of(&body);
        let (envelope, body) = Envelope::new(&key, version, &body);
        Self { key, version, body, needs: needs.into(), origins: origins.into(), envelope }
    }

    /// The bytes of a `Resource` message, as responses of the incremental dialect carry it.
    pub(crate) fn enveloped(&self) -> &[u8] {
        self.envelope.message()
    }

    /// The bytes of an `Any`, as responses of the state of the world carry it.
    pub(crate) fn any(&self) -> &[u8] {
        self.envelope.any()
    }
}

impl fmt::Debug for Resource {
    /// Leaves the body out: it may be a secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { key, version, body, needs, origins, envelope: _ } = self;
        f.debug_struct("Resource")
            .field("key", key)
            .field("version", version)
            .field("body", &format_args!("{} bytes", body.len()))
            .field("needs", needs)
            .field("origins", origins)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn i11_debug_output_of_a_resource_shows_none_of_its_bytes() {
        let key = ResourceKey::new(ResourceKind::Secret, ResourceName::new("service-cert"));
        let body = Bytes::from_static(b"-----BEGIN PRIVATE KEY-----");
        let resource = Resource::new(key, body, vec![], vec![]);
        let text = format!("{resource:?}");
        assert!(text.contains("service-cert") && text.contains("27 bytes"), "{text}");
        assert!(!text.contains("PRIVATE") && !text.contains("45, 45"), "{text}");
    }

    #[test]
    fn a_version_is_read_as_it_is_written_and_nothing_else_is() {
        let version = Version::of(b"a");
        assert_eq!(Version::parse(&version.to_string()), Some(version));
        for text in ["", "1", "00000000000000000", "000000000000000g", "+00000000000000f"] {
            assert_eq!(Version::parse(text), None, "{text:?}");
        }
    }

    #[test]
    fn every_kind_has_a_type_of_its_own() {
        for kind in ResourceKind::ALL {
            assert_eq!(ResourceKind::from_type_url(kind.type_url()), Some(kind));
        }
        assert_eq!(ResourceKind::from_type_url("type.googleapis.com/envoy.service.runtime.v3.Runtime"), None);
    }
}
