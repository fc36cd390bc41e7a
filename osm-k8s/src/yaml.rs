//! YAML of any kind as values, and values as YAML.
//!
//! For what is no manifest of the mesh: values of a chart, objects that are
//! shown or applied as they are. Manifests that mean something are read by
//! [`crate::document`].

use serde_json::Value;

/// A text that is no YAML.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct YamlError(String);

/// Reads all documents of a text; empty ones are left out.
///
/// # Errors
/// When one of them is no YAML; the message says where.
pub fn read(text: &str) -> Result<Vec<Value>, YamlError> {
    let documents: Vec<Value> = serde_saphyr::from_multiple(text).map_err(|error| {
        let line = error.location().map(|location| format!("line {}: ", location.line())).unwrap_or_default();
        YamlError(format!("{line}{}", error.without_snippet()))
    })?;
    Ok(documents.into_iter().filter(|document| !document.is_null()).collect())
}

/// Writes a value, with a line break at the end.
#[must_use]
pub fn write(value: &Value) -> String {
    let mut out = String::new();
    block(value, 0, &mut out);
    out
}

/// Writes a value where a line begins.
fn block(value: &Value, depth: usize, out: &mut String) {
    match value {
        Value::Object(fields) if !fields.is_empty() => {
            for (at, (name, value)) in fields.iter().enumerate() {
                // The first stands behind the dash of a list, or at the beginning.
                if at > 0 {
                    out.push_str(&"  ".repeat(depth));
                }
                out.push_str(&scalar(&Value::String(name.clone())));
                out.push(':');
                match value {
                    Value::Object(inner) if !inner.is_empty() => {
                        out.push('\n');
                        out.push_str(&"  ".repeat(depth + 1));
                        block(value, depth + 1, out);
                    }
                    Value::Array(items) if !items.is_empty() => {
                        out.push('\n');
                        out.push_str(&"  ".repeat(depth));
                        block(value, depth, out);
                    }
                    value => {
                        out.push(' ');
                        out.push_str(&scalar(value));
                        out.push('\n');
                    }
                }
            }
        }
        Value::Array(items) if !items.is_empty() => {
            for (at, item) in items.iter().enumerate() {
                if at > 0 {
                    out.push_str(&"  ".repeat(depth));
                }
                out.push_str("- ");
                block(item, depth + 1, out);
            }
        }
        value => {
            out.push_str(&scalar(value));
            out.push('\n');
        }
    }
}

/// What stands on one line. A text that could be read as something else is in quotes, as JSON has them.
fn scalar(value: &Value) -> String {
    match value {
        Value::String(text) if is_plain(text) => text.clone(),
        Value::Object(_) => "{}".to_owned(),
        Value::Array(_) => "[]".to_owned(),
        other => other.to_string(),
    }
}

fn is_plain(text: &str) -> bool {
    let begins = text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '/');
    let ends = !text.ends_with(['-', '.', ':', ' ']);
    let inside = text.chars().all(|c| c.is_ascii_alphanumeric() || "-_./:".contains(c));
    let word = text.to_ascii_lowercase();
    // What older readers take for something else than a text.
    let taken = ["true", "false", "yes", "no", "on", "off", "null", "y", "n"].contains(&word.as_str());
    begins && ends && inside && !text.contains(": ") && !taken
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_written_reads_back() {
        for value in [
            json!({"a": {"b": [1, {"c": "d", "e": []}, [2, [3]], "x"], "f": {}}, "g": null}),
            json!(["yes", "1", "", " a", "a: b", "#", "- x", "a\nb", "é", "1e3", "0x1", "a:", "~", "1.5"]),
            json!({"on": true, "": 1, "a b": 1.5, "http://x": -3}),
            json!([[], {}, [[{}]]]),
            json!("text"),
        ] {
            let text = write(&value);
            assert_eq!(read(&text).unwrap(), [value], "{text}");
        }
    }

    #[test]
    fn blocks_look_as_people_write_them() {
        let value = json!({"kind": "Role", "rules": [{"verbs": ["get"], "resources": ["pods"]}], "size": 1});
        assert_eq!(write(&value), "kind: Role\nrules:\n- resources:\n  - pods\n  verbs:\n  - get\nsize: 1\n");
    }

    #[test]
    fn documents_are_read_each_and_a_mistake_is_named_by_its_line() {
        assert_eq!(read("---\na: 1\n---\n# nothing\n---\n- b\n").unwrap(), [json!({"a": 1}), json!(["b"])]);
        let error = read("a: 1\nb: [\n").unwrap_err().to_string();
        assert!(error.contains("line"), "{error}");
    }
}
