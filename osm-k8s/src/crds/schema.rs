//! Schemas of structs, in the form that API servers take: "structural" schemas, in
//! which every field has one type.

use osm_core::name::MAX_NAME_LENGTH;
use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde_json::{Map, Value};

/// Under this name a field says what the API server writes where it is left out.
/// What the struct itself takes then is no default in that sense: an object stays
/// as its user wrote it.
pub(crate) const WRITTEN_DEFAULT: &str = "x-written-default";

/// A duration as Go writes it, or nothing.
pub(crate) const DURATION: &str = r"^(0|(([0-9]+(\.[0-9]*)?|\.[0-9]+)(ns|us|µs|ms|s|m|h))+)?$";
/// A name with dots.
const DNS_SUBDOMAIN: &str = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$";
/// A name without.
const DNS_LABEL: &str = "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$";
/// A network of IPv4 addresses.
const IPV4_NETWORK: &str = r"^((25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])\.){3}(25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])/(3[0-2]|[12]?[0-9])$";

/// The schema of a struct.
pub(super) fn of<T: JsonSchema>() -> Value {
    let mut generator =
        SchemaSettings::draft2020_12().with(|all| all.inline_subschemas = true).into_generator();
    let mut schema = T::json_schema(&mut generator).to_value();
    structural(&mut schema);
    schema
}

/// A name with dots, as Kubernetes gives objects.
pub(crate) fn dns_subdomain(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "string", "maxLength": MAX_NAME_LENGTH, "pattern": DNS_SUBDOMAIN })
}

/// A name without dots, as Kubernetes gives namespaces.
pub(crate) fn dns_label(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "string", "maxLength": 63, "pattern": DNS_LABEL })
}

/// Networks of IPv4 addresses.
pub(crate) fn ipv4_networks(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "array", "items": { "type": "string", "pattern": IPV4_NETWORK } })
}

/// Requests and limits of a container.
pub(crate) fn resources(_: &mut SchemaGenerator) -> Schema {
    let amounts = serde_json::json!({
        "type": "object",
        "additionalProperties": { "x-kubernetes-int-or-string": true },
    });
    json_schema!({ "type": "object", "properties": { "limits": amounts, "requests": amounts } })
}

/// Expressions for headers, as the specification has them: a list of maps.
pub(crate) fn headers(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "array",
        "items": { "type": "object", "additionalProperties": { "type": "string" } },
    })
}

/// Makes a schema structural.
fn structural(schema: &mut Value) {
    let Some(fields) = schema.as_object_mut() else { return };
    for word in ["$schema", "title", "default", "writeOnly", "readOnly"] {
        fields.remove(word);
    }
    if let Some(default) = fields.remove(WRITTEN_DEFAULT) {
        fields.insert("default".to_owned(), default);
    }
    for word in ["anyOf", "oneOf"] {
        if let Some(Value::Array(choices)) = fields.remove(word) {
            choose(fields, choices);
        }
    }
    without_null(fields);
    // An unknown field is pruned or, where the client asks for that, refused.
    if fields.get("additionalProperties") == Some(&Value::Bool(false)) {
        fields.remove("additionalProperties");
    }
    // Formats of numbers that are not the API server's own; the bounds say as much.
    let is_known = |format: &Value| matches!(format.as_str(), Some("int32" | "int64" | "date-time"));
    if fields.get("format").is_some_and(|format| !is_known(format)) {
        fields.remove("format");
    }
    if let Some(Value::Object(properties)) = fields.get_mut("properties") {
        properties.values_mut().for_each(structural);
    }
    for word in ["items", "additionalProperties"] {
        if let Some(inner) = fields.get_mut(word) {
            structural(inner);
        }
    }
}

/// Puts a choice of schemas into the one around it: words become one list of words,
/// and of something or nothing it is something.
fn choose(fields: &mut Map<String, Value>, choices: Vec<Value>) {
    let mut words = Vec::new();
    for mut choice in choices {
        let Some(inner) = choice.as_object_mut() else { continue };
        if inner.get("type") == Some(&Value::from("null")) {
            continue;
        }
        match (inner.remove("const"), inner.remove("enum")) {
            (Some(word), _) => words.push(word),
            (None, Some(Value::Array(more))) => words.extend(more),
            _ => {}
        }
        let nested = inner.remove("oneOf");
        inner.remove("description").map(|text| fields.entry("description").or_insert(text));
        for (name, value) in std::mem::take(inner) {
            fields.entry(name).or_insert(value);
        }
        if let Some(Value::Array(nested)) = nested {
            choose(fields, nested);
        }
    }
    if !words.is_empty() {
        let all = fields.entry("enum").or_insert_with(|| Value::Array(Vec::new()));
        all.as_array_mut().into_iter().for_each(|all| all.append(&mut words));
    }
}

/// Nothing is said by leaving a field out, not by `null`.
fn without_null(fields: &mut Map<String, Value>) {
    if let Some(Value::Array(types)) = fields.get_mut("type") {
        types.retain(|one| one != "null");
        if let [only] = types.as_slice() {
            let only = only.clone();
            fields.insert("type".to_owned(), only);
        }
    }
    if let Some(Value::Array(words)) = fields.get_mut("enum") {
        words.retain(|word| !word.is_null());
    }
}
