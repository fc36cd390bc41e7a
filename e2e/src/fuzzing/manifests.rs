//! Files of manifests of a stranger, from bytes to the resources of proxies.

use std::collections::BTreeSet;
use std::sync::{Arc, OnceLock};

use osm_core::diagnostic::{Diagnostic, Severity};
use osm_core::identity::{Principal, ProxyId};
use osm_core::ir::{Access, Egress, InboundAccess, ProxyIr, RequestMatch, Requests};
use osm_core::model::MeshObject;
use osm_core::policy;
use osm_core::snapshot::{MeshOptions, MeshSnapshot, SnapshotBuilder};
use osm_core::testing::invariant::{check_i3, check_i4, check_i9, check_i10, check_i16};
use osm_k8s::source::files::{FileSet, FileText};
use osm_k8s::{ManifestKind, ManifestStore, Manifests, document};
use osm_xds::generate;

/// A mesh in which little is allowed; a stranger's file comes to it.
const MESH: &str = include_str!("manifests/mesh.yaml");
/// The longest finding, in bytes.
const MAX_FINDING: usize = 4_000;

/// Reads bytes as a file of manifests: alone, beside the files of a mesh, and in
/// the place of one of its documents.
pub fn manifests(bytes: &[u8]) {
    alone(bytes);
    beside(bytes);
    instead(bytes);
}

/// Nobody reaches anybody by what a file does not say.
fn alone(bytes: &[u8]) {
    let manifests = ManifestStore::default().update(&files(&[("a.yaml", bytes)]));
    manifests.all_diagnostics().iter().for_each(check_finding);
    let objects = facts(&manifests);
    let snapshot = snapshot(&manifests);
    check_i3(&snapshot, &objects).expect("I3");
    snapshot.diagnostics().for_each(check_finding);
    let has = |kind| manifests.entries.keys().any(|name| name.kind == kind);
    for ir in irs(&snapshot) {
        check_i4(&ir).expect("I4");
        check_i10(&ir).expect("I10");
        check_i16(&ir, &objects).expect("I16");
        generate::proxy(&ir).iter().for_each(|resource| assert!(!resource.key.name.as_str().is_empty()));
        if !has(ManifestKind::MeshConfig) {
            assert!(matches!(ir.egress, Egress::Refuse(_)), "egress without a MeshConfig");
            let granted = granted(&ir);
            let is_silent = !has(ManifestKind::TrafficTarget);
            assert!(!granted.contains(&Grant::Everyone), "everyone without a MeshConfig");
            assert!(granted.is_empty() || !is_silent, "{granted:?} without a TrafficTarget");
        }
    }
}

/// A file without a policy grants nothing that is not granted without it.
fn beside(bytes: &[u8]) {
    // The file that comes first by name counts where both have an object.
    let name = if bytes.len().is_multiple_of(2) { "a.yaml" } else { "z.yaml" };
    let texts = [("mesh.yaml", MESH.as_bytes()), (name, bytes)];
    let manifests = ManifestStore::default().update(&files(&texts));
    let mut strange = manifests.entries.values().filter(|entry| &*entry.location.file == name);
    if strange.any(|entry| is_policy(entry.manifest.kind())) {
        return;
    }
    let after: Vec<ProxyIr> = irs(&snapshot(&manifests)).collect();
    for old in before() {
        let proxy = after.iter().find(|new| new.principal == old.principal);
        let (old, new) = (granted(old), proxy.map(granted).unwrap_or_default());
        let is_known = |grant: &&Grant| match grant {
            Grant::Everyone => old.contains(grant),
            Grant::One(principal, _) => {
                old.contains(grant) || old.contains(&Grant::One(principal.clone(), None))
            }
        };
        assert_eq!(new.iter().find(|grant| !is_known(grant)), None, "it was granted by {name}");
    }
}

/// What the proxies of the mesh do without a stranger.
fn before() -> &'static [ProxyIr] {
    static BEFORE: OnceLock<Vec<ProxyIr>> = OnceLock::new();
    BEFORE.get_or_init(|| {
        let manifests = ManifestStore::default().update(&files(&[("mesh.yaml", MESH.as_bytes())]));
        irs(&snapshot(&manifests)).collect()
    })
}

/// A document that turns into one that does not read widens nothing.
fn instead(bytes: &[u8]) {
    // Chosen by the length, so that every input can be tried in each place.
    let documents: Vec<&str> = MESH.split("---\n").collect();
    let chosen = bytes.len() % documents.len();
    let mut text = Vec::new();
    for (number, document) in documents.iter().enumerate() {
        text.extend(b"---\n");
        text.extend(if number == chosen { bytes } else { document.as_bytes() });
        text.extend(b"\n");
    }
    let read = document::read(bytes);
    let is_unreadable = |one: &document::Document| matches!(one.outcome, document::Outcome::Unreadable(_));
    if read.is_empty() || !read.iter().all(is_unreadable) {
        return;
    }
    let mut store = ManifestStore::default();
    store.update(&files(&[("mesh.yaml", MESH.as_bytes())]));
    let bad = store.update(&files(&[("mesh.yaml", &text)]));
    let is_said = |one: &Diagnostic| one.severity == Severity::Error;
    assert!(bad.diagnostics.iter().any(is_said), "nobody says that a document does not read");
    let after: Vec<ProxyIr> = irs(&snapshot(&bad)).collect();
    for old in before() {
        let new = after.iter().find(|new| new.principal == old.principal);
        check_i9(old, new.expect("its pod is kept")).expect("I9");
    }
}

fn is_policy(kind: ManifestKind) -> bool {
    use ManifestKind::{HttpRouteGroup, MeshConfig, TcpRoute, TrafficTarget};
    matches!(kind, MeshConfig | TrafficTarget | HttpRouteGroup | TcpRoute)
}

fn files(texts: &[(&str, &[u8])]) -> FileSet {
    let file = |(name, bytes): &(&str, &[u8])| (Arc::from(*name), FileText::Bytes((*bytes).into()));
    FileSet { files: texts.iter().map(file).collect(), is_root_readable: true, ..FileSet::default() }
}

fn facts(manifests: &Manifests) -> Vec<MeshObject> {
    manifests.entries.values().flat_map(|entry| entry.facts.objects.iter().cloned()).collect()
}

fn snapshot(manifests: &Manifests) -> Arc<MeshSnapshot> {
    let mut builder = SnapshotBuilder::new(MeshOptions::default());
    manifests.events().into_iter().for_each(|event| builder.apply(event));
    builder.build();
    Arc::clone(builder.current())
}

fn irs(snapshot: &MeshSnapshot) -> impl Iterator<Item = ProxyIr> {
    let proxies = snapshot.workloads().filter_map(|workload| {
        let proxy = ProxyId::new(workload.proxy.clone()?, workload.identity());
        policy::compile(snapshot, &proxy).ok()
    });
    proxies.map(|compiled| compiled.ir)
}

/// Who may do something with a proxy, whatever the service.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Grant {
    Everyone,
    /// One, with these requests or any.
    One(Principal, Option<RequestMatch>),
}

fn granted(ir: &ProxyIr) -> BTreeSet<Grant> {
    let mut granted = BTreeSet::new();
    for service in &ir.inbound {
        match &service.access {
            InboundAccess::Http(Access::Everyone(_)) | InboundAccess::Tcp(Access::Everyone(_)) => {
                granted.insert(Grant::Everyone);
            }
            InboundAccess::Http(Access::Nobody(_)) | InboundAccess::Tcp(Access::Nobody(_)) => {}
            InboundAccess::Tcp(Access::These(rules)) => {
                let principals = rules.iter().flat_map(|rule| rule.principals.iter().cloned());
                granted.extend(principals.map(|principal| Grant::One(principal, None)));
            }
            InboundAccess::Http(Access::These(rules)) => {
                for rule in rules {
                    let requests: Vec<_> = match &rule.requests {
                        Requests::Any => vec![None],
                        Requests::These(requests) => requests.iter().cloned().map(Some).collect(),
                    };
                    for principal in &rule.principals {
                        let each = requests.iter().cloned();
                        granted.extend(each.map(|request| Grant::One(principal.clone(), request)));
                    }
                }
            }
        }
    }
    granted
}

/// A finding fits a screen, and changes nothing on a terminal.
fn check_finding(finding: &Diagnostic) {
    let text = finding.to_string();
    assert!(text.len() <= MAX_FINDING, "{} bytes: {text:?}", text.len());
    let is_odd = |c: &char| {
        c.is_control()
            || matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    assert_eq!(text.chars().find(is_odd), None, "{text:?}");
}
