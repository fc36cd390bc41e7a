//! What the API server has, as far as it concerns the mesh, and what that means to
//! say: the sum of all watches. Pure.
//!
//! At the start everything is told once all kinds are listed. After that changes are
//! told as they come. Where watches had to list again, everything is told anew,
//! between `Reset` and `Ready`, once all of them are through; a kind that stays away
//! is not waited for long. Nothing is ever gone because nobody answered.
//!
//! What is in namespaces of no mesh, or of another, is not kept. When a namespace
//! comes to the mesh, what is in it is listed once more, and what its watches say
//! meanwhile counts.

mod namespaces;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use osm_core::model::MeshObject;
use osm_core::name::NamespaceName;
use osm_core::source::SourceEvent;
use tokio::time::Instant;

use super::cursor::Seen;
use super::held::{Held, Objects, difference, is_of_no_namespace};
use super::object::Object;
use super::policies::PolicyObjects;
use crate::manifest::{ManifestKind, ManifestRef};
use namespaces::Namespaces;

pub(super) use namespaces::LoadNumber;

/// How long watches that listed again wait for the others, so that all is told at once.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long a kind must be unknown to the server before what was known of it is gone.
/// A server that starts does not know all kinds at once.
const ABSENCE: Duration = Duration::from_secs(30);

/// What the mirror is told.
#[derive(Debug)]
pub(super) enum Input {
    /// What a watch has seen, in this version of its API.
    Seen(ManifestKind, &'static str, Seen),
    /// What is in a namespace that came to the mesh, by kind: the answer to the request
    /// of this number.
    Loaded(NamespaceName, LoadNumber, Vec<(ManifestKind, &'static str, Vec<Object>)>),
}

/// What is known of one kind.
#[derive(Debug, Default)]
struct Known {
    /// What was told.
    told: Objects,
    /// What was listed since and is not told yet; changes go here then.
    fresh: Option<Objects>,
    /// The list that is being read.
    listing: Option<Objects>,
    was_listed: bool,
    is_in_touch: bool,
    absent_since: Option<Instant>,
}

impl Known {
    /// What is known now, told or not.
    fn newest(&mut self) -> &mut Objects {
        self.fresh.as_mut().unwrap_or(&mut self.told)
    }

    fn is_settled(&self) -> bool {
        self.is_in_touch && self.listing.is_none()
    }
}

/// The sum of all watches.
#[derive(Debug)]
pub(super) struct Mirror {
    mesh_name: String,
    kinds: BTreeMap<ManifestKind, Known>,
    namespaces: Namespaces,
    is_told: bool,
    /// Since when something is listed again and not told.
    fresh_since: Option<Instant>,
    events: Vec<SourceEvent>,
    findings_changed: bool,
    policies_changed: bool,
}

impl Mirror {
    /// A mirror that knows nothing yet and waits for these kinds.
    pub(super) fn new(mesh_name: &str, kinds: impl IntoIterator<Item = ManifestKind>) -> Self {
        Self {
            mesh_name: mesh_name.to_owned(),
            kinds: kinds.into_iter().map(|kind| (kind, Known::default())).collect(),
            namespaces: Namespaces::default(),
            is_told: false,
            fresh_since: None,
            events: vec![SourceEvent::Reset],
            findings_changed: false,
            policies_changed: false,
        }
    }

    /// Whether everything was told at least once.
    pub(super) fn is_told(&self) -> bool {
        self.is_told
    }

    /// When to call [`settle`](Self::settle) even if nothing comes.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.fresh_since.map(|since| since + PATIENCE)
    }

    /// Takes in what happened.
    pub(super) fn take(&mut self, input: Input, now: Instant) {
        match input {
            Input::Seen(kind, api_version, seen) => self.on_seen(kind, api_version, seen, now),
            Input::Loaded(namespace, number, lists) => self.on_loaded(&namespace, number, lists),
        }
    }

    /// What is to be said of all that was taken in.
    pub(super) fn settle(&mut self, now: Instant) -> Vec<SourceEvent> {
        if self.is_told {
            let all_settled = self.kinds.values().all(Known::is_settled);
            let is_late = self.deadline().is_some_and(|deadline| deadline <= now);
            if self.fresh_since.is_some() && (all_settled || is_late) {
                self.events.push(SourceEvent::Reset);
                self.tell_all();
            }
        } else if self.kinds.values().all(|known| known.was_listed) && !self.namespaces.is_loading() {
            self.tell_all();
        }
        if std::mem::take(&mut self.findings_changed) && self.is_told {
            self.events.push(self.findings());
        }
        std::mem::take(&mut self.events)
    }

    /// The namespaces that came to the mesh and whose objects have to be listed.
    pub(super) fn take_namespaces_to_load(&mut self) -> Vec<(NamespaceName, LoadNumber)> {
        self.namespaces.take_to_load()
    }

    /// The objects that have a status, if anything about them has changed: as they were
    /// told, since of what was not told nobody has made anything yet.
    pub(super) fn take_policies(&mut self) -> Option<PolicyObjects> {
        if !self.is_told || !std::mem::take(&mut self.policies_changed) {
            return None;
        }
        let held = self.kinds.values().flat_map(|known| &known.told);
        let policies = held.filter_map(|(name, held)| Some((name.object_ref()?, held.policy.clone()?)));
        Some(policies.collect())
    }

    fn known(&mut self, kind: ManifestKind) -> &mut Known {
        self.kinds.get_mut(&kind).expect("only what is watched is seen")
    }

    fn on_seen(&mut self, kind: ManifestKind, api_version: &'static str, seen: Seen, now: Instant) {
        match seen {
            Seen::InTouch => self.known(kind).is_in_touch = true,
            Seen::Lost(_) => self.known(kind).is_in_touch = false,
            Seen::Begin => self.known(kind).listing = Some(Objects::new()),
            Seen::Listed(object) => self.on_listed(kind, api_version, object),
            Seen::Done => {
                if let Some(list) = self.known(kind).listing.take() {
                    self.on_list(kind, list, now);
                }
            }
            Seen::Absent => self.on_absent(kind, now),
            Seen::Applied(object) => {
                if let Some(reference) = self.wanted(kind, &object) {
                    self.put(reference, api_version, object);
                }
                self.follow_namespaces(kind);
            }
            Seen::Deleted(object) => {
                if let Some(reference) = object.reference(kind) {
                    self.remove(&reference, object.version());
                }
                self.follow_namespaces(kind);
            }
        }
    }

    /// The name of an object, if it is any of the mesh's business.
    fn wanted(&self, kind: ManifestKind, object: &Object) -> Option<ManifestRef> {
        if !is_of_no_namespace(kind) && !self.namespaces.may_have(object.namespace().as_ref()) {
            return None;
        }
        let reference = object.reference(kind);
        if reference.is_none() {
            tracing::warn!(%kind, ?object, "an object without a name that can be read is ignored");
        }
        reference
    }

    fn on_listed(&mut self, kind: ManifestKind, api_version: &'static str, object: Object) {
        let Some(reference) = self.wanted(kind, &object) else { return };
        let known = self.known(kind);
        let held = Held::read(&reference, object, api_version, known.newest().get(&reference));
        if let Some(list) = &mut known.listing {
            list.insert(reference, held);
        }
    }

    /// Takes in a whole list of a kind.
    fn on_list(&mut self, kind: ManifestKind, list: Objects, now: Instant) {
        let is_told = self.is_told;
        let known = self.known(kind);
        known.was_listed = true;
        known.is_in_touch = true;
        known.absent_since = None;
        if is_told {
            known.fresh = Some(list);
            self.fresh_since.get_or_insert(now);
        } else {
            known.told = list;
        }
        self.follow_namespaces(kind);
    }

    fn on_absent(&mut self, kind: ManifestKind, now: Instant) {
        let known = self.known(kind);
        known.listing = None;
        let is_empty = known.newest().is_empty();
        let since = *known.absent_since.get_or_insert(now);
        if is_empty && known.was_listed {
            known.is_in_touch = true;
        } else if is_empty || now.duration_since(since) >= ABSENCE {
            self.on_list(kind, Objects::new(), now);
            self.known(kind).absent_since = Some(since);
        } else {
            known.is_in_touch = false;
        }
    }

    /// Takes in an object, unless something newer is known of it.
    fn put(&mut self, reference: ManifestRef, api_version: &'static str, object: Object) {
        self.namespaces.on_put(&reference);
        let is_told = self.is_told;
        let known = self.known(reference.kind);
        let tell = is_told && known.fresh.is_none();
        let objects = known.newest();
        let before = objects.get(&reference);
        if before.is_some_and(|before| before.is_newer_than(object.version())) {
            return;
        }
        let held = Held::read(&reference, object, api_version, before);
        let (events, findings) = (difference(before, Some(&held)), findings_of(before) != held.findings);
        let policies = before.and_then(|before| before.policy.as_ref()) != held.policy.as_ref();
        objects.insert(reference, held);
        if tell {
            self.policies_changed |= policies;
            self.events.extend(events);
            self.findings_changed |= findings;
        }
    }

    /// Takes an object out, unless it has been made anew since.
    fn remove(&mut self, reference: &ManifestRef, version: u64) {
        self.namespaces.on_removed(reference);
        let is_told = self.is_told;
        let known = self.known(reference.kind);
        let tell = is_told && known.fresh.is_none();
        // A list that is being read may have it already.
        if let Some(list) = &mut known.listing
            && !list.get(reference).is_some_and(|listed| listed.is_newer_than(version))
        {
            list.remove(reference);
        }
        let objects = known.newest();
        if objects.get(reference).is_some_and(|before| before.is_newer_than(version)) {
            return;
        }
        let gone = objects.remove(reference);
        if tell {
            self.policies_changed |= gone.as_ref().is_some_and(|gone| gone.policy.is_some());
            self.events.extend(difference(gone.as_ref(), None));
            self.findings_changed |= !findings_of(gone.as_ref()).is_empty();
        }
    }

    /// Learns which namespaces belong to the mesh, after something changed about a kind.
    fn follow_namespaces(&mut self, kind: ManifestKind) {
        if kind != ManifestKind::Namespace || !self.known(kind).was_listed {
            return;
        }
        let mesh_name = self.mesh_name.clone();
        let is_ours = |object: &MeshObject| match object {
            MeshObject::Namespace(one) if one.monitored_by.as_deref() == Some(&mesh_name) => {
                Some(one.name.clone())
            }
            _ => None,
        };
        let held = self.known(kind).newest().values();
        let now: BTreeSet<_> = held.flat_map(|held| held.facts.iter().filter_map(is_ours)).collect();
        if self.namespaces.become_these(now) {
            self.forget_others();
        }
    }

    /// Drops what is in namespaces that are not the mesh's.
    fn forget_others(&mut self) {
        self.policies_changed = true;
        let (is_told, namespaces) = (self.is_told, &self.namespaces);
        for (_, known) in self.kinds.iter_mut().filter(|(kind, _)| !is_of_no_namespace(**kind)) {
            let is_ours = |name: &ManifestRef| namespaces.may_have(name.namespace.as_ref());
            for objects in [known.fresh.as_mut(), known.listing.as_mut()].into_iter().flatten() {
                objects.retain(|name, _| is_ours(name));
            }
            for (_, gone) in known.told.extract_if(.., |name, _| !is_ours(name)) {
                if is_told {
                    self.events.extend(difference(Some(&gone), None));
                    self.findings_changed |= !gone.findings.is_empty();
                }
            }
        }
    }

    /// Takes in what is in a namespace that came to the mesh. What its watches said
    /// since then is newer.
    fn on_loaded(
        &mut self,
        namespace: &NamespaceName,
        number: LoadNumber,
        lists: Vec<(ManifestKind, &'static str, Vec<Object>)>,
    ) {
        let Some(deleted) = self.namespaces.finish(namespace, number) else { return };
        for (kind, api_version, objects) in lists {
            for object in objects {
                let Some(reference) = self.wanted(kind, &object) else { continue };
                if deleted.contains(&reference) {
                    continue;
                }
                if let Some(list) = &mut self.known(kind).listing
                    && !list.contains_key(&reference)
                {
                    let held = Held::read(&reference, object.clone(), api_version, None);
                    list.insert(reference.clone(), held);
                }
                self.put(reference, api_version, object);
            }
        }
    }

    /// Everything, up to `Ready`.
    fn tell_all(&mut self) {
        for known in self.kinds.values_mut() {
            if let Some(fresh) = known.fresh.take() {
                known.told = fresh;
            }
            let facts = known.told.values().flat_map(|held| &held.facts);
            self.events.extend(facts.cloned().map(SourceEvent::apply));
        }
        self.events.push(self.findings());
        self.events.push(SourceEvent::Ready);
        self.is_told = true;
        self.policies_changed = true;
        self.fresh_since = None;
        self.findings_changed = false;
    }

    fn findings(&self) -> SourceEvent {
        let held = self.kinds.values().flat_map(|known| known.told.values());
        SourceEvent::Diagnostics(held.flat_map(|held| held.findings.iter().cloned()).collect())
    }
}

fn findings_of(held: Option<&Held>) -> &[osm_core::diagnostic::Diagnostic] {
    held.map_or(&[], |held| &held.findings)
}

#[cfg(test)]
mod tests;
