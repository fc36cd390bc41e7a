//! The facts as told, and what each of them touches.
//!
//! Nothing is linked here: putting a fact in or taking it out only keeps the
//! backward indexes right and notes what has to be linked anew.

mod roots;
mod splits;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use super::dirty::Dirty;
use super::in_namespace;
use super::index::Index;
use crate::identity::ServiceIdentity;
use crate::model::{
    EndpointSlice, HttpRouteGroup, MeshConfig, MeshObject, Namespace, RootCertificate, RouteRule, Service,
    TcpRoute, TrafficSplit, TrafficTarget, Workload,
};
use crate::name::{Kind, NamespaceName, ObjectRef, QualifiedName, ServiceName};

/// One label of a namespace's objects.
type Label = (NamespaceName, String, String);

/// All facts, by kind and name, with the indexes that answer "who cares?".
#[derive(Debug, Default)]
pub(crate) struct Facts {
    pub(crate) namespaces: BTreeMap<NamespaceName, Namespace>,
    pub(crate) accounts: BTreeSet<QualifiedName>,
    pub(crate) services: BTreeMap<ServiceName, Arc<Service>>,
    pub(crate) workloads: BTreeMap<QualifiedName, Arc<Workload>>,
    pub(crate) slices: BTreeMap<QualifiedName, Arc<EndpointSlice>>,
    pub(crate) targets: BTreeMap<QualifiedName, Arc<TrafficTarget>>,
    pub(crate) groups: BTreeMap<QualifiedName, Arc<HttpRouteGroup>>,
    pub(crate) tcp_routes: BTreeMap<QualifiedName, Arc<TcpRoute>>,
    pub(crate) splits: BTreeMap<QualifiedName, Arc<TrafficSplit>>,
    pub(crate) configs: BTreeMap<QualifiedName, Arc<MeshConfig>>,
    pub(crate) roots: BTreeMap<QualifiedName, Arc<RootCertificate>>,

    workloads_by_label: Index<Label, QualifiedName>,
    services_by_label: Index<Label, ServiceName>,
    slices_by_service: Index<ServiceName, QualifiedName>,
    services_by_endpoint: Index<QualifiedName, ServiceName>,
    services_by_address: Index<IpAddr, ServiceName>,
    pub(crate) workloads_by_address: Index<IpAddr, QualifiedName>,
    workloads_by_identity: Index<ServiceIdentity, QualifiedName>,
    pub(crate) workloads_by_proxy: Index<crate::identity::ProxyUuid, QualifiedName>,
    pub(crate) claims: Index<IpAddr, ServiceName>,
    targets_by_route: Index<ObjectRef, QualifiedName>,
    targets_by_destination: Index<ServiceIdentity, QualifiedName>,
    targets_by_source: Index<ServiceIdentity, QualifiedName>,
    pub(crate) splits_by_root: Index<ServiceName, QualifiedName>,
    roots_by_backend: Index<ServiceName, ServiceName>,
    splits_by_group: Index<QualifiedName, QualifiedName>,
}

impl Facts {
    /// Puts in an object, or replaces it. Equal objects touch nothing.
    pub(crate) fn put(&mut self, object: MeshObject, dirty: &mut Dirty) {
        match object {
            MeshObject::Namespace(namespace) => {
                if self.namespaces.get(&namespace.name) != Some(&namespace) {
                    dirty.namespaces.insert(namespace.name.clone());
                    self.namespaces.insert(namespace.name.clone(), namespace);
                }
            }
            MeshObject::ServiceAccount(account) => {
                if self.accounts.insert(account.name.clone()) {
                    self.touch_account(&account.name, dirty);
                }
            }
            MeshObject::Service(service) => self.set_service(&service.name.clone(), Some(service), dirty),
            MeshObject::Workload(workload) => {
                self.set_workload(&workload.name.clone(), Some(workload), dirty)
            }
            MeshObject::EndpointSlice(slice) => self.set_slice(&slice.name.clone(), Some(slice), dirty),
            MeshObject::TrafficTarget(target) => self.set_target(&target.name.clone(), Some(target), dirty),
            MeshObject::HttpRouteGroup(group) => {
                let name = group.name.clone();
                if self.groups.get(&name).is_none_or(|old| **old != group) {
                    self.groups.insert(name.clone(), Arc::new(group));
                    self.touch_route(Kind::HttpRouteGroup, &name, dirty);
                }
            }
            MeshObject::TcpRoute(route) => {
                let name = route.name.clone();
                if self.tcp_routes.get(&name).is_none_or(|old| **old != route) {
                    self.tcp_routes.insert(name.clone(), Arc::new(route));
                    self.touch_route(Kind::TcpRoute, &name, dirty);
                }
            }
            MeshObject::TrafficSplit(split) => self.set_split(&split.name.clone(), Some(split), dirty),
            MeshObject::MeshConfig(config) => {
                if self.configs.get(&config.name).is_none_or(|old| **old != config) {
                    dirty.config = true;
                    self.configs.insert(config.name.clone(), Arc::new(config));
                }
            }
            MeshObject::RootCertificate(root) => self.set_root(&root.name.clone(), Some(root), dirty),
        }
    }

    /// Takes an object out.
    pub(crate) fn remove(&mut self, object: &ObjectRef, dirty: &mut Dirty) {
        if object.kind == Kind::Namespace {
            if let Ok(name) = object.name.as_str().parse::<NamespaceName>()
                && self.namespaces.remove(&name).is_some()
            {
                dirty.namespaces.insert(name);
            }
            return;
        }
        let Some(name) = object.qualified_name() else { return };
        match object.kind {
            Kind::Namespace => {}
            Kind::ServiceAccount => {
                if self.accounts.remove(&name) {
                    self.touch_account(&name, dirty);
                }
            }
            Kind::Service => self.set_service(&name, None, dirty),
            Kind::Pod => self.set_workload(&name, None, dirty),
            Kind::EndpointSlice => self.set_slice(&name, None, dirty),
            Kind::TrafficTarget => self.set_target(&name, None, dirty),
            Kind::HttpRouteGroup => {
                if self.groups.remove(&name).is_some() {
                    self.touch_route(Kind::HttpRouteGroup, &name, dirty);
                }
            }
            Kind::TcpRoute => {
                if self.tcp_routes.remove(&name).is_some() {
                    self.touch_route(Kind::TcpRoute, &name, dirty);
                }
            }
            Kind::TrafficSplit => self.set_split(&name, None, dirty),
            Kind::MeshConfig => dirty.config |= self.configs.remove(&name).is_some(),
            Kind::MeshRootCertificate => self.set_root(&name, None, dirty),
        }
    }

    /// References to everything that is known.
    pub(crate) fn refs(&self) -> BTreeSet<ObjectRef> {
        let mut all = BTreeSet::new();
        for name in self.namespaces.keys() {
            if let Ok(name) = name.as_str().parse() {
                all.insert(ObjectRef { kind: Kind::Namespace, namespace: None, name });
            }
        }
        let mut add = |kind, names: &mut dyn Iterator<Item = &QualifiedName>| {
            all.extend(names.map(|name| ObjectRef::namespaced(kind, name)));
        };
        add(Kind::ServiceAccount, &mut self.accounts.iter());
        add(Kind::Service, &mut self.services.keys());
        add(Kind::Pod, &mut self.workloads.keys());
        add(Kind::EndpointSlice, &mut self.slices.keys());
        add(Kind::TrafficTarget, &mut self.targets.keys());
        add(Kind::HttpRouteGroup, &mut self.groups.keys());
        add(Kind::TcpRoute, &mut self.tcp_routes.keys());
        add(Kind::TrafficSplit, &mut self.splits.keys());
        add(Kind::MeshConfig, &mut self.configs.keys());
        add(Kind::MeshRootCertificate, &mut self.roots.keys());
        all
    }

    /// The workloads that a service's selector picks, in its namespace.
    pub(crate) fn selected_by(&self, service: &Service) -> impl Iterator<Item = &Arc<Workload>> {
        // By the label that the fewest have: some are on everything.
        let rarest = labels(service).min_by_key(|label| self.workloads_by_label.count(label));
        let candidates = rarest.map(|label| self.workloads_by_label.get(&label).collect::<Vec<_>>());
        let candidates = candidates.into_iter().flatten().filter_map(|name| self.workloads.get(name));
        candidates.filter(|workload| selects(service, workload))
    }

    /// The slices of a service.
    pub(crate) fn slices_of(&self, service: &ServiceName) -> impl Iterator<Item = &Arc<EndpointSlice>> {
        self.slices_by_service.get(service).filter_map(|name| self.slices.get(name))
    }

    /// Whether an identity exists: a pod runs as it, or its account is there.
    pub(crate) fn knows(&self, identity: &ServiceIdentity) -> bool {
        let account = in_namespace(&identity.namespace, &identity.service_account);
        self.workloads_by_identity.contains(identity) || self.accounts.contains(&account)
    }

    fn set_service(&mut self, name: &ServiceName, service: Option<Service>, dirty: &mut Dirty) {
        let old = self.services.get(name).cloned();
        if old.as_deref() == service.as_ref() {
            return;
        }
        if let Some(old) = &old {
            if let Some(label) = first_label(old) {
                self.services_by_label.remove(&label, name);
            }
            for address in old.own_addresses() {
                self.claims.remove(address, name);
                self.touch_claimed(*address, dirty);
            }
        }
        self.services.remove(name);
        if let Some(service) = service {
            if let Some(label) = first_label(&service) {
                self.services_by_label.insert(label, name.clone());
            }
            for address in service.own_addresses() {
                self.touch_claimed(*address, dirty);
                self.claims.insert(*address, name.clone());
            }
            self.services.insert(name.clone(), Arc::new(service));
        }
        dirty.services.insert(name.clone());
        self.touch_split_of(name, dirty);
    }

    fn set_workload(&mut self, name: &QualifiedName, workload: Option<Workload>, dirty: &mut Dirty) {
        let old = self.workloads.get(name).cloned();
        if old.as_deref() == workload.as_ref() {
            return;
        }
        let concerned: BTreeSet<ServiceIdentity> =
            old.iter().map(|old| old.identity()).chain(workload.iter().map(Workload::identity)).collect();
        let known: Vec<bool> = concerned.iter().map(|identity| self.knows(identity)).collect();
        if let Some(old) = &old {
            self.touch_services_of(old, dirty);
            for (key, value) in &old.labels {
                self.workloads_by_label.remove(&(name.namespace.clone(), key.clone(), value.clone()), name);
            }
            for address in &old.addresses {
                self.workloads_by_address.remove(address, name);
            }
            self.workloads_by_identity.remove(&old.identity(), name);
            if let Some(proxy) = &old.proxy {
                self.workloads_by_proxy.remove(proxy, name);
                dirty.workloads.extend(self.workloads_by_proxy.get(proxy).cloned());
            }
        }
        self.workloads.remove(name);
        if let Some(workload) = workload {
            for (key, value) in &workload.labels {
                self.workloads_by_label
                    .insert((name.namespace.clone(), key.clone(), value.clone()), name.clone());
            }
            for address in &workload.addresses {
                self.workloads_by_address.insert(*address, name.clone());
            }
            self.workloads_by_identity.insert(workload.identity(), name.clone());
            if let Some(proxy) = &workload.proxy {
                dirty.workloads.extend(self.workloads_by_proxy.get(proxy).cloned());
                self.workloads_by_proxy.insert(proxy.clone(), name.clone());
            }
            self.touch_services_of(&workload, dirty);
            self.workloads.insert(name.clone(), Arc::new(workload));
        }
        // One pod more or less of those that run as somebody says nothing new about them.
        for (identity, was_known) in concerned.iter().zip(known) {
            if self.knows(identity) != was_known {
                self.touch_identity(identity, dirty);
            }
        }
        dirty.workloads.insert(name.clone());
    }

    fn set_slice(&mut self, name: &QualifiedName, slice: Option<EndpointSlice>, dirty: &mut Dirty) {
        let old = self.slices.get(name).cloned();
        if old.as_deref() == slice.as_ref() {
            return;
        }
        if let Some(old) = old {
            self.slices_by_service.remove(&old.service, name);
            dirty.services.insert(old.service.clone());
            // Another slice of the same service may name the same endpoint; the
            // index is only a hint of whom to link anew, so that is put back below.
            for endpoint in &old.endpoints {
                if let Some(workload) = &endpoint.workload {
                    self.services_by_endpoint.remove(&in_namespace(&name.namespace, workload), &old.service);
                }
                for address in &endpoint.addresses {
                    self.services_by_address.remove(address, &old.service);
                }
            }
            self.slices.remove(name);
            let others: Vec<_> = self.slices_of(&old.service).cloned().collect();
            others.iter().for_each(|other| self.index_endpoints(other));
        }
        if let Some(slice) = slice {
            self.slices_by_service.insert(slice.service.clone(), name.clone());
            dirty.services.insert(slice.service.clone());
            let slice = Arc::new(slice);
            self.index_endpoints(&slice);
            self.slices.insert(name.clone(), slice);
        }
    }

    fn index_endpoints(&mut self, slice: &EndpointSlice) {
        for endpoint in &slice.endpoints {
            if let Some(workload) = &endpoint.workload {
                let workload = in_namespace(&slice.name.namespace, workload);
                self.services_by_endpoint.insert(workload, slice.service.clone());
            }
            for address in &endpoint.addresses {
                self.services_by_address.insert(*address, slice.service.clone());
            }
        }
    }

    fn set_target(&mut self, name: &QualifiedName, target: Option<TrafficTarget>, dirty: &mut Dirty) {
        let old = self.targets.get(name).cloned();
        if old.as_deref() == target.as_ref() {
            return;
        }
        if let Some(old) = old {
            self.targets_by_destination.remove(&old.destination, name);
            for source in &old.sources {
                self.targets_by_source.remove(source, name);
            }
            for route in old.rules.iter().map(|rule| route_ref(&name.namespace, rule)) {
                self.targets_by_route.remove(&route, name);
            }
        }
        self.targets.remove(name);
        if let Some(target) = target {
            self.targets_by_destination.insert(target.destination.clone(), name.clone());
            for source in &target.sources {
                self.targets_by_source.insert(source.clone(), name.clone());
            }
            for route in target.rules.iter().map(|rule| route_ref(&name.namespace, rule)) {
                self.targets_by_route.insert(route, name.clone());
            }
            self.targets.insert(name.clone(), Arc::new(target));
        }
        dirty.targets.insert(name.clone());
    }

    /// Who is concerned when a service claims an address or gives it back: others that
    /// claim it, and those that have a workload there.
    fn touch_claimed(&self, address: IpAddr, dirty: &mut Dirty) {
        dirty.services.extend(self.claims.get(&address).cloned());
        let there = self.workloads_by_address.get(&address).filter_map(|name| self.workloads.get(name));
        there.for_each(|workload| self.touch_services_of(workload, dirty));
    }

    /// The services that could have this workload behind them.
    fn touch_services_of(&self, workload: &Workload, dirty: &mut Dirty) {
        for (key, value) in &workload.labels {
            let label = (workload.name.namespace.clone(), key.clone(), value.clone());
            let services = self.services_by_label.get(&label).filter_map(|name| self.services.get(name));
            let selecting = services.filter(|service| selects(service, workload));
            dirty.services.extend(selecting.map(|service| service.name.clone()));
        }
        dirty.services.extend(self.services_by_endpoint.get(&workload.name).cloned());
        for address in &workload.addresses {
            dirty.services.extend(self.services_by_address.get(address).cloned());
        }
    }

    fn touch_identity(&self, identity: &ServiceIdentity, dirty: &mut Dirty) {
        dirty.targets.extend(self.targets_by_destination.get(identity).cloned());
        dirty.targets.extend(self.targets_by_source.get(identity).cloned());
    }

    fn touch_account(&self, account: &QualifiedName, dirty: &mut Dirty) {
        let identity = ServiceIdentity::new(account.namespace.clone(), account.name.clone());
        self.touch_identity(&identity, dirty);
    }

    fn touch_route(&self, kind: Kind, name: &QualifiedName, dirty: &mut Dirty) {
        dirty.targets.extend(self.targets_by_route.get(&ObjectRef::namespaced(kind, name)).cloned());
        if kind == Kind::HttpRouteGroup {
            self.touch_splits_by(name, dirty);
        }
    }
}

/// The label under which a service is indexed; `None` if it selects nobody.
fn first_label(service: &Service) -> Option<Label> {
    labels(service).next()
}

fn labels(service: &Service) -> impl Iterator<Item = Label> {
    let label =
        |(key, value): (&String, &String)| (service.name.namespace.clone(), key.clone(), value.clone());
    service.selector.iter().map(label)
}

/// Whether a workload has all labels that a service selects by. A service without
/// any selects nobody.
fn selects(service: &Service, workload: &Workload) -> bool {
    !service.selector.is_empty()
        && service.selector.iter().all(|(key, value)| workload.labels.get(key) == Some(value))
}

fn route_ref(namespace: &NamespaceName, rule: &RouteRule) -> ObjectRef {
    match rule {
        RouteRule::Http { group, .. } => {
            ObjectRef::namespaced(Kind::HttpRouteGroup, &in_namespace(namespace, group))
        }
        RouteRule::Tcp { route } => ObjectRef::namespaced(Kind::TcpRoute, &in_namespace(namespace, route)),
    }
}
