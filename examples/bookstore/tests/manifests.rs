//! The manifests agree with each other and with the program.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use bookstore::settings::Cli;
use clap::{CommandFactory, Parser};
use osm_k8s::document::{self, Outcome};
use serde_json::Value;

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("manifests").join(name)
}

fn read(path: &Path) -> Vec<Value> {
    let text = fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_saphyr::from_multiple(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The documents of a folder's files, in the order of the files' names.
fn read_all(name: &str) -> Vec<Value> {
    let entries = fs::read_dir(folder(name)).expect("a folder");
    let mut paths: Vec<_> = entries.map(|entry| entry.expect("an entry").path()).collect();
    paths.sort();
    let documents: Vec<_> = paths.iter().flat_map(|path| read(path)).collect();
    assert!(!documents.is_empty(), "{name} is empty");
    documents
}

fn of_kind<'a>(documents: &'a [Value], kind: &str) -> Vec<&'a Value> {
    let found: Vec<_> = documents.iter().filter(|document| document["kind"] == kind).collect();
    assert!(!found.is_empty(), "no {kind}");
    found
}

fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value
        .pointer(pointer)
        .and_then(Value::as_str)
        .unwrap_or_else(|| panic!("{pointer} is no text in {value}"))
}

/// Namespace and name.
fn key(object: &Value) -> (&str, &str) {
    (text(object, "/namespace"), text(object, "/name"))
}

fn list<'a>(value: &'a Value, pointer: &str) -> &'a [Value] {
    value
        .pointer(pointer)
        .and_then(Value::as_array)
        .unwrap_or_else(|| panic!("{pointer} is no list in {value}"))
}

fn selects(selector: &Value, labels: &Value) -> bool {
    selector.as_object().is_some_and(|selector| selector.iter().all(|(name, value)| labels[name] == *value))
}

#[test]
fn the_mesh_understands_every_manifest_to_the_last_field() {
    let mut read = 0;
    for name in ["", "base", "policy", "split", "extra"] {
        for entry in fs::read_dir(folder(name)).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                continue;
            }
            for document in document::read(&fs::read(&path).expect("a file")) {
                let Outcome::Manifest(manifest) = &document.outcome else {
                    panic!("{}:{}: {:?}", path.display(), document.line, document.outcome)
                };
                assert_eq!(manifest.facts().diagnostics, [], "{}:{}", path.display(), document.line);
                read += 1;
            }
        }
    }
    assert!(read > 30, "only {read} manifests");
}

#[test]
fn every_namespace_exists_before_what_lives_in_it_and_is_in_the_mesh() {
    let base = read_all("base");
    let mut known = BTreeSet::new();
    for document in &base {
        if document["kind"] == "Namespace" {
            assert_eq!(document["metadata"]["labels"]["openservicemesh.io/monitored-by"], "osm");
            assert_eq!(
                document["metadata"]["annotations"]["openservicemesh.io/sidecar-injection"],
                "enabled"
            );
            known.insert(text(document, "/metadata/name"));
        } else {
            assert!(known.contains(text(document, "/metadata/namespace")), "{}", document["metadata"]);
        }
    }
    for document in read_all("policy").iter().chain(&read_all("extra")) {
        assert!(known.contains(text(document, "/metadata/namespace")), "{}", document["metadata"]);
    }
}

#[test]
fn every_deployment_runs_the_program_with_settings_that_it_knows() {
    let base = read_all("base");
    let accounts: BTreeSet<_> =
        of_kind(&base, "ServiceAccount").iter().map(|account| key(&account["metadata"])).collect();
    for deployment in of_kind(&base, "Deployment") {
        let pod = &deployment["spec"]["template"];
        let account = (text(deployment, "/metadata/namespace"), text(pod, "/spec/serviceAccountName"));
        assert!(accounts.contains(&account), "{account:?}");
        assert!(selects(&deployment["spec"]["selector"]["matchLabels"], &pod["metadata"]["labels"]), "{pod}");

        let container = &pod["spec"]["containers"][0];
        let command: Vec<_> = list(container, "/command").iter().filter_map(Value::as_str).collect();
        assert_eq!(command[0], "bookstore-app");
        let role = Cli::command().find_subcommand(command[1]).expect("a role").clone();
        let mut line: Vec<String> = command.iter().map(|word| (*word).to_owned()).collect();
        for variable in list(container, "/env") {
            let option = role
                .get_arguments()
                .find(|option| option.get_env().is_some_and(|name| name == text(variable, "/name")))
                .unwrap_or_else(|| panic!("{} has no {}", command[1], variable["name"]));
            line.push(format!("--{}={}", option.get_long().expect("an option"), text(variable, "/value")));
        }
        Cli::try_parse_from(&line).unwrap_or_else(|error| panic!("{line:?}: {error}"));
        let port = role.get_arguments().find(|option| option.get_id() == "port").expect("a port");
        let listens = port.get_default_values()[0].to_str().expect("a number");
        assert_eq!(container["ports"][0]["containerPort"].to_string(), listens);
        let probe = &container["readinessProbe"];
        let probed = probe.pointer("/httpGet/port").or(probe.pointer("/tcpSocket/port")).expect("a port");
        assert_eq!(probed.to_string(), listens);
    }
}

#[test]
fn every_service_selects_pods_that_listen_on_its_port() {
    let base = read_all("base");
    for service in of_kind(&base, "Service") {
        let selected: Vec<_> = of_kind(&base, "Deployment")
            .into_iter()
            .filter(|deployment| deployment["metadata"]["namespace"] == service["metadata"]["namespace"])
            .filter(|deployment| {
                selects(&service["spec"]["selector"], &deployment["spec"]["template"]["metadata"]["labels"])
            })
            .collect();
        let expected = if service["metadata"]["name"] == "bookstore" { 2 } else { 1 };
        assert_eq!(selected.len(), expected, "{}", service["metadata"]);
        for deployment in selected {
            let port = &deployment["spec"]["template"]["spec"]["containers"][0]["ports"][0]["containerPort"];
            assert_eq!(service["spec"]["ports"][0]["targetPort"], *port, "{}", service["metadata"]);
        }
    }
}

#[test]
fn the_policy_allows_the_demo_graph_and_nothing_else() {
    let (base, policy) = (read_all("base"), read_all("policy"));
    let accounts: BTreeSet<_> =
        of_kind(&base, "ServiceAccount").iter().map(|account| key(&account["metadata"])).collect();
    let mut edges = BTreeSet::new();
    for target in of_kind(&policy, "TrafficTarget") {
        let destination = key(&target["spec"]["destination"]);
        assert_eq!(destination.0, text(target, "/metadata/namespace"));
        assert!(accounts.contains(&destination), "{destination:?}");
        for source in list(target, "/spec/sources") {
            assert!(accounts.contains(&key(source)), "{source}");
            edges.insert((key(source).1, destination.1));
        }
        for rule in list(target, "/spec/rules") {
            assert_rule_exists(rule, destination.0, &policy);
        }
    }
    let expected = [
        ("bookbuyer", "bookstore"),
        ("bookbuyer", "bookstore-v2"),
        ("bookstore", "bookwarehouse"),
        ("bookstore-v2", "bookwarehouse"),
        ("bookwarehouse", "bookledger"),
    ];
    assert_eq!(edges, BTreeSet::from(expected));
    for target in of_kind(&read_all("extra"), "TrafficTarget") {
        assert_rule_exists(&target["spec"]["rules"][0], "bookstore", &policy);
        assert_eq!(key(&target["spec"]["sources"][0]), ("bookthief", "bookthief"));
    }
}

fn assert_rule_exists(rule: &Value, namespace: &str, policy: &[Value]) {
    let group = of_kind(policy, text(rule, "/kind"))
        .into_iter()
        .find(|group| key(&group["metadata"]) == (namespace, text(rule, "/name")))
        .unwrap_or_else(|| panic!("no {rule}"));
    if rule["kind"] == "HTTPRouteGroup" {
        for name in list(rule, "/matches") {
            assert!(list(group, "/spec/matches").iter().any(|one| one["name"] == *name), "{name} of {rule}");
        }
    }
}

#[test]
fn a_split_shares_out_a_hundred_between_services_with_the_same_port() {
    let base = read_all("base");
    let port = |name: &Value| {
        let service =
            of_kind(&base, "Service").into_iter().find(|service| service["metadata"]["name"] == *name);
        service.unwrap_or_else(|| panic!("no service {name}"))["spec"]["ports"][0]["port"].clone()
    };
    for (file, weights) in [("100-0.yaml", [100, 0]), ("50-50.yaml", [50, 50]), ("0-100.yaml", [0, 100])] {
        let split = read(&folder("split").join(file)).remove(0);
        assert_eq!(
            (&split["kind"], key(&split["metadata"])),
            (&"TrafficSplit".into(), ("bookstore", "bookstore-split"))
        );
        let backends = list(&split, "/spec/backends");
        for (backend, weight) in backends.iter().zip(weights) {
            assert_eq!(backend["weight"], weight, "{file}");
            assert_eq!(port(&backend["service"]), port(&split["spec"]["service"]), "{file}");
        }
        assert_eq!(backends.len(), weights.len(), "{file}");
    }
}

#[test]
fn the_two_mesh_configs_differ_in_the_mode_only() {
    let mut permissive = read(&folder("mesh-config.permissive.yaml")).remove(0);
    let smi = read(&folder("mesh-config.smi.yaml")).remove(0);
    assert_eq!(key(&smi["metadata"]), ("osm-system", "osm-mesh-config"));
    let mode = permissive.pointer_mut("/spec/traffic/enablePermissiveTrafficPolicyMode").expect("the mode");
    assert_eq!(std::mem::replace(mode, false.into()), true);
    assert_eq!(permissive, smi);
}
