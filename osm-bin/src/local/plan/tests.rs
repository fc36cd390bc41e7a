//! Plans of manifests: what runs, what is told, and what is named.

use osm_core::model::MeshObject;

use super::testing::{only_pod, plan_of, plan_with};
use super::*;

const DEPLOYMENT: &str = "
apiVersion: v1
kind: Namespace
metadata:
  name: shop
  labels: {openservicemesh.io/monitored-by: osm}
  annotations: {openservicemesh.io/sidecar-injection: enabled}
---
apiVersion: v1
kind: Service
metadata: {name: web, namespace: shop}
spec: {selector: {app: web}, ports: [{port: 80, targetPort: http}]}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: shop}
spec:
  replicas: 2
  template:
    metadata: {labels: {app: web, osm-proxy-uuid: forged}}
    spec:
      serviceAccountName: web
      containers:
      - {name: app, command: [web], ports: [{name: http, containerPort: 8080}]}
";

fn codes(plan: &Plan) -> Vec<&str> {
    plan.diagnostics.iter().map(|one| one.code).collect()
}

#[test]
fn a_deployment_is_pods_with_addresses_proxies_and_stable_names() {
    let plan = plan_of(DEPLOYMENT);
    assert_eq!(codes(&plan), [""; 0]);
    let names: Vec<_> = plan.pods.keys().map(ToString::to_string).collect();
    assert_eq!(names, ["shop/web-0", "shop/web-1"]);
    let pods: Vec<_> = plan.pods.values().collect();
    assert_ne!(pods[0].address, pods[1].address);
    assert_ne!(pods[0].uuid, pods[1].uuid);
    assert_eq!(pods[0].pod.metadata.labels["osm-proxy-uuid"], pods[0].uid(), "nobody can choose it");
    assert_eq!((pods[0].owner.as_str(), pods[0].location.line), ("Deployment shop/web", 14));
    assert_eq!(pods[0].identity().to_string(), "shop/web");
}

#[test]
fn a_pod_is_told_with_its_address_and_readiness_and_where_it_comes_from() {
    let pod = plan_of(DEPLOYMENT).pods.into_values().next().expect("a pod");
    for ready in [false, true] {
        let facts = pod.facts(ready);
        let [MeshObject::Workload(workload)] = facts.as_slice() else { panic!("{facts:?}") };
        assert_eq!((workload.ready, workload.addresses.clone()), (ready, vec![IpAddr::V4(pod.address)]));
        assert_eq!(workload.proxy.as_ref(), Some(&pod.uuid));
        assert_eq!(workload.meta.location.as_ref(), Some(&pod.location));
    }
}

#[test]
fn pods_that_are_to_run_are_among_the_first_facts() {
    let plan = plan_of(DEPLOYMENT);
    let facts = plan.facts();
    let told = facts.values().filter(|fact| matches!(fact, MeshObject::Workload(pod) if !pod.ready));
    assert_eq!(told.count(), plan.pods.len());
    assert!(plan.objects.keys().all(|name| facts.contains_key(name)) && !plan.pods.is_empty());
}

#[test]
fn a_service_without_address_gets_one_that_the_control_plane_is_told() {
    let plan = plan_of(DEPLOYMENT);
    let service = plan.services.values().next().expect("a service");
    assert!(service.address.is_some_and(|address| address.octets()[..2] == [10, 96]));
    let told = plan.objects.values().find_map(|object| match object {
        MeshObject::Service(service) => Some(service),
        _ => None,
    });
    assert_eq!(told, Some(&service.fact));
    let ports: Vec<_> =
        plan.pods_behind(service).map(|pod| pod.port(&service.fact.ports[0].target)).collect();
    assert_eq!(ports, [NonZeroU16::new(8080), NonZeroU16::new(8080)]);
}

#[test]
fn of_two_services_that_ask_for_one_address_the_first_has_it() {
    let service = |name: &str| {
        format!(
            "{{apiVersion: v1, kind: Service, metadata: {{name: {name}}}, spec: {{clusterIP: 10.96.0.9}}}}"
        )
    };
    let plan = plan_of(&format!("{}\n---\n{}", service("a"), service("b")));
    assert_eq!(codes(&plan), ["address-taken"]);
    let addresses: Vec<_> = plan.services.values().map(|service| service.address).collect();
    assert_eq!(addresses[0], Some(Ipv4Addr::new(10, 96, 0, 9)));
    assert!(addresses[1].is_some() && addresses[1] != addresses[0]);
}

#[test]
fn a_service_does_not_get_an_address_of_pods_or_of_no_network() {
    for address in ["10.244.0.1", "10.244.7.7", "0.0.0.0", "127.0.0.1", "224.0.0.1", "169.254.1.1"] {
        let text = format!(
            "{{apiVersion: v1, kind: Service, metadata: {{name: a}}, spec: {{clusterIP: {address}}}}}"
        );
        let plan = plan_of(&text);
        assert!(!plan.diagnostics.is_empty(), "{address}");
        let got = plan.services.values().next().and_then(|service| service.address);
        assert!(got.is_some_and(|got| got.octets()[..2] == [10, 96]), "{address}: {got:?}");
    }
}

#[test]
fn a_container_whose_name_would_be_another_file_does_not_run() {
    for name in ["../x", "/etc/x", "a/b", "", "A", "envoy", "a.b"] {
        let text = format!(
            "{{apiVersion: v1, kind: Pod, metadata: {{name: p}}, spec: {{containers: [{{name: '{name}', command: [x]}}]}}}}"
        );
        let plan = plan_of(&text);
        assert!(plan.pods.is_empty() && !plan.diagnostics.is_empty(), "{name}: {:?}", plan.diagnostics);
    }
    let twice =
        "{apiVersion: v1, kind: Pod, metadata: {name: p}, spec: {containers: [{name: a}, {name: a}]}}";
    assert_eq!(codes(&plan_of(twice)), ["bad-container-name"]);
}

#[test]
fn more_replicas_than_a_machine_runs_are_one_finding() {
    let text = DEPLOYMENT.replace("replicas: 2", "replicas: 2000000000");
    let plan = plan_of(&text.replace("containers:", "hostNetwork: true\n      containers:"));
    assert!(plan.diagnostics.len() <= 1 + super::MAX_PODS, "{}", plan.diagnostics.len());
    let plan = plan_of(&text);
    assert_eq!((plan.pods.len(), codes(&plan)), (super::MAX_PODS, vec!["too-many-pods"]));
}

#[test]
fn a_plan_made_again_from_its_own_address_book_is_the_same() {
    let mut book = AddressBook::default();
    let first = plan_with(DEPLOYMENT, &mut book);
    assert_eq!(plan_with(DEPLOYMENT, &mut book), first);
}

#[test]
fn removing_one_replica_changes_nothing_about_the_other() {
    let mut book = AddressBook::default();
    let before = plan_with(DEPLOYMENT, &mut book);
    let after = plan_with(&DEPLOYMENT.replace("replicas: 2", "replicas: 1"), &mut book);
    let name = "shop/web-0".parse().expect("a name");
    assert_eq!(after.pods.len(), 1);
    assert_eq!(after.pods[&name], before.pods[&name]);
}

#[test]
fn what_can_not_run_is_named_and_the_rest_runs() {
    let pod = |name: &str, more: &str| {
        format!(
            "{{apiVersion: v1, kind: Pod, metadata: {{name: {name}, namespace: shop}}, spec: {{containers: [{{name: c}}]{more}}}}}"
        )
    };
    let text = [DEPLOYMENT.to_owned(), pod("web-0", ""), pod("host", ", hostNetwork: true"), pod("good", "")];
    let plan = plan_of(&text.join("\n---\n"));
    assert_eq!(codes(&plan), ["host-network", "duplicate-pod"]);
    let names: Vec<_> = plan.pods.keys().map(ToString::to_string).collect();
    assert_eq!(names, ["shop/good", "shop/web-0", "shop/web-1"]);
}

#[test]
fn only_network_and_proxy_need_another_pod() {
    let text = "{apiVersion: v1, kind: Pod, metadata: {name: p}, spec: {serviceAccountName: a, containers: [{name: c}]}}";
    let pod = only_pod(text);
    let other = only_pod(&text.replace("name: c", "name: c, command: [x]"));
    assert!(pod != other && !pod.needs_another_pod(&other));
    assert!(
        pod.needs_another_pod(&only_pod(&text.replace("serviceAccountName: a", "serviceAccountName: b")))
    );
}
