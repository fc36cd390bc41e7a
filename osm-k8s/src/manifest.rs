//! Manifests: a struct for each kind, and its one conversion to facts.
//!
//! A new kind costs one file here, one line in the list below, and its tests.
//! Kubernetes' own kinds are read leniently: fields that the mesh does not know
//! are none of its business. The kinds of SMI and of the mesh are strict: a
//! field that nobody knows is a mistake in a policy, and is named.
//!
//! Reading checks shapes, names and ranges; what does not read keeps its last
//! good state. Converting checks meaning; what can't be understood grants
//! nothing, and a diagnostic says so.

mod container;
mod conversion;
mod deployment;
mod duration;
mod endpoint_slice;
pub(crate) mod field;
mod http_route_group;
mod mesh_config;
mod metadata;
mod namespace;
mod pod;
mod root_certificate;
mod service;
mod service_account;
mod stateful_set;
mod tcp_route;
#[cfg(test)]
pub(crate) mod testing;
mod traffic_split;
mod traffic_target;

use std::fmt;

use osm_core::name::{Kind, NamespaceName, ObjectName, ObjectRef};
use serde::Deserialize;

pub use container::{
    Container, ContainerPort, EnvVar, ExecAction, FieldRef, GrpcAction, HttpGetAction, HttpHeader, Probe,
    TcpSocketAction, ValueFrom,
};
pub use conversion::Conversion;
pub use deployment::{Deployment, DeploymentSpec};
pub use endpoint_slice::{AddressType, Endpoint, EndpointConditions, EndpointPort, EndpointSlice, TargetRef};
pub use field::IntOrString;
pub use http_route_group::{HttpMatch, HttpRouteGroup, HttpRouteGroupSpec};
pub use mesh_config::{
    CertificateSpec, ExternalAuthorization, FeatureFlags, IngressGateway, LocalProxyMode, LogLevel,
    MeshConfig, MeshConfigSpec, ObservabilitySpec, SecretRef, SidecarSpec, TlsVersion, TracingSpec,
    TrafficSpec,
};
pub use metadata::{DEFAULT_NAMESPACE, Metadata};
pub use namespace::{MONITORED_BY_LABEL, Namespace};
#[cfg(feature = "client")]
pub(crate) use pod::DEFAULT_SERVICE_ACCOUNT;
pub use pod::{
    PROXY_UUID_LABEL, Pod, PodCondition, PodIp, PodSpec, PodStatus, PodTemplate, TemplateMetadata,
};
pub use root_certificate::{
    CertManagerSpec, DataKey, Host, Identifier, KindName, MeshRootCertificate, PatienceSpec, PemSpec,
    PemText, ProviderSpec, RoleSpec, RootCertificateSpec, RootSecretSpec, SecretEntrySpec, Segment,
    SegmentPath, ThenSpec, TresorCaSpec, TresorSpec, VaultSpec,
};
pub use service::{Service, ServicePort, ServiceSpec};
pub use service_account::ServiceAccount;
pub use stateful_set::{StatefulSet, StatefulSetSpec};
pub use tcp_route::{TcpMatch, TcpRoute, TcpRouteSpec};
pub use traffic_split::{RouteGroupRef, SplitBackend, TrafficSplit, TrafficSplitSpec};
pub use traffic_target::{IdentityRef, TargetRule, TrafficTarget, TrafficTargetSpec};

/// How much one manifest may say; what is more is refused or left out by name.
pub mod limit {
    pub use super::conversion::MAX_FINDINGS;
    pub use super::http_route_group::{MAX_HEADERS, MAX_MATCHES};
    pub use super::mesh_config::MIN_CERTIFICATE_VALIDITY;
    pub use super::root_certificate::MIN_PATIENCE;
    pub use super::traffic_split::{MAX_BACKENDS, MAX_GROUPS, MAX_WEIGHT};
    pub use super::traffic_target::{MAX_RULE_MATCHES, MAX_RULES, MAX_SOURCES};
}

macro_rules! manifests {
    ($($kind:ident($type:ty) = $name:literal, $api:literal $(| $older:literal)*, $fact:expr;)*) => {
        /// The kinds of manifest that the mesh reads.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[non_exhaustive]
        pub enum ManifestKind {
            $(#[doc = concat!("`", $name, "` of `", $api, "`.")] $kind,)*
        }

        impl ManifestKind {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$kind,)*];

            /// The `kind` as manifests write it.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self { $(Self::$kind => $name,)* }
            }

            /// The newest `apiVersion` that is read.
            #[must_use]
            pub fn api_version(self) -> &'static str {
                match self { $(Self::$kind => $api,)* }
            }

            /// Its `apiVersion` and `kind`, as an API server is asked for its objects.
            #[must_use]
            pub fn key(self) -> (&'static str, &'static str) {
                (self.api_version(), self.name())
            }

            /// How a client names it.
            #[cfg(feature = "client")]
            pub(crate) fn resource(self) -> kube::core::ApiResource {
                let (group, version) = self.api_version().split_once('/').unwrap_or(("", self.api_version()));
                let kind = kube::core::GroupVersionKind::gvk(group, version, self.name());
                kube::core::ApiResource::from_gvk(&kind)
            }

            /// Every `apiVersion` that is read, the newest first.
            #[must_use]
            pub fn api_versions(self) -> &'static [&'static str] {
                match self { $(Self::$kind => &[$api $(, $older)*],)* }
            }

            /// The kind of fact that such a manifest becomes; `None` for a
            /// Deployment or a StatefulSet, which have no address of their own.
            #[must_use]
            pub fn fact(self) -> Option<Kind> {
                match self { $(Self::$kind => $fact,)* }
            }
        }

        /// One object as its manifest says it.
        #[derive(Debug, Clone, PartialEq)]
        #[non_exhaustive]
        pub enum Manifest {
            $(#[doc = concat!("A `", $name, "`.")] $kind(Box<$type>),)*
        }

        impl Manifest {
            /// Reads a manifest of a kind, from YAML, JSON or a parsed value.
            ///
            /// # Errors
            /// What the format says of a field that is missing, unknown or of
            /// the wrong shape.
            pub fn read<'de, D: serde::Deserializer<'de>>(
                kind: ManifestKind,
                deserializer: D,
            ) -> Result<Self, D::Error> {
                Ok(match kind {
                    $(ManifestKind::$kind => Self::$kind(Box::new(<$type>::deserialize(deserializer)?)),)*
                })
            }

            /// Which kind it is.
            #[must_use]
            pub fn kind(&self) -> ManifestKind {
                match self { $(Self::$kind(_) => ManifestKind::$kind,)* }
            }

            /// Its name, namespace and labels.
            #[must_use]
            pub fn metadata(&self) -> &Metadata {
                match self { $(Self::$kind(manifest) => &manifest.metadata,)* }
            }

            /// What it says about the mesh. Pure: equal manifests say equal things.
            #[must_use]
            pub fn facts(&self) -> Conversion {
                match self { $(Self::$kind(manifest) => manifest.facts(),)* }
            }
        }

        $(impl From<$type> for Manifest {
            fn from(manifest: $type) -> Self {
                Self::$kind(Box::new(manifest))
            }
        })*
    };
}

manifests! {
    Namespace(Namespace) = "Namespace", "v1", Some(Kind::Namespace);
    ServiceAccount(ServiceAccount) = "ServiceAccount", "v1", Some(Kind::ServiceAccount);
    Service(Service) = "Service", "v1", Some(Kind::Service);
    Pod(Pod) = "Pod", "v1", Some(Kind::Pod);
    Deployment(Deployment) = "Deployment", "apps/v1", None;
    StatefulSet(StatefulSet) = "StatefulSet", "apps/v1", None;
    EndpointSlice(EndpointSlice) = "EndpointSlice", "discovery.k8s.io/v1", Some(Kind::EndpointSlice);
    TrafficTarget(TrafficTarget) = "TrafficTarget", "access.smi-spec.io/v1alpha3", Some(Kind::TrafficTarget);
    HttpRouteGroup(HttpRouteGroup) = "HTTPRouteGroup", "specs.smi-spec.io/v1alpha4", Some(Kind::HttpRouteGroup);
    TcpRoute(TcpRoute) = "TCPRoute", "specs.smi-spec.io/v1alpha4", Some(Kind::TcpRoute);
    TrafficSplit(TrafficSplit) = "TrafficSplit",
        "split.smi-spec.io/v1alpha4" | "split.smi-spec.io/v1alpha3" | "split.smi-spec.io/v1alpha2",
        Some(Kind::TrafficSplit);
    MeshConfig(MeshConfig) = "MeshConfig", "config.openservicemesh.io/v1alpha2", Some(Kind::MeshConfig);
    MeshRootCertificate(MeshRootCertificate) = "MeshRootCertificate", "config.openservicemesh.io/v1alpha2",
        Some(Kind::MeshRootCertificate);
}

impl ManifestKind {
    /// The kind that manifests call `name`.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|kind| kind.name() == name)
    }

    /// The API group: what stands before the `/` of the `apiVersion`, if anything does.
    #[must_use]
    pub fn group(self) -> &'static str {
        self.api_version().split_once('/').map_or("", |(group, _)| group)
    }

    /// What an API server calls these objects in a path.
    #[must_use]
    pub fn plural(self) -> String {
        format!("{}s", self.name().to_ascii_lowercase())
    }

    /// Whether objects of this kind live in a namespace.
    #[must_use]
    pub fn is_namespaced(self) -> bool {
        self != Self::Namespace
    }
}

impl fmt::Display for ManifestKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl Manifest {
    /// What names this object among all manifests.
    #[must_use]
    pub fn reference(&self) -> ManifestRef {
        let kind = self.kind();
        let metadata = self.metadata();
        ManifestRef {
            kind,
            namespace: kind.is_namespaced().then(|| metadata.namespace()),
            name: metadata.name.clone(),
        }
    }
}

/// A reference to one manifest: its kind, namespace and name.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ManifestRef {
    /// What kind it is.
    pub kind: ManifestKind,
    /// Its namespace; `None` for a kind without one.
    pub namespace: Option<NamespaceName>,
    /// Its name.
    pub name: ObjectName,
}

impl ManifestRef {
    /// The fact of this name; `None` for a Deployment or a StatefulSet.
    #[must_use]
    pub fn object_ref(&self) -> Option<ObjectRef> {
        Some(ObjectRef {
            kind: self.kind.fact()?,
            namespace: self.namespace.clone(),
            name: self.name.clone(),
        })
    }
}

impl fmt::Display for ManifestRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.namespace {
            Some(namespace) => write!(f, "{} {namespace}/{}", self.kind, self.name),
            None => write!(f, "{} {}", self.kind, self.name),
        }
    }
}

impl fmt::Debug for ManifestRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}
