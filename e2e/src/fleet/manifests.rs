//! Facts as the manifests that say them: the way back of `osm-k8s`, for the
//! kinds that a fleet has.

use std::fmt::Write;

use osm_core::model::{
    EndpointSlice, HttpRouteGroup, MeshConfig, MeshObject, Methods, Namespace, RouteRule, Service,
    TargetPort, TrafficSplit, TrafficTarget, Workload,
};
use osm_core::name::QualifiedName;
use serde_json::{Map, Value, json};

/// The text of a file with these objects.
///
/// # Panics
/// When an object is of a kind that a fleet does not have.
#[must_use]
pub fn documents<'a>(objects: impl IntoIterator<Item = &'a MeshObject>) -> String {
    let mut text = String::new();
    for object in objects {
        let manifest = of_object(object).expect("a kind that a fleet has");
        // Writing to a string does not fail.
        let _ = writeln!(text, "---\n{manifest}");
    }
    text
}

/// The manifest of an object; `None` for a kind that a fleet does not have.
#[must_use]
pub fn of_object(object: &MeshObject) -> Option<Value> {
    Some(match object {
        MeshObject::Namespace(namespace) => of_namespace(namespace),
        MeshObject::MeshConfig(config) => of_config(config),
        MeshObject::Service(service) => of_service(service),
        MeshObject::Workload(workload) => of_workload(workload),
        MeshObject::EndpointSlice(slice) => of_slice(slice),
        MeshObject::TrafficTarget(target) => of_target(target),
        MeshObject::HttpRouteGroup(group) => of_group(group),
        MeshObject::TrafficSplit(split) => of_split(split),
        _ => return None,
    })
}

fn metadata(name: &QualifiedName) -> Value {
    json!({ "name": name.name.as_str(), "namespace": name.namespace.as_str() })
}

fn of_namespace(namespace: &Namespace) -> Value {
    let mut labels = Map::new();
    if let Some(mesh) = &namespace.monitored_by {
        labels.insert(osm_k8s::manifest::MONITORED_BY_LABEL.to_owned(), mesh.as_str().into());
    }
    json!({
        "apiVersion": "v1", "kind": "Namespace",
        "metadata": { "name": namespace.name.as_str(), "labels": labels },
    })
}

fn of_config(config: &MeshConfig) -> Value {
    json!({
        "apiVersion": "config.openservicemesh.io/v1alpha2", "kind": "MeshConfig",
        "metadata": metadata(&config.name),
        "spec": { "traffic": {
            "enablePermissiveTrafficPolicyMode": config.permissive, "enableEgress": config.egress,
        } },
    })
}

fn of_service(service: &Service) -> Value {
    let ports: Vec<Value> = service
        .ports
        .iter()
        .map(|port| {
            let target = match &port.target {
                TargetPort::Number(number) => json!(number),
                TargetPort::Name(name) => json!(name),
            };
            json!({ "name": port.name, "port": port.port, "targetPort": target, "appProtocol": port.app_protocol })
        })
        .collect();
    let addresses: Vec<String> = service.addresses.iter().map(ToString::to_string).collect();
    json!({
        "apiVersion": "v1", "kind": "Service", "metadata": metadata(&service.name),
        "spec": { "clusterIPs": addresses, "selector": service.selector, "ports": ports },
    })
}

fn of_workload(workload: &Workload) -> Value {
    let mut labels = workload.labels.clone();
    if let Some(proxy) = &workload.proxy {
        labels.insert(osm_k8s::manifest::PROXY_UUID_LABEL.to_owned(), proxy.to_string());
    }
    let mut metadata = metadata(&workload.name);
    metadata["labels"] = json!(labels);
    let ports: Vec<Value> =
        workload.ports.iter().map(|port| json!({ "name": port.name, "containerPort": port.port })).collect();
    let addresses: Vec<Value> =
        workload.addresses.iter().map(|address| json!({ "ip": address.to_string() })).collect();
    let ready = if workload.ready { "True" } else { "False" };
    json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": metadata,
        "spec": {
            "serviceAccountName": workload.service_account.as_str(),
            "containers": [{ "name": "app", "image": "app", "ports": ports }],
        },
        "status": { "podIPs": addresses, "conditions": [{ "type": "Ready", "status": ready }] },
    })
}

fn of_slice(slice: &EndpointSlice) -> Value {
    let mut metadata = metadata(&slice.name);
    metadata["labels"] = json!({ "kubernetes.io/service-name": slice.service.name.as_str() });
    let endpoints: Vec<Value> = slice
        .endpoints
        .iter()
        .map(|endpoint| {
            let addresses: Vec<String> = endpoint.addresses.iter().map(ToString::to_string).collect();
            let target =
                endpoint.workload.as_ref().map(|name| json!({ "kind": "Pod", "name": name.as_str() }));
            json!({ "addresses": addresses, "conditions": { "ready": endpoint.ready }, "targetRef": target })
        })
        .collect();
    let ports: Vec<Value> =
        slice.ports.iter().map(|port| json!({ "name": port.name, "port": port.port })).collect();
    json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "metadata": metadata,
        "addressType": "IPv4", "ports": ports, "endpoints": endpoints,
    })
}

fn of_target(target: &TrafficTarget) -> Value {
    let account = |identity: &osm_core::identity::ServiceIdentity| {
        json!({
            "kind": "ServiceAccount",
            "name": identity.service_account.as_str(), "namespace": identity.namespace.as_str(),
        })
    };
    let rule = |rule: &RouteRule| match rule {
        RouteRule::Http { group, matches } => {
            let mut rule = json!({ "kind": "HTTPRouteGroup", "name": group.as_str() });
            if let Some(matches) = matches {
                rule["matches"] = json!(matches);
            }
            rule
        }
        RouteRule::Tcp { route } => json!({ "kind": "TCPRoute", "name": route.as_str() }),
        _ => Value::Null,
    };
    let sources: Vec<Value> = target.sources.iter().map(account).collect();
    let rules: Vec<Value> = target.rules.iter().map(rule).collect();
    json!({
        "apiVersion": "access.smi-spec.io/v1alpha3", "kind": "TrafficTarget", "metadata": metadata(&target.name),
        "spec": { "destination": account(&target.destination), "sources": sources, "rules": rules },
    })
}

fn of_group(group: &HttpRouteGroup) -> Value {
    let matches: Vec<Value> = group
        .matches
        .iter()
        .map(|one| {
            let methods = match &one.methods {
                Methods::Any => vec!["*".to_owned()],
                Methods::These(methods) => methods.iter().cloned().collect(),
            };
            let headers: Vec<Value> =
                one.headers.iter().map(|(name, value)| json!({ name.as_str(): value })).collect();
            json!({ "name": one.name, "pathRegex": one.path_regex, "methods": methods, "headers": headers })
        })
        .collect();
    json!({
        "apiVersion": "specs.smi-spec.io/v1alpha4", "kind": "HTTPRouteGroup", "metadata": metadata(&group.name),
        "spec": { "matches": matches },
    })
}

fn of_split(split: &TrafficSplit) -> Value {
    let backends: Vec<Value> = split
        .backends
        .iter()
        .map(|backend| json!({ "service": backend.service.name.as_str(), "weight": backend.weight }))
        .collect();
    json!({
        "apiVersion": "split.smi-spec.io/v1alpha2", "kind": "TrafficSplit", "metadata": metadata(&split.name),
        "spec": { "service": split.service.name.as_str(), "backends": backends },
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use osm_core::testing::Fleet;
    use osm_k8s::document::{self, Outcome};

    use super::*;

    #[test]
    fn the_manifests_of_a_fleet_say_what_its_facts_say() {
        let fleet = Fleet { services: 7, endpoints: 2, clients: 9, reach: 3, permissive: false };
        let objects = [fleet.objects(), vec![Fleet::split(3, 7).into()]].concat();
        let mut read = BTreeMap::new();
        for document in document::read(documents(&objects).as_bytes()) {
            let Outcome::Manifest(manifest) = document.outcome else { panic!("{:?}", document.outcome) };
            let conversion = manifest.facts();
            assert_eq!(conversion.diagnostics, [], "{manifest:?}");
            read.extend(conversion.objects.into_iter().map(|object| (object.object_ref(), object)));
        }
        assert_eq!(read.len(), objects.len());
        for mut object in objects {
            // In a manifest, the proxy is one of the pod's labels.
            if let MeshObject::Workload(workload) = &mut object {
                let proxy = workload.proxy.iter().map(ToString::to_string);
                workload
                    .labels
                    .extend(proxy.map(|proxy| (osm_k8s::manifest::PROXY_UUID_LABEL.to_owned(), proxy)));
            }
            assert_eq!(read.get(&object.object_ref()), Some(&object));
        }
    }
}
