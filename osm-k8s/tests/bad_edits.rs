//! What a bad edit of a file does to a mesh: it is named by file and line, and
//! access is nowhere wider than before.

use std::sync::Arc;

use osm_core::diagnostic::Diagnostic;
use osm_core::policy;
use osm_core::snapshot::{MeshOptions, MeshSnapshot, SnapshotBuilder};
use osm_core::testing::invariant::check_i9;
use osm_k8s::source::files::{FileSet, FileText};
use osm_k8s::{ManifestStore, Manifests};
use proptest::prelude::*;

/// A mesh with a document of each kind, in which everything is in force.
const MESH: &str = "\
apiVersion: v1
kind: Namespace
metadata:
  name: shop
  labels:
    openservicemesh.io/monitored-by: osm
---
apiVersion: config.openservicemesh.io/v1alpha2
kind: MeshConfig
metadata:
  name: osm-mesh-config
  namespace: osm-system
spec:
  traffic:
    enablePermissiveTrafficPolicyMode: false
    enableEgress: false
---
apiVersion: config.openservicemesh.io/v1alpha2
kind: MeshRootCertificate
metadata:
  name: first
  namespace: osm-system
spec:
  role: active
  patience:
    bound: 1h
    then: GoBack
  provider:
    vault:
      host: vault.vault
      port: 8200
      protocol: https
      role: mesh
      kubernetes:
        role: mesh
      ca:
        secretKeyRef:
          name: vault-ca
          key: ca.crt
---
apiVersion: v1
kind: ServiceAccount
metadata:
  name: store
  namespace: shop
---
apiVersion: v1
kind: Service
metadata:
  name: store
  namespace: shop
spec:
  clusterIP: 10.96.0.1
  selector:
    app: store
  ports:
  - name: web
    port: 80
    targetPort: 8080
    appProtocol: http
  - name: db
    port: 3306
    targetPort: 3306
    appProtocol: tcp
---
apiVersion: v1
kind: Service
metadata:
  name: store-v2
  namespace: shop
spec:
  clusterIP: 10.96.0.2
  selector:
    app: store
  ports:
  - name: web
    port: 80
    targetPort: 8080
  - name: db
    port: 3306
    appProtocol: tcp
---
apiVersion: v1
kind: Pod
metadata:
  name: store-1
  namespace: shop
  labels:
    app: store
    osm-proxy-uuid: store-1
spec:
  serviceAccountName: store
  containers: []
status:
  podIP: 10.244.0.1
  conditions:
  - type: Ready
    status: 'True'
---
apiVersion: v1
kind: Pod
metadata:
  name: buyer-1
  namespace: shop
  labels:
    app: buyer
    osm-proxy-uuid: buyer-1
spec:
  serviceAccountName: buyer
  containers: []
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata:
  name: store-1
  namespace: shop
  labels:
    kubernetes.io/service-name: store
addressType: IPv4
endpoints:
- addresses: [10.244.0.1]
  targetRef:
    kind: Pod
    name: store-1
ports:
- name: web
  port: 8080
- name: db
  port: 3306
---
apiVersion: specs.smi-spec.io/v1alpha4
kind: HTTPRouteGroup
metadata:
  name: routes
  namespace: shop
spec:
  matches:
  - name: buy
    pathRegex: /buy/.*
    methods:
    - GET
---
apiVersion: specs.smi-spec.io/v1alpha4
kind: TCPRoute
metadata:
  name: ports
  namespace: shop
spec:
  matches:
    ports:
    - 3306
---
apiVersion: access.smi-spec.io/v1alpha3
kind: TrafficTarget
metadata:
  name: buy
  namespace: shop
spec:
  destination:
    kind: ServiceAccount
    name: store
    namespace: shop
  sources:
  - kind: ServiceAccount
    name: buyer
    namespace: shop
  rules:
  - kind: HTTPRouteGroup
    name: routes
    matches:
    - buy
  - kind: TCPRoute
    name: ports
---
apiVersion: split.smi-spec.io/v1alpha2
kind: TrafficSplit
metadata:
  name: store
  namespace: shop
spec:
  service: store
  backends:
  - service: store
    weight: 50
  - service: store-v2
    weight: 50
";

fn files(text: &str) -> FileSet {
    FileSet {
        files: [("mesh.yaml".into(), FileText::Bytes(text.as_bytes().into()))].into(),
        is_root_readable: true,
        ..FileSet::default()
    }
}

fn build(builder: &mut SnapshotBuilder, before: Option<&Manifests>, now: &Manifests) -> Arc<MeshSnapshot> {
    let events = before.map_or_else(|| now.events(), |before| now.events_since(before));
    events.into_iter().for_each(|event| builder.apply(event));
    builder.build();
    Arc::clone(builder.current())
}

/// The mesh before and after an edit.
fn edited(text: &str) -> (Arc<MeshSnapshot>, Arc<MeshSnapshot>) {
    let mut store = ManifestStore::default();
    let mut builder = SnapshotBuilder::new(MeshOptions::default());
    let good = store.update(&files(MESH));
    let before = build(&mut builder, None, &good);
    let bad = store.update(&files(text));
    (before, build(&mut builder, Some(&good), &bad))
}

fn not_wider(before: &MeshSnapshot, after: &MeshSnapshot) -> Result<(), String> {
    for workload in before.workloads() {
        let uuid = workload.proxy.clone().ok_or("a pod without proxy")?;
        let proxy = osm_core::identity::ProxyId::new(uuid, workload.identity());
        let was = policy::compile(before, &proxy).map_err(|error| error.to_string())?;
        if let Ok(is) = policy::compile(after, &proxy) {
            check_i9(&was.ir, &is.ir)?;
        }
    }
    Ok(())
}

fn errors(snapshot: &MeshSnapshot) -> Vec<Diagnostic> {
    snapshot
        .diagnostics()
        .filter(|found| found.severity > osm_core::diagnostic::Severity::Info)
        .cloned()
        .collect()
}

/// The number of a line that holds a text, from 1.
fn line_of(text: &str, part: &str) -> u32 {
    let before = text.find(part).map(|at| &text[..at]).expect("the text holds it");
    u32::try_from(before.matches('\n').count()).expect("few lines") + 1
}

#[test]
fn the_mesh_is_in_force_before_it_is_edited() {
    let (before, after) = edited(MESH);
    assert_eq!((errors(&before), &before), (Vec::new(), &after));
    let buyer = osm_core::identity::ProxyId::new(
        "buyer-1".parse().expect("a name"),
        "shop/buyer".parse().expect("an identity"),
    );
    let ir = policy::compile(&before, &buyer).expect("the proxy is known").ir;
    assert_eq!((ir.outbound.len(), ir.upstreams.len()), (4, 4));
    // The check can fail: from nothing to this is wider.
    let empty = MeshSnapshot::empty(MeshOptions::default());
    assert_eq!(not_wider(&empty, &before), Ok(()), "no workload, nothing to compare");
    let closed = MESH.replace("    name: buyer\n", "    name: nobody\n");
    let (before, closed) = edited(&closed);
    not_wider(&closed, &before).expect_err("the buyer is let in");
}

#[test]
fn i9_each_kind_of_bad_edit_is_named_by_file_and_line_and_widens_nothing() {
    // What stands in the file, what it becomes, the finding, and what its line holds.
    let cases = [
        (
            "  ports:\n  - name: web\n    port: 80",
            "  ports: [\n  - name: web\n    port: 80",
            "bad-document",
            "",
        ),
        ("    weight: 50\n  - service: store-v2", "    weight: [\n  - service: store-v2", "bad-document", ""),
        ("    pathRegex: /buy/.*", "    path: /buy/.*", "bad-document", "    path: /buy"),
        ("    ports:\n    - 3306", "    port:\n    - 3306", "bad-document", "    port:\n    - 3306"),
        ("    ports:\n    - 3306", "    ports:\n    - all", "bad-document", "    - all"),
        ("  sources:\n  - kind", "  source:\n  - kind", "bad-document", "  source:"),
        ("enableEgress: false", "enableEgres: true", "bad-document", "enableEgres"),
        (
            "kind: TrafficTarget",
            "kind: TrafficTarget\nkind: TrafficTarget",
            "bad-document",
            "\nkind: TrafficTarget\nkind",
        ),
        ("access.smi-spec.io/v1alpha3", "access.smi-spec.io/v1alpha1", "unsupported-version", "v1alpha1"),
        (
            "  destination:\n    kind: ServiceAccount\n    name: store",
            "  destination:\n    kind: ServiceAccount\n    name: stroe",
            "target-to-nowhere",
            "access.smi",
        ),
        (
            "    name: routes\n    matches",
            "    name: nowhere\n    matches",
            "target-to-nowhere",
            "access.smi",
        ),
        ("    matches:\n    - buy", "    matches:\n    - sell", "target-to-nowhere", "access.smi"),
        ("  - kind: TCPRoute", "  - kind: UDPRoute", "unknown-rule-kind", "access.smi"),
        ("    pathRegex: /buy/.*", "    pathRegex: (?=/buy)", "invalid-regex", "access.smi"),
        ("    - GET", "    - FETCH", "unknown-method", "kind: HTTPRouteGroup"),
        ("  service: store\n", "  service: nowhere\n", "split-of-nowhere", "split.smi"),
        ("kind: TrafficSplit", "kind: TraficSplit", "unknown-kind", "split.smi"),
        ("  - service: store-v2", "  - service: store.bank", "service-in-other-namespace", "split.smi"),
        ("appProtocol: http", "appProtocol: mongo", "unsupported-protocol", ""),
        ("  - name: db\n    port: 3306\n", "  - name: db\n    port: 0\n", "bad-document", "    port: 0"),
        ("    osm-proxy-uuid: store-1", "    osm-proxy-uuid: buyer-1", "duplicate-proxy", ""),
    ];
    for (from, to, code, line) in cases {
        assert!(MESH.contains(from), "{from}");
        let text = MESH.replacen(from, to, 1);
        let (before, after) = edited(&text);
        assert_eq!(not_wider(&before, &after), Ok(()), "{to}");
        let found = errors(&after);
        let named = found.iter().find(|one| one.code == code);
        let named = named.unwrap_or_else(|| panic!("{to}: {found:#?}"));
        let place = named.location.as_ref().unwrap_or_else(|| panic!("{named} has no place"));
        assert_eq!(&*place.file, "mesh.yaml");
        assert!(place.line > 0, "{named}");
        if !line.is_empty() {
            let (want, got) = (line_of(&text, line.trim_start_matches('\n')), place.line);
            assert!(got.abs_diff(want) <= 1, "{named}: line {want} was expected");
        }
    }
}

#[test]
fn i9_an_object_that_stands_twice_changes_nothing_and_is_named() {
    let second = MESH.split("---\n").find(|text| text.contains("kind: TrafficTarget")).expect("a target");
    let wider = second.replace("    name: buyer\n", "    name: thief\n");
    let text = format!("{MESH}---\n{wider}");
    let (before, after) = edited(&text);
    assert_eq!(not_wider(&before, &after), Ok(()));
    let found = errors(&after);
    assert_eq!(found.len(), 1, "{found:#?}");
    assert!(
        found[0]
            .to_string()
            .starts_with(&format!("mesh.yaml:{}: error[duplicate-object]", MESH.lines().count() + 2)),
        "{}",
        found[0]
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn i9_a_file_that_is_cut_within_a_line_widens_nothing(cut in 1..MESH.len()) {
        prop_assume!(!MESH[..cut].ends_with('\n') && !MESH[cut..].starts_with('\n'));
        let (before, after) = edited(&MESH[..cut]);
        prop_assert_eq!(not_wider(&before, &after), Ok(()));
        prop_assert_eq!(errors(&after).len(), 1);
    }

    #[test]
    fn i9_a_line_that_does_not_belong_widens_nothing(line in 0..MESH.lines().count(), which in 0..6usize) {
        let stranger = ["}", "  - [", "\tx: 1", "    unknownField: 1", "<<<<<<< HEAD", "\u{0}"][which];
        let mut lines: Vec<&str> = MESH.lines().collect();
        lines.insert(line, stranger);
        let (before, after) = edited(&format!("{}\n", lines.join("\n")));
        prop_assert_eq!(not_wider(&before, &after), Ok(()));
    }
}
