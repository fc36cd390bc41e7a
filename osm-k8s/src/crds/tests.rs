//! That definitions are whole, and that files and code are equal.

use std::path::Path;

use super::*;
use crate::yaml;

/// The checked-in definitions.
const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../charts/osm/crds");

fn spec(kind: ManifestKind, version: &str) -> Value {
    let definition = definitions().into_iter().find(|one| one.kind == kind).expect("it is defined");
    let versions = definition.object["spec"]["versions"].as_array().expect("versions").clone();
    let version = versions.into_iter().find(|one| one["name"] == version).expect("the version");
    version["schema"]["openAPIV3Schema"]["properties"]["spec"].clone()
}

/// Every schema within a schema, with its path.
fn each(schema: &Value, path: &str, visit: &mut impl FnMut(&str, &Map<String, Value>)) {
    let fields = schema.as_object().unwrap_or_else(|| panic!("{path} is no schema: {schema}"));
    visit(path, fields);
    let properties = fields.get("properties").and_then(Value::as_object).into_iter().flatten();
    for (name, inner) in properties {
        each(inner, &format!("{path}.{name}"), visit);
    }
    for word in ["items", "additionalProperties"] {
        if let Some(inner) = fields.get(word) {
            each(inner, &format!("{path}[]"), visit);
        }
    }
}

#[test]
fn every_field_has_one_type_and_no_word_that_an_api_server_refuses() {
    let allowed = [
        "type",
        "description",
        "properties",
        "items",
        "additionalProperties",
        "required",
        "enum",
        "pattern",
        "format",
        "minimum",
        "maximum",
        "minLength",
        "maxLength",
        "minItems",
        "maxItems",
        "minProperties",
        "maxProperties",
        "default",
        "x-kubernetes-int-or-string",
        "x-kubernetes-validations",
        "x-kubernetes-list-type",
        "x-kubernetes-list-map-keys",
    ];
    for definition in definitions() {
        for version in definition.object["spec"]["versions"].as_array().expect("versions") {
            let schema = &version["schema"]["openAPIV3Schema"];
            each(schema, definition.kind.name(), &mut |path, fields| {
                let is_typed = fields.get("type").is_some_and(Value::is_string);
                let is_either = fields.contains_key("x-kubernetes-int-or-string");
                assert!(is_typed || is_either, "{path}: {fields:?}");
                for word in fields.keys() {
                    assert!(allowed.contains(&word.as_str()), "{path}: `{word}`");
                }
            });
        }
    }
}

#[test]
fn every_kind_that_is_no_part_of_kubernetes_is_defined() {
    let own =
        |kind: &&ManifestKind| kind.group().contains("smi-spec") || kind.group().contains("openservicemesh");
    let wanted: Vec<_> = ManifestKind::ALL.iter().filter(own).map(|kind| kind.to_string()).collect();
    let mut defined: Vec<_> = definitions().iter().map(|one| one.kind.to_string()).collect();
    defined.sort_by_key(|name| wanted.iter().position(|one| one == name));
    assert_eq!(defined, wanted);
    for definition in definitions() {
        let versions = definition.object["spec"]["versions"].as_array().expect("versions").clone();
        let names: Vec<_> = versions
            .iter()
            .map(|one| format!("{}/{}", definition.kind.group(), one["name"].as_str().unwrap()))
            .collect();
        assert_eq!(names, definition.kind.api_versions(), "{}", definition.kind);
        assert_eq!(versions.iter().filter(|one| one["storage"] == true).count(), 1);
    }
}

#[test]
fn defaults_words_patterns_and_bounds_are_those_of_the_kinds() {
    let config = spec(ManifestKind::MeshConfig, "v1alpha2");
    let sidecar = &config["properties"]["sidecar"]["properties"];
    assert_eq!(sidecar["tlsMinProtocolVersion"]["default"], "TLSv1_2");
    assert_eq!(sidecar["tlsMaxProtocolVersion"]["default"], "TLSv1_3");
    assert_eq!(sidecar["localProxyMode"]["default"], "Localhost");
    assert_eq!(sidecar["localProxyMode"]["enum"], json!(["Localhost", "PodIP"]));
    assert!(sidecar["logLevel"]["enum"].as_array().expect("words").contains(&json!("off")));
    assert!(config["properties"]["sidecar"]["x-kubernetes-validations"].is_array());
    let traffic = &config["properties"]["traffic"]["properties"];
    let ports = &traffic["outboundPortExclusionList"]["items"];
    assert_eq!((&ports["minimum"], &ports["maximum"]), (&json!(1), &json!(65535)));
    assert!(traffic["outboundIPRangeExclusionList"]["items"]["pattern"].is_string());
    let target = spec(ManifestKind::TrafficTarget, "v1alpha3");
    assert_eq!(target["required"], json!(["destination", "sources", "rules"]));
    let root = spec(ManifestKind::MeshRootCertificate, "v1alpha2");
    assert_eq!(root["required"], json!(["provider", "role"]));
    let root = &root["properties"];
    assert_eq!(root["trustDomain"]["default"], "cluster.local");
    assert_eq!(root["role"]["enum"], json!(["passive", "active", "inactive"]));
    assert_eq!(
        (&root["provider"]["minProperties"], &root["provider"]["maxProperties"]),
        (&json!(1), &json!(1))
    );
    for unchanging in ["provider", "trustDomain", "spiffeEnabled"] {
        assert_eq!(
            root[unchanging]["x-kubernetes-validations"][0]["rule"], "self == oldSelf",
            "{unchanging}"
        );
    }
    assert!(spec(ManifestKind::TrafficSplit, "v1alpha4")["properties"]["matches"].is_object());
    assert!(spec(ManifestKind::TrafficSplit, "v1alpha2")["properties"].get("matches").is_none());
}

#[test]
fn the_checked_in_definitions_are_those_of_the_code() {
    let mut files: Vec<String> = Vec::new();
    for definition in definitions() {
        let path = Path::new(FOLDER).join(definition.file_name());
        let text = std::fs::read_to_string(&path).unwrap_or_default();
        let wanted = yaml::write(&definition.object);
        let how = "run `osm crds --folder charts/osm/crds` and look at the difference";
        assert!(text == wanted, "{} is not what the code says: {how}", path.display());
        files.push(definition.file_name());
    }
    let found = std::fs::read_dir(FOLDER).expect("the folder");
    for file in found.map(|entry| entry.expect("a file").file_name().to_string_lossy().into_owned()) {
        assert!(files.contains(&file), "charts/osm/crds/{file} defines nothing that the code has");
    }
}
