//! The mesh at one moment: facts, linked and immutable.
//!
//! A [`SnapshotBuilder`] takes events and makes [`MeshSnapshot`]s. Each shares
//! with the last what did not change, and comes with a [`ChangeSet`] that says
//! what did. Making one costs as much as what changed, not as much as the mesh.
//! Policy is not decided here.

mod builder;
mod change;
mod dirty;
mod facts;
mod grant;
mod index;
mod link_places;
mod link_requests;
mod link_roots;
mod link_service;
mod link_split;
mod link_target;
pub(crate) mod places;
mod update;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::num::NonZeroU16;
use std::sync::Arc;

use rpds::{HashTrieMapSync, RedBlackTreeMapSync, RedBlackTreeSetSync};

pub use builder::SnapshotBuilder;
pub use change::ChangeSet;
pub use grant::Grant;
pub use link_service::{LinkedEndpoint, LinkedMember, LinkedPort, LinkedService};
pub use link_split::{LinkedSplit, SplitScope};
pub use link_target::{LinkedTarget, PortGrant};

use crate::diagnostic::{Diagnostic, Origin};
use crate::identity::{ProxyUuid, ServiceIdentity, TrustDomain, TrustDomains};
use crate::model::{MeshConfig, RootCertificate, Workload};
use crate::name::{NamespaceName, ObjectName, ObjectRef, QualifiedName, ServiceName};

/// What is settled about a mesh before any fact is known.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct MeshOptions {
    /// The name of the mesh; namespaces that it monitors carry it.
    pub mesh_name: String,
    /// The trust domain of its identities, as long as nobody says otherwise ([`MeshSnapshot::trust_domains`]).
    pub trust_domain: TrustDomain,
    /// The MeshConfig object that counts.
    pub mesh_config: QualifiedName,
}

impl Default for MeshOptions {
    /// Mesh `osm`, trust domain `cluster.local`, MeshConfig `osm-system/osm-mesh-config`.
    fn default() -> Self {
        let valid = "the default names are valid";
        Self {
            mesh_name: "osm".to_owned(),
            trust_domain: "cluster.local".parse().expect(valid),
            mesh_config: "osm-system/osm-mesh-config".parse().expect(valid),
        }
    }
}

/// An ordered map whose copies share what is equal.
pub(crate) type SharedMap<K, V> = RedBlackTreeMapSync<K, V>;
/// An ordered set whose copies share what is equal.
pub(crate) type SharedSet<T> = RedBlackTreeSetSync<T>;

/// Roots of certificates by name.
pub type RootCertificates = BTreeMap<ObjectName, Arc<RootCertificate>>;

/// The mesh at one moment. Cheap to clone behind its `Arc`, never changes.
///
/// Two snapshots made from equal facts are equal, in whatever order the facts
/// arrived; the version counts builds and does not take part.
#[derive(Debug, Clone)]
pub struct MeshSnapshot {
    pub(crate) version: u64,
    pub(crate) options: Arc<MeshOptions>,
    pub(crate) trust_domains: Arc<TrustDomains>,
    pub(crate) config: Arc<MeshConfig>,
    pub(crate) config_written: bool,
    pub(crate) root_certificates: Arc<RootCertificates>,
    pub(crate) namespaces: SharedMap<NamespaceName, ()>,
    pub(crate) services: SharedMap<ServiceName, Arc<LinkedService>>,
    pub(crate) workloads: SharedMap<QualifiedName, Arc<Workload>>,
    pub(crate) proxies: HashTrieMapSync<ProxyUuid, Arc<[QualifiedName]>>,
    pub(crate) memberships: SharedMap<QualifiedName, SharedSet<ServiceName>>,
    pub(crate) served_by: SharedMap<ServiceIdentity, SharedSet<ServiceName>>,
    pub(crate) targets_to: SharedMap<ServiceIdentity, Arc<Vec<Arc<LinkedTarget>>>>,
    pub(crate) target_destinations: SharedMap<QualifiedName, ServiceIdentity>,
    pub(crate) reach_of: SharedMap<ServiceIdentity, Arc<BTreeMap<ServiceIdentity, Grant>>>,
    pub(crate) splits: SharedMap<ServiceName, Arc<[LinkedSplit]>>,
    pub(crate) roots_of: SharedMap<ServiceName, SharedSet<ServiceName>>,
    pub(crate) places: SharedMap<SocketAddress, SharedSet<places::Claim>>,
    pub(crate) diagnostics: SharedMap<ObjectRef, Arc<[Diagnostic]>>,
    pub(crate) source_diagnostics: Arc<[Diagnostic]>,
}

impl PartialEq for MeshSnapshot {
    fn eq(&self, other: &Self) -> bool {
        let Self {
            version: _,
            options,
            trust_domains,
            config,
            config_written,
            root_certificates,
            namespaces,
            services,
            workloads,
            proxies,
            memberships,
            served_by,
            targets_to,
            target_destinations,
            reach_of,
            splits,
            roots_of,
            places,
            diagnostics,
            source_diagnostics,
        } = self;
        *options == other.options
            && *trust_domains == other.trust_domains
            && *config == other.config
            && *config_written == other.config_written
            && *root_certificates == other.root_certificates
            && *namespaces == other.namespaces
            && *services == other.services
            && *workloads == other.workloads
            && *proxies == other.proxies
            && *memberships == other.memberships
            && *served_by == other.served_by
            && *targets_to == other.targets_to
            && *target_destinations == other.target_destinations
            && *reach_of == other.reach_of
            && *splits == other.splits
            && *roots_of == other.roots_of
            && *places == other.places
            && *diagnostics == other.diagnostics
            && *source_diagnostics == other.source_diagnostics
    }
}

impl Eq for MeshSnapshot {}

impl MeshSnapshot {
    /// A mesh of which nothing is known: nobody may reach anything.
    #[must_use]
    pub fn empty(options: MeshOptions) -> Self {
        Self {
            version: 0,
            config: Arc::new(MeshConfig::new(options.mesh_config.clone())),
            trust_domains: Arc::new(options.trust_domain.clone().into()),
            options: Arc::new(options),
            config_written: false,
            root_certificates: Arc::default(),
            namespaces: SharedMap::new_sync(),
            services: SharedMap::new_sync(),
            workloads: SharedMap::new_sync(),
            proxies: HashTrieMapSync::new_sync(),
            memberships: SharedMap::new_sync(),
            served_by: SharedMap::new_sync(),
            targets_to: SharedMap::new_sync(),
            target_destinations: SharedMap::new_sync(),
            reach_of: SharedMap::new_sync(),
            splits: SharedMap::new_sync(),
            roots_of: SharedMap::new_sync(),
            places: SharedMap::new_sync(),
            diagnostics: SharedMap::new_sync(),
            source_diagnostics: Arc::new([]),
        }
    }

    /// Counts snapshots of one builder, from 0 for the empty one.
    #[must_use]
    pub fn version(&self) -> u64 {
        self.version
    }

    /// What was settled before any fact.
    #[must_use]
    pub fn options(&self) -> &MeshOptions {
        &self.options
    }

    /// The trust domains of its identities.
    #[must_use]
    pub fn trust_domains(&self) -> &Arc<TrustDomains> {
        &self.trust_domains
    }

    /// The settings in force.
    #[must_use]
    pub fn config(&self) -> &MeshConfig {
        &self.config
    }

    /// Who made the settings.
    #[must_use]
    pub fn config_origin(&self) -> Origin {
        if self.config_written {
            Origin::Object(
                ObjectRef::namespaced(crate::name::Kind::MeshConfig, &self.config.name),
                self.config.meta.generation,
            )
        } else {
            Origin::Default("without a MeshConfig, SMI policy decides and egress is closed")
        }
    }

    /// The roots of certificates that people have written beside the MeshConfig, whatever their roles.
    #[must_use]
    pub fn root_certificates(&self) -> &Arc<RootCertificates> {
        &self.root_certificates
    }

    /// Whether a namespace belongs to the mesh.
    #[must_use]
    pub fn is_monitored(&self, namespace: &NamespaceName) -> bool {
        self.namespaces.contains_key(namespace)
    }

    /// A service of the mesh.
    #[must_use]
    pub fn service(&self, name: &ServiceName) -> Option<&Arc<LinkedService>> {
        self.services.get(name)
    }

    /// All services of the mesh, by name.
    pub fn services(&self) -> impl Iterator<Item = &Arc<LinkedService>> {
        self.services.values()
    }

    /// A workload of the mesh.
    #[must_use]
    pub fn workload(&self, name: &QualifiedName) -> Option<&Arc<Workload>> {
        self.workloads.get(name)
    }

    /// All workloads of the mesh, by name.
    pub fn workloads(&self) -> impl Iterator<Item = &Arc<Workload>> {
        self.workloads.values()
    }

    /// The workload beside a proxy; where several say so, the first by name.
    #[must_use]
    pub fn workload_of(&self, proxy: &ProxyUuid) -> Option<&Arc<Workload>> {
        self.workloads_of(proxy).next()
    }

    /// All workloads that say that they are beside a proxy, by name. Only one of them can be right.
    pub fn workloads_of(&self, proxy: &ProxyUuid) -> impl Iterator<Item = &Arc<Workload>> {
        let names = self.proxies.get(proxy).map(|names| &names[..]).unwrap_or_default();
        names.iter().filter_map(|name| self.workloads.get(name))
    }

    /// The services that a workload belongs to.
    pub fn services_of(&self, workload: &QualifiedName) -> impl Iterator<Item = &Arc<LinkedService>> {
        let names = self.memberships.get(workload);
        names.into_iter().flat_map(|names| names.iter()).filter_map(|name| self.services.get(name))
    }

    /// The services behind which an identity serves.
    pub fn served_by(&self, identity: &ServiceIdentity) -> impl Iterator<Item = &ServiceName> {
        self.served_by.get(identity).into_iter().flat_map(|names| names.iter())
    }

    /// The TrafficTargets in force whose destination is this identity, by name.
    #[must_use]
    pub fn targets_to(&self, destination: &ServiceIdentity) -> &[Arc<LinkedTarget>] {
        self.targets_to.get(destination).map_or(&[], |targets| targets.as_slice())
    }

    /// The identities that TrafficTargets in force let this one reach, and what
    /// it may use of each.
    pub fn reach_of(&self, source: &ServiceIdentity) -> impl Iterator<Item = (&ServiceIdentity, &Grant)> {
        self.reach_of.get(source).into_iter().flat_map(|reached| reached.iter())
    }

    /// What TrafficTargets in force let `source` use of `destination`; `None`
    /// when they do not let it reach it at all.
    #[must_use]
    pub fn grant(&self, source: &ServiceIdentity, destination: &ServiceIdentity) -> Option<&Grant> {
        self.reach_of.get(source)?.get(destination)
    }

    /// The splits in force for a root service, in the order in which they are tried.
    #[must_use]
    pub fn splits_of(&self, root: &ServiceName) -> &[LinkedSplit] {
        self.splits.get(root).map_or(&[], |splits| splits)
    }

    /// The root services whose splits lead to this backend.
    pub fn roots_of(&self, backend: &ServiceName) -> impl Iterator<Item = &ServiceName> {
        self.roots_of.get(backend).into_iter().flat_map(|roots| roots.iter())
    }

    /// Everything that is wrong with the facts, the sources' findings first.
    pub fn diagnostics(&self) -> impl Iterator<Item = &Diagnostic> {
        self.source_diagnostics.iter().chain(self.diagnostics.values().flat_map(|of_one| of_one.iter()))
    }

    /// What is wrong with one object.
    #[must_use]
    pub fn diagnostics_of(&self, object: &ObjectRef) -> &[Diagnostic] {
        self.diagnostics.get(object).map_or(&[], |of_one| of_one)
    }
}

/// An address and port of a workload.
pub(crate) type SocketAddress = (IpAddr, NonZeroU16);

/// A workload of a namespace.
pub(crate) fn in_namespace(namespace: &NamespaceName, name: &ObjectName) -> QualifiedName {
    QualifiedName::new(namespace.clone(), name.clone())
}
