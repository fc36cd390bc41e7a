//! What is known of one object: what it said when it could be read last, and what is
//! wrong with it. Pure.

use std::collections::BTreeMap;
use std::sync::Arc;

use osm_core::diagnostic::{Diagnostic, Severity};
use osm_core::model::MeshObject;
use osm_core::source::SourceEvent;

use super::object::Object;
use super::policies::{PolicyObject, has_status};
use crate::document::Problem;
use crate::manifest::{ManifestKind, ManifestRef};

/// The objects of one kind, by name.
pub(super) type Objects = BTreeMap<ManifestRef, Held>;

/// What is known of one object.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Held {
    /// How new it is; 0 where that is not known.
    pub(super) version: u64,
    uid: Option<Box<str>>,
    /// What it says, or said when it could be read last.
    pub(super) facts: Vec<MeshObject>,
    /// What is wrong with it.
    pub(super) findings: Vec<Diagnostic>,
    /// What a status is written about, if one is.
    pub(super) policy: Option<Arc<PolicyObject>>,
}

impl Held {
    /// Reads an object, given what is known of the one of this name. If it does not
    /// read, what it said before stays; not so if that was another object, which is
    /// gone.
    pub(super) fn read(
        reference: &ManifestRef,
        object: Object,
        api_version: &'static str,
        before: Option<&Self>,
    ) -> Self {
        let policy =
            has_status(reference.kind).then(|| PolicyObject::of(reference.kind, api_version, &object));
        let mut held = Self::take(reference, object, api_version, before);
        held.policy = policy.map(|policy| Arc::new(policy.saying(held.facts.first())));
        held
    }

    fn take(reference: &ManifestRef, object: Object, api_version: &str, before: Option<&Self>) -> Self {
        let (version, uid) = (object.version(), object.uid().map(Box::from));
        match object.read(reference.kind, api_version) {
            Ok(manifest) => {
                let conversion = manifest.facts();
                let (facts, findings) = (conversion.objects, conversion.diagnostics);
                Self { version, uid, facts, findings, policy: None }
            }
            Err(problem) => {
                let same = before.filter(|before| before.uid == uid);
                let facts = same.map(|before| before.facts.clone()).unwrap_or_default();
                let findings = vec![unreadable(reference, problem, !facts.is_empty())];
                Self { version, uid, facts, findings, policy: None }
            }
        }
    }

    /// Whether this is surely newer than something of that version.
    pub(super) fn is_newer_than(&self, version: u64) -> bool {
        version != 0 && self.version > version
    }
}

fn unreadable(reference: &ManifestRef, problem: Problem, is_known: bool) -> Diagnostic {
    let effect = if is_known { "its last good state stays" } else { "it has no effect" };
    let message = format!("{}; until it is corrected, {effect}", problem.message);
    let object = reference.object_ref().expect("a kind that becomes no fact is not watched");
    Diagnostic::new(Severity::Error, problem.code, object, message).at(problem.field)
}

/// What leads from what was known of an object to what is.
pub(super) fn difference(before: Option<&Held>, now: Option<&Held>) -> Vec<SourceEvent> {
    let facts = |held: Option<&Held>| held.map(|held| held.facts.clone()).unwrap_or_default();
    let (known, stated) = (facts(before), facts(now));
    let gone = known.iter().map(MeshObject::object_ref);
    let gone = gone.filter(|name| stated.iter().all(|object| object.object_ref() != *name));
    let deleted: Vec<_> = gone.map(SourceEvent::Delete).collect();
    let applied = stated.into_iter().filter(|object| !known.contains(object)).map(SourceEvent::apply);
    applied.chain(deleted).collect()
}

/// Whether a kind lives by itself, whatever namespaces belong to the mesh: the
/// namespaces, and the settings and roots of the mesh beside its control plane.
pub(super) fn is_of_no_namespace(kind: ManifestKind) -> bool {
    matches!(kind, ManifestKind::Namespace | ManifestKind::MeshConfig | ManifestKind::MeshRootCertificate)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn account(uid: &str, name: &serde_json::Value) -> (ManifestRef, Object) {
        let json = serde_json::json!({
            "metadata": { "name": "a", "namespace": "shop", "uid": uid, "resourceVersion": "7", "labels": name },
        });
        let object = Object::new(json);
        (object.reference(ManifestKind::ServiceAccount).expect("a name"), object)
    }

    fn read(uid: &str, labels: serde_json::Value, before: Option<&Held>) -> Held {
        let (reference, object) = account(uid, &labels);
        Held::read(&reference, object, "v1", before)
    }

    #[test]
    fn an_object_that_does_not_read_keeps_what_it_said_and_another_one_does_not() {
        let good = read("1", serde_json::json!({}), None);
        assert!(good.facts.len() == 1 && good.findings.is_empty());
        let bad = read("1", serde_json::json!(3), Some(&good));
        assert_eq!((&bad.facts, bad.findings.len()), (&good.facts, 1));
        assert!(bad.findings[0].message.ends_with("its last good state stays"), "{}", bad.findings[0]);
        assert_eq!(difference(Some(&good), Some(&bad)), []);
        let other = read("2", serde_json::json!(3), Some(&bad));
        assert!(other.facts.is_empty() && other.findings[0].message.ends_with("it has no effect"));
        let gone = difference(Some(&bad), Some(&other));
        assert!(matches!(gone[..], [SourceEvent::Delete(_)]), "{gone:?}");
    }

    #[test]
    fn versions_that_are_not_known_are_neither_older_nor_newer() {
        let held = read("1", serde_json::json!({}), None);
        assert!(held.is_newer_than(6) && !held.is_newer_than(7) && !held.is_newer_than(0));
    }
}
