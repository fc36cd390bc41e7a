//! The sum of all facts, and what they have in common.

use crate::diagnostic::{Location, Origin};
use crate::name::{Kind, NamespaceName, ObjectName, ObjectRef, QualifiedName};

use super::{
    EndpointSlice, HttpRouteGroup, MeshConfig, RootCertificate, Service, TcpRoute, TrafficSplit,
    TrafficTarget, Workload,
};

/// What every fact carries besides its meaning.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Meta {
    /// The generation of the object's wishes; 0 where the source has none.
    pub generation: i64,
    /// Where the object stands, for messages.
    pub location: Option<Location>,
}

/// A namespace, and whether a mesh watches over it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Namespace {
    /// Generation and place.
    pub meta: Meta,
    /// Its name.
    pub name: NamespaceName,
    /// The name of the mesh that it belongs to (`openservicemesh.io/monitored-by`).
    pub monitored_by: Option<String>,
}

impl Namespace {
    /// A namespace that belongs to no mesh.
    #[must_use]
    pub fn new(name: NamespaceName) -> Self {
        Self { meta: Meta::default(), name, monitored_by: None }
    }

    /// A namespace that belongs to the mesh of this name.
    #[must_use]
    pub fn monitored(name: NamespaceName, mesh: &str) -> Self {
        Self { monitored_by: Some(mesh.to_owned()), ..Self::new(name) }
    }
}

/// An account that workloads run as; its name is their identity.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ServiceAccount {
    /// Generation and place.
    pub meta: Meta,
    /// Its name.
    pub name: QualifiedName,
}

impl ServiceAccount {
    /// A service account.
    #[must_use]
    pub fn new(name: QualifiedName) -> Self {
        Self { meta: Meta::default(), name }
    }
}

macro_rules! mesh_object {
    ($($variant:ident($type:ty) = $kind:ident, $doc:literal;)*) => {
        /// One fact of any kind.
        #[derive(Debug, Clone, PartialEq, Eq)]
        #[non_exhaustive]
        pub enum MeshObject {
            $(#[doc = $doc] $variant($type),)*
        }

        impl MeshObject {
            /// What kind of object it is.
            #[must_use]
            pub fn kind(&self) -> Kind {
                match self { $(Self::$variant(_) => Kind::$kind,)* }
            }

            /// Generation and place.
            #[must_use]
            pub fn meta(&self) -> &Meta {
                match self { $(Self::$variant(object) => &object.meta,)* }
            }

            /// Generation and place, to be set by a source.
            pub fn meta_mut(&mut self) -> &mut Meta {
                match self { $(Self::$variant(object) => &mut object.meta,)* }
            }
        }

        $(impl From<$type> for MeshObject {
            fn from(object: $type) -> Self {
                Self::$variant(object)
            }
        })*
    };
}

mesh_object! {
    Namespace(Namespace) = Namespace, "A namespace.";
    ServiceAccount(ServiceAccount) = ServiceAccount, "A service account.";
    Service(Service) = Service, "A service.";
    Workload(Workload) = Pod, "A workload instance.";
    EndpointSlice(EndpointSlice) = EndpointSlice, "Addresses behind a service.";
    TrafficTarget(TrafficTarget) = TrafficTarget, "Who may reach whom.";
    HttpRouteGroup(HttpRouteGroup) = HttpRouteGroup, "Named HTTP matches.";
    TcpRoute(TcpRoute) = TcpRoute, "Named TCP ports.";
    TrafficSplit(TrafficSplit) = TrafficSplit, "How traffic is divided.";
    MeshConfig(MeshConfig) = MeshConfig, "Settings of the mesh.";
    RootCertificate(RootCertificate) = MeshRootCertificate, "A root of certificates.";
}

impl MeshObject {
    /// The reference that names this object.
    #[must_use]
    pub fn object_ref(&self) -> ObjectRef {
        let kind = self.kind();
        let name = match self {
            Self::Namespace(object) => {
                let name = object.name.as_str().parse::<ObjectName>();
                return ObjectRef {
                    kind,
                    namespace: None,
                    name: name.expect("namespace names are object names"),
                };
            }
            Self::ServiceAccount(object) => &object.name,
            Self::Service(object) => &object.name,
            Self::Workload(object) => &object.name,
            Self::EndpointSlice(object) => &object.name,
            Self::TrafficTarget(object) => &object.name,
            Self::HttpRouteGroup(object) => &object.name,
            Self::TcpRoute(object) => &object.name,
            Self::TrafficSplit(object) => &object.name,
            Self::MeshConfig(object) => &object.name,
            Self::RootCertificate(object) => &object.name,
        };
        ObjectRef::namespaced(kind, name)
    }

    /// This object as the origin of a decision.
    #[must_use]
    pub fn origin(&self) -> Origin {
        Origin::Object(self.object_ref(), self.meta().generation)
    }
}
