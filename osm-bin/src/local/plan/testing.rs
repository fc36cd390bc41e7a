//! What tests of plans share.

use std::collections::BTreeMap;
use std::sync::Arc;

use osm_core::identity::ProxyUuid;
use osm_k8s::source::files::{FileSet, FileText, ManifestStore};

use super::{Plan, PlanOptions, PodPlan, plan};
use crate::local::address_book::AddressBook;

/// The manifests in a file of this text.
pub(crate) fn manifests(text: &str) -> Arc<osm_k8s::Manifests> {
    let file = (Arc::from("mesh.yaml"), FileText::Bytes(text.as_bytes().into()));
    let files = FileSet {
        files: BTreeMap::from([file]),
        unreadable_folders: BTreeMap::new(),
        is_root_readable: true,
        diagnostics: Vec::new(),
    };
    ManifestStore::default().update(&files)
}

/// The plan of these manifests with this address book.
pub(crate) fn plan_with(text: &str, book: &mut AddressBook) -> Plan {
    let mut count = 0;
    let mut fresh = || -> ProxyUuid {
        count += 1;
        format!("uuid-{count}").parse().expect("a UUID")
    };
    plan(&manifests(text), &PlanOptions { mesh_name: "osm".to_owned() }, book, &mut fresh)
}

/// The plan of these manifests.
pub(crate) fn plan_of(text: &str) -> Plan {
    plan_with(text, &mut AddressBook::default())
}

/// The one pod of these manifests.
pub(crate) fn only_pod(text: &str) -> Arc<PodPlan> {
    let plan = plan_of(text);
    assert_eq!(plan.pods.len(), 1, "{:?}", plan.diagnostics);
    plan.pods.into_values().next().expect("one pod")
}
