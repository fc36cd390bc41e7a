//! A small mesh that works, and what becomes of it beside a hostile file.

use std::collections::BTreeSet;
use std::sync::Arc;

use osm_core::diagnostic::Diagnostic;
use osm_core::identity::ProxyId;
use osm_core::ir::ProxyIr;
use osm_core::policy;
use osm_core::snapshot::{MeshOptions, MeshSnapshot, SnapshotBuilder};
use osm_core::testing::invariant::{check_i4, check_i10};
use osm_k8s::ManifestStore;
use osm_k8s::source::files::{FileSet, FileText};

/// A store, and a buyer who may buy there.
const SHOP: &str = "
apiVersion: v1
kind: ServiceAccount
metadata: {name: thief, namespace: shop}
---
apiVersion: v1
kind: Namespace
metadata: {name: shop, labels: {openservicemesh.io/monitored-by: osm}}
---
apiVersion: v1
kind: Service
metadata: {name: store, namespace: shop}
spec: {clusterIP: 10.96.0.1, selector: {app: store}, ports: [{name: web, port: 80, targetPort: 8080}]}
---
apiVersion: v1
kind: Pod
metadata: {name: store, namespace: shop, labels: {app: store, osm-proxy-uuid: store}}
spec: {serviceAccountName: store, containers: []}
status: {podIP: 10.244.0.1, conditions: [{type: Ready, status: 'True'}]}
---
apiVersion: v1
kind: Pod
metadata: {name: buyer, namespace: shop, labels: {app: buyer, osm-proxy-uuid: buyer}}
spec: {serviceAccountName: buyer, containers: []}
status: {podIP: 10.244.0.2, conditions: [{type: Ready, status: 'True'}]}
---
apiVersion: specs.smi-spec.io/v1alpha4
kind: HTTPRouteGroup
metadata: {name: routes, namespace: shop}
spec: {matches: [{name: all, pathRegex: '.*', methods: ['*']}]}
---
apiVersion: access.smi-spec.io/v1alpha3
kind: TrafficTarget
metadata: {name: buy, namespace: shop}
spec:
  destination: {kind: ServiceAccount, name: store, namespace: shop}
  sources: [{kind: ServiceAccount, name: buyer, namespace: shop}]
  rules: [{kind: HTTPRouteGroup, name: routes}]
";

/// The mesh of the shop's file and others.
pub(crate) struct Mesh {
    pub(crate) snapshot: Arc<MeshSnapshot>,
}

impl Mesh {
    /// The shop beside these files. Their names begin with `z`, so that they come last.
    pub(crate) fn beside(texts: &[impl AsRef<str>]) -> Self {
        let shop = ("shop.yaml".to_owned(), SHOP.to_owned());
        let others = texts.iter().enumerate();
        let others = others.map(|(number, text)| (format!("z{number:04}.yaml"), text.as_ref().to_owned()));
        let files = [shop].into_iter().chain(others);
        let files = files.map(|(name, text)| (name.into(), FileText::Bytes(text.into_bytes().into())));
        let set = FileSet { files: files.collect(), is_root_readable: true, ..FileSet::default() };
        let manifests = ManifestStore::default().update(&set);
        let mut builder = SnapshotBuilder::new(MeshOptions::default());
        manifests.events().into_iter().for_each(|event| builder.apply(event));
        builder.build();
        Self { snapshot: Arc::clone(builder.current()) }
    }

    /// What is said of the hostile files, or of the mesh with them.
    pub(crate) fn findings(&self) -> Vec<Diagnostic> {
        let all: BTreeSet<Diagnostic> = self.snapshot.diagnostics().cloned().collect();
        let is_shop = |one: &Diagnostic| one.location.as_ref().is_some_and(|at| &*at.file == "shop.yaml");
        all.into_iter().filter(|one| !is_shop(one)).collect()
    }

    /// The findings as `code field`.
    pub(crate) fn codes(&self) -> Vec<String> {
        self.findings()
            .iter()
            .map(|one| format!("{} {}", one.code, one.field).trim_end().to_owned())
            .collect()
    }

    /// What the proxy beside a pod of the shop does.
    fn ir(&self, pod: &str) -> ProxyIr {
        let identity = format!("shop/{pod}").parse().expect("an identity");
        let proxy = ProxyId::new(pod.parse().expect("a name"), identity);
        let ir = policy::compile(&self.snapshot, &proxy).expect("a proxy of the mesh").ir;
        check_i4(&ir).expect("I4");
        check_i10(&ir).expect("I10");
        ir
    }

    /// Whether buyer and store do exactly what they do without the hostile files.
    pub(crate) fn shop_is_the_same(&self) {
        let alone = Self::beside(&[] as &[&str]);
        for pod in ["store", "buyer"] {
            assert_eq!(alone.ir(pod), self.ir(pod), "{pod}");
        }
    }

    /// Whether buyer and store do what they do without the hostile files.
    pub(crate) fn shop_works(&self) {
        let alone = Self::beside(&[] as &[&str]);
        for pod in ["store", "buyer"] {
            let (without, with) = (alone.ir(pod), self.ir(pod));
            assert!(without.inbound.iter().all(|part| with.inbound.contains(part)), "{pod} serves less");
            assert!(without.outbound.iter().all(|part| with.outbound.contains(part)), "{pod} dials less");
            let same = |part: &Arc<_>| with.endpoints.contains(part);
            assert!(without.endpoints.iter().all(same), "{pod} knows other endpoints");
        }
    }
}
