//! Manifests of one namespace that point at what another one has: at its services, pods,
//! accounts and addresses. Those of the other namespace are as if there were none.

use crate::mesh::Mesh;

/// The tenant's namespace, with a pod that would like to be the store's.
const BANK: &str = "
apiVersion: v1
kind: Namespace
metadata: {name: bank, labels: {openservicemesh.io/monitored-by: osm}}
---
apiVersion: v1
kind: Pod
metadata: {name: store, namespace: bank, labels: {app: store, osm-proxy-uuid: store}}
spec: {serviceAccountName: store, containers: []}
status: {podIP: 10.244.0.1, podIPs: [{ip: 10.244.0.1}], conditions: [{type: Ready, status: 'True'}]}
---
apiVersion: v1
kind: ServiceAccount
metadata: {name: store, namespace: bank}
---
";

/// What the tenant writes, and what is said of it.
const WRITTEN: [(&str, &str); 12] = [
    (
        "apiVersion: access.smi-spec.io/v1alpha3
kind: TrafficTarget
metadata: {name: into-the-shop, namespace: bank}
spec:
  destination: {kind: ServiceAccount, name: store, namespace: shop}
  sources: [{kind: ServiceAccount, name: store, namespace: bank}]
  rules: [{kind: HTTPRouteGroup, name: routes}]",
        "destination-in-other-namespace",
    ),
    (
        "apiVersion: split.smi-spec.io/v1alpha2
kind: TrafficSplit
metadata: {name: of-the-shop, namespace: bank}
spec: {service: store.shop, backends: [{service: store, weight: 1}]}",
        "service-in-other-namespace",
    ),
    (
        "apiVersion: split.smi-spec.io/v1alpha2
kind: TrafficSplit
metadata: {name: by-its-whole-name, namespace: bank}
spec: {service: store.shop.svc.cluster.local, backends: [{service: store.shop.svc.cluster.local, weight: 1}]}",
        "service-in-other-namespace",
    ),
    (
        "apiVersion: specs.smi-spec.io/v1alpha4
kind: HTTPRouteGroup
metadata: {name: routes, namespace: bank}
spec: {matches: [{name: all, pathRegex: '/nothing', methods: ['GET']}]}",
        "",
    ),
    (
        "apiVersion: v1
kind: Service
metadata: {name: store, namespace: bank}
spec: {clusterIP: 10.96.0.9, externalIPs: [10.96.0.1, 10.244.0.1], selector: {app: store}, ports: [{port: 80, targetPort: 8080}]}",
        "",
    ),
    (
        "apiVersion: v1
kind: Service
metadata: {name: from-outside, namespace: bank}
spec: {type: LoadBalancer, loadBalancerIP: 10.96.0.1, clusterIP: 10.96.0.10, ports: [{port: 80}]}
status: {loadBalancer: {ingress: [{ip: 10.96.0.1}, {hostname: store.shop}]}}",
        "",
    ),
    (
        "apiVersion: v1
kind: Service
metadata: {name: another-name, namespace: bank}
spec: {type: ExternalName, externalName: store.shop.svc.cluster.local, ports: [{port: 80}]}",
        "",
    ),
    (
        "apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: theirs, namespace: bank, labels: {kubernetes.io/service-name: store}}
addressType: IPv4
endpoints: [{addresses: [10.244.0.2], conditions: {ready: true}, targetRef: {kind: Pod, name: buyer, namespace: shop}}]
ports: [{name: web, port: 8080}]",
        "",
    ),
    (
        "apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: store-of-the-shop, namespace: bank, labels: {kubernetes.io/service-name: store.shop}}
addressType: IPv4
endpoints: [{addresses: [10.244.0.1]}]
ports: [{name: web, port: 8080}]",
        "",
    ),
    (
        "apiVersion: config.openservicemesh.io/v1alpha2
kind: MeshConfig
metadata: {name: osm-mesh-config, namespace: bank}
spec: {traffic: {enablePermissiveTrafficPolicyMode: true, enableEgress: true}}",
        "other-mesh-config",
    ),
    (
        "apiVersion: v1
kind: Pod
metadata: {name: buyer, namespace: bank, labels: {app: store, osm-proxy-uuid: buyer}}
spec: {serviceAccountName: buyer, containers: []}
status: {podIP: 10.244.0.2, conditions: [{type: Ready, status: 'True'}]}",
        "",
    ),
    (
        "apiVersion: specs.smi-spec.io/v1alpha4
kind: TCPRoute
metadata: {name: routes, namespace: bank}
spec: {}",
        "",
    ),
];

#[test]
fn manifests_that_point_into_another_namespace_change_nothing_there() {
    for (text, code) in WRITTEN {
        let mesh = Mesh::beside(&[format!("{BANK}{text}")]);
        mesh.shop_is_the_same();
        let codes = mesh.codes();
        assert!(
            code.is_empty() || codes.iter().any(|one| one.starts_with(code)),
            "{code} is not among {codes:?}:\n{text}"
        );
    }
    let all: Vec<String> = WRITTEN.iter().map(|(text, _)| format!("{BANK}{text}")).collect();
    Mesh::beside(&all).shop_is_the_same();
}
