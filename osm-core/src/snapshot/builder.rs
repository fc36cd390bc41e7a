//! From events to snapshots.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::change::ChangeSet;
use super::dirty::Dirty;
use super::facts::Facts;
use super::update::{
    finding_of, old_target, replace_target, set_findings, update_members, update_reach, update_set,
};
use super::{LinkedSplit, MeshOptions, MeshSnapshot, link_service, link_split, link_target, places};
use crate::diagnostic::{Diagnostic, Severity};
use crate::identity::{ProxyUuid, ServiceIdentity, TrustDomains};
use crate::model::{MeshConfig, Workload};
use crate::name::{Kind, NamespaceName, ObjectRef, QualifiedName};
use crate::source::SourceEvent;

/// Turns events into snapshots.
///
/// ```
/// use osm_core::model::Namespace;
/// use osm_core::snapshot::{MeshOptions, SnapshotBuilder};
/// use osm_core::source::SourceEvent;
///
/// let mut builder = SnapshotBuilder::new(MeshOptions::default());
/// builder.apply(SourceEvent::Reset);
/// builder.apply(SourceEvent::apply(Namespace::monitored("shop".parse()?, "osm")));
/// assert!(builder.build().is_none(), "nothing is in force before the source is ready");
/// builder.apply(SourceEvent::Ready);
/// let (snapshot, change) = builder.build().expect("the source is ready");
/// assert!(snapshot.is_monitored(&"shop".parse()?));
/// assert!(change.settings);
/// # Ok::<(), osm_core::name::InvalidName>(())
/// ```
#[derive(Debug)]
pub struct SnapshotBuilder {
    pub(super) facts: Facts,
    pub(super) dirty: Dirty,
    /// The source's findings, when they are new.
    source_diagnostics: Option<Vec<Diagnostic>>,
    /// The trust domains, when they are new.
    pub(super) trust_domains: Option<Arc<TrustDomains>>,
    /// What has been told since `Reset`, while the source is telling.
    told: Option<BTreeSet<ObjectRef>>,
    ready: bool,
    pub(super) current: Arc<MeshSnapshot>,
    /// Services, workloads and targets linked since the start: a measure of work.
    linked: u64,
}

impl SnapshotBuilder {
    /// A builder that knows nothing yet.
    #[must_use]
    pub fn new(options: MeshOptions) -> Self {
        Self {
            facts: Facts::default(),
            dirty: Dirty::default(),
            source_diagnostics: None,
            trust_domains: None,
            told: None,
            ready: false,
            current: Arc::new(MeshSnapshot::empty(options)),
            linked: 0,
        }
    }

    /// Takes in one event.
    pub fn apply(&mut self, event: SourceEvent) {
        match event {
            SourceEvent::Reset => self.told = Some(BTreeSet::new()),
            SourceEvent::Apply(object) => {
                if let Some(told) = &mut self.told {
                    told.insert(object.object_ref());
                }
                self.facts.put(*object, &mut self.dirty);
            }
            SourceEvent::Delete(object) => {
                if let Some(told) = &mut self.told {
                    told.remove(&object);
                }
                self.facts.remove(&object, &mut self.dirty);
            }
            SourceEvent::Diagnostics(diagnostics) => self.source_diagnostics = Some(diagnostics),
            SourceEvent::Ready => {
                if let Some(told) = self.told.take() {
                    for gone in self.facts.refs().difference(&told) {
                        self.facts.remove(gone, &mut self.dirty);
                    }
                }
                self.ready = true;
            }
        }
    }

    /// The snapshot of what is known now, and how it differs from the last.
    /// `None` while a source is telling everything anew, and when nothing changed.
    pub fn build(&mut self) -> Option<(Arc<MeshSnapshot>, ChangeSet)> {
        if !self.ready || self.told.is_some() {
            return None;
        }
        let is_told = self.source_diagnostics.is_some() || self.trust_domains.is_some();
        if self.dirty.is_empty() && !is_told && self.current.version > 0 {
            return None;
        }
        let mut next = MeshSnapshot::clone(&self.current);
        let mut change = ChangeSet::default();
        self.link_config(&mut next, &mut change);
        self.link_roots(&mut next, &mut change);
        self.link_namespaces(&mut next, &mut change);
        self.link_workloads(&mut next, &mut change);
        self.link_services(&mut next, &mut change);
        self.link_targets(&mut next, &mut change);
        self.link_splits(&mut next, &mut change);
        if let Some(diagnostics) = self.source_diagnostics.take()
            && *diagnostics != *next.source_diagnostics
        {
            next.source_diagnostics = diagnostics.into();
            change.diagnostics = true;
        }
        next.version += 1;
        self.current = Arc::new(next);
        Some((Arc::clone(&self.current), change))
    }

    /// The last snapshot built.
    #[must_use]
    pub fn current(&self) -> &Arc<MeshSnapshot> {
        &self.current
    }

    /// How many services, workloads and targets have been linked so far.
    #[must_use]
    pub fn linked(&self) -> u64 {
        self.linked
    }

    fn link_config(&mut self, next: &mut MeshSnapshot, change: &mut ChangeSet) {
        if !std::mem::take(&mut self.dirty.config) {
            return;
        }
        let wanted = &next.options.mesh_config;
        let written = self.facts.configs.get(wanted);
        let config = written.cloned().unwrap_or_else(|| Arc::new(MeshConfig::new(wanted.clone())));
        for other in self.facts.configs.values() {
            let found = (other.name != *wanted).then(|| {
                let message = format!("it has no effect; this mesh reads MeshConfig {wanted}");
                finding_of(Kind::MeshConfig, &other.name, Severity::Info, "other-mesh-config", message)
                    .located(other.meta.location.clone())
            });
            let object = ObjectRef::namespaced(Kind::MeshConfig, &other.name);
            set_findings(&mut next.diagnostics, object, found.into_iter().collect(), change);
        }
        let gone: Vec<ObjectRef> = next
            .diagnostics
            .keys()
            .filter(|object| object.kind == Kind::MeshConfig)
            .filter(|object| {
                object.qualified_name().is_none_or(|name| !self.facts.configs.contains_key(&name))
            })
            .cloned()
            .collect();
        for object in gone {
            set_findings(&mut next.diagnostics, object, Vec::new(), change);
        }
        let config_written = written.is_some();
        if config != next.config || config_written != next.config_written {
            next.config = config;
            next.config_written = config_written;
            change.settings = true;
        }
    }

    fn link_namespaces(&mut self, next: &mut MeshSnapshot, change: &mut ChangeSet) {
        for name in std::mem::take(&mut self.dirty.namespaces) {
            let mesh = self.facts.namespaces.get(&name).and_then(|namespace| namespace.monitored_by.as_ref());
            let monitored = mesh == Some(&next.options.mesh_name);
            if monitored == next.namespaces.contains_key(&name) {
                continue;
            }
            if monitored {
                next.namespaces.insert_mut(name.clone(), ());
            } else {
                next.namespaces.remove_mut(&name);
            }
            change.settings = true;
            self.touch_namespace(&name);
        }
    }

    /// Everything in a namespace has to be linked anew.
    fn touch_namespace(&mut self, name: &NamespaceName) {
        fn within<'a, V>(
            map: &'a BTreeMap<QualifiedName, V>,
            name: &'a NamespaceName,
        ) -> impl Iterator<Item = QualifiedName> + 'a {
            map.keys().filter(move |key| key.namespace == *name).cloned()
        }
        self.dirty.services.extend(within(&self.facts.services, name));
        for workload in within(&self.facts.workloads, name) {
            // A workload elsewhere may have waited for this one's proxy, or lose its own to it.
            let proxy = self.facts.workloads.get(&workload).and_then(|workload| workload.proxy.as_ref());
            let claimants = proxy.into_iter().flat_map(|proxy| self.facts.workloads_by_proxy.get(proxy));
            self.dirty.workloads.extend(claimants.cloned());
            self.dirty.workloads.insert(workload);
        }
        self.dirty.targets.extend(within(&self.facts.targets, name));
        let roots = self.facts.splits.values().filter(|split| split.name.namespace == *name);
        self.dirty.split_roots.extend(roots.map(|split| split.service.clone()));
    }

    fn link_workloads(&mut self, next: &mut MeshSnapshot, change: &mut ChangeSet) {
        for name in std::mem::take(&mut self.dirty.workloads) {
            self.linked += 1;
            let old = next.workloads.get(&name).cloned();
            if let Some(proxy) = old.as_ref().and_then(|old| old.proxy.as_ref()) {
                change.proxies.insert(proxy.clone());
                self.note_claims(proxy, next);
            }
            let object = ObjectRef::namespaced(Kind::Pod, &name);
            let new =
                self.facts.workloads.get(&name).filter(|_| next.namespaces.contains_key(&name.namespace));
            let Some(new) = new.cloned() else {
                next.workloads.remove_mut(&name);
                set_findings(&mut next.diagnostics, object, Vec::new(), change);
                continue;
            };
            let found = self.claim_proxy(&new, next, change);
            set_findings(&mut next.diagnostics, object, found.into_iter().collect(), change);
            next.workloads.insert_mut(name, new);
        }
    }

    /// Notes which workloads say that they are beside a proxy. A proxy proves its
    /// identity as well, so that a pod of another one takes nothing from it.
    fn note_claims(&self, proxy: &ProxyUuid, next: &mut MeshSnapshot) {
        let is_monitored = |name: &&QualifiedName| next.namespaces.contains_key(&name.namespace);
        let claims = self.facts.workloads_by_proxy.get(proxy).filter(is_monitored);
        let claims: Arc<[QualifiedName]> = claims.cloned().collect();
        if claims.is_empty() {
            next.proxies.remove_mut(proxy);
        } else {
            next.proxies.insert_mut(proxy.clone(), claims);
        }
    }

    /// Notes which proxy stands beside a workload; gives a finding where another
    /// workload of its namespace says so first, by name. Those of others are nothing to it.
    fn claim_proxy(
        &self,
        workload: &Workload,
        next: &mut MeshSnapshot,
        change: &mut ChangeSet,
    ) -> Option<Diagnostic> {
        let proxy = workload.proxy.as_ref()?;
        change.proxies.insert(proxy.clone());
        self.note_claims(proxy, next);
        let namespace = &workload.name.namespace;
        let first = next.proxies.get(proxy)?.iter().find(|claim| claim.namespace == *namespace)?;
        if *first == workload.name {
            return None;
        }
        let message =
            format!("its proxy UUID {proxy} is that of Pod {first} as well; each pod needs its own");
        let found = finding_of(Kind::Pod, &workload.name, Severity::Error, "duplicate-proxy", message);
        Some(found.at("metadata.labels[osm-proxy-uuid]").located(workload.meta.location.clone()))
    }

    fn link_services(&mut self, next: &mut MeshSnapshot, change: &mut ChangeSet) {
        for name in std::mem::take(&mut self.dirty.services) {
            self.linked += 1;
            let fact = self.facts.services.get(&name);
            let monitored = next.namespaces.contains_key(&name.namespace);
            let (new, found) = match fact.filter(|_| monitored) {
                Some(service) => {
                    let (linked, found) = link_service::link(&self.facts, service);
                    (Some(Arc::new(linked)), found)
                }
                None => (None, Vec::new()),
            };
            set_findings(&mut next.diagnostics, ObjectRef::namespaced(Kind::Service, &name), found, change);
            let old = next.services.get(&name).cloned();
            if old == new {
                continue;
            }
            change.services.insert(name.clone());
            change.services.extend(self.facts.roots_of(&name).cloned());
            update_members(next, change, &name, old.as_deref(), new.as_deref());
            let concerned = places::update(next, old.as_deref(), new.as_deref());
            let named = concerned.services.iter().chain(&concerned.claimants);
            let roots = named.filter(|root| self.facts.splits_by_root.contains(*root)).cloned();
            self.dirty.split_roots.extend(roots);
            change.services.extend(concerned.services);
            match new {
                Some(linked) => next.services.insert_mut(name, linked),
                None => drop(next.services.remove_mut(&name)),
            }
        }
    }

    fn link_targets(&mut self, next: &mut MeshSnapshot, change: &mut ChangeSet) {
        for name in std::mem::take(&mut self.dirty.targets) {
            self.linked += 1;
            let monitored = next.namespaces.contains_key(&name.namespace);
            let (new, found) = match self.facts.targets.get(&name).filter(|_| monitored) {
                Some(target) => link_target::link(&self.facts, target),
                None => (None, Vec::new()),
            };
            set_findings(
                &mut next.diagnostics,
                ObjectRef::namespaced(Kind::TrafficTarget, &name),
                found,
                change,
            );
            // A target grants within its own namespace only, so that is where the old one is.
            let old = old_target(next, &name);
            let new = new.map(Arc::new);
            if old == new {
                continue;
            }
            let destinations: BTreeSet<ServiceIdentity> =
                old.iter().chain(&new).map(|target| target.destination.clone()).collect();
            for destination in &destinations {
                let of_this = new.as_ref().filter(|target| target.destination == *destination);
                replace_target(next, destination, &name, of_this);
            }
            let sources = old.iter().chain(&new).flat_map(|target| target.sources.iter());
            for source in sources.cloned().collect::<BTreeSet<_>>() {
                for destination in &destinations {
                    update_reach(next, change, &source, destination);
                }
            }
            change.access_to.extend(destinations);
        }
    }

    fn link_splits(&mut self, next: &mut MeshSnapshot, change: &mut ChangeSet) {
        let roots = std::mem::take(&mut self.dirty.split_roots);
        let namespaces: BTreeSet<_> = roots.iter().map(|root| root.namespace.clone()).collect();
        for root in roots {
            self.linked += 1;
            let monitored = next.namespaces.contains_key(&root.namespace);
            let other = places::other_owner(next, &root);
            let (new, findings) = link_split::link(&self.facts, &root, other.as_ref());
            for (object, found) in findings {
                let found = if monitored { found } else { Vec::new() };
                set_findings(&mut next.diagnostics, object, found, change);
            }
            let old = next.splits.get(&root).cloned();
            let new: Option<Arc<[LinkedSplit]>> = (monitored && !new.is_empty()).then(|| new.into());
            if old == new {
                continue;
            }
            change.services.insert(root.clone());
            let splits = old.iter().chain(&new).flat_map(|splits| splits.iter());
            let backends = splits.flat_map(|split| split.backends.keys());
            for backend in backends.cloned().collect::<BTreeSet<_>>() {
                let is_backend = new
                    .iter()
                    .flat_map(|splits| splits.iter())
                    .any(|split| split.backends.contains_key(&backend));
                update_set(&mut next.roots_of, backend, &root, is_backend);
            }
            match new {
                Some(splits) => next.splits.insert_mut(root, splits),
                None => drop(next.splits.remove_mut(&root)),
            }
        }
        namespaces.iter().for_each(|namespace| self.forget_gone_splits(next, namespace, change));
    }

    /// Takes back findings about splits of this namespace that no longer exist.
    fn forget_gone_splits(&self, next: &mut MeshSnapshot, namespace: &NamespaceName, change: &mut ChangeSet) {
        let lowest = ObjectRef {
            kind: Kind::TrafficSplit,
            namespace: Some(namespace.clone()),
            name: "0".parse().expect("a digit is a valid name"),
        };
        let gone: Vec<ObjectRef> = next
            .diagnostics
            .range(lowest.clone()..)
            .map(|(object, _)| object)
            .take_while(|object| object.kind == lowest.kind && object.namespace == lowest.namespace)
            .filter(|object| {
                object.qualified_name().is_none_or(|name| !self.facts.splits.contains_key(&name))
            })
            .cloned()
            .collect();
        for object in gone {
            set_findings(&mut next.diagnostics, object, Vec::new(), change);
        }
    }
}
