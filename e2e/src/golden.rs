//! Golden files: what a scenario leads to, as text to review.
//!
//! With `UPDATE_GOLDENS=1` they are written instead of compared. A changed
//! golden is a change of behaviour, and is reviewed as one.

use std::fmt::Write;
use std::path::Path;

use anyhow::{Context, Result};
use serde_json::{Map, Value, json};

use crate::scenario::Scenario;
use crate::{descriptors, ir_text};

/// The kinds of golden that each scenario has, as the endings of their files.
pub const ENDINGS: [&str; 3] = ["ir.txt", "resources.json", "diagnostics.txt"];

/// In the place of the certificates that a mesh trusts, which no golden could know.
const BUNDLE: &str = "(the authorities that the mesh trusts)";

/// Where lines of JSON break.
const WIDTH: usize = 110;
/// What stands around a difference, in lines.
const CONTEXT: usize = 3;

/// What a scenario leads to: the ending and text of each golden.
///
/// # Errors
/// When a resource can't be decoded.
pub fn texts(scenario: &Scenario) -> Result<[(&'static str, String); 3]> {
    let [ir, resources, diagnostics] = ENDINGS;
    Ok([(ir, ir_of(scenario)), (resources, resources_of(scenario)?), (diagnostics, diagnostics_of(scenario))])
}

fn ir_of(scenario: &Scenario) -> String {
    let mut text = String::new();
    for class in &scenario.classes {
        let pods: Vec<String> = class.pods.iter().map(ToString::to_string).collect();
        let _ = writeln!(text, "=== {}\n{}", pods.join(", "), ir_text::to_text(&class.compiled.ir));
    }
    for unknown in &scenario.unknown {
        let _ = writeln!(text, "=== unknown\n{unknown}\n");
    }
    text
}

/// Every distinct resource once, with the proxies that have it.
fn resources_of(scenario: &Scenario) -> Result<String> {
    let mut all: Vec<(osm_xds::resource::Resource, Vec<String>)> = Vec::new();
    for class in &scenario.classes {
        for resource in class.resources(BUNDLE) {
            match all.iter_mut().find(|(known, _)| *known == resource) {
                Some((_, titles)) => titles.push(class.title()),
                None => all.push((resource, vec![class.title()])),
            }
        }
    }
    all.sort_by(|one, other| one.0.key.cmp(&other.0.key));
    let mut values = Vec::new();
    for (resource, titles) in &all {
        values.push(json!({
            "resource": resource.key.to_string(),
            "proxies": titles,
            "needs": resource.needs.iter().map(ToString::to_string).collect::<Vec<_>>(),
            "origins": resource.origins.iter().map(ToString::to_string).collect::<Vec<_>>(),
            "message": descriptors::to_json(resource)?,
        }));
    }
    let mut text = String::new();
    layout(&sorted(Value::Array(values)), 0, &mut text);
    text.push('\n');
    Ok(text)
}

fn diagnostics_of(scenario: &Scenario) -> String {
    scenario.diagnostics().iter().map(|diagnostic| format!("{diagnostic}\n")).collect()
}

/// Compares a text with its golden.
///
/// # Errors
/// With the differences, or when there is no golden.
pub fn compare(golden: &Path, text: &str) -> Result<()> {
    let expected = std::fs::read_to_string(golden).with_context(|| {
        format!(
            "{} can't be read; look at what UPDATE_GOLDENS=1 writes, and keep it if it is right",
            golden.display()
        )
    })?;
    match difference(&expected, text) {
        None => Ok(()),
        Some(difference) => anyhow::bail!(
            "{} differs; if the new text is right, write it with UPDATE_GOLDENS=1\n{difference}",
            golden.display()
        ),
    }
}

/// What differs between two texts, with a few lines around it: `-` is expected, `+` is there.
#[must_use]
pub fn difference(expected: &str, actual: &str) -> Option<String> {
    if expected == actual {
        return None;
    }
    let (old, new): (Vec<&str>, Vec<&str>) = (expected.lines().collect(), actual.lines().collect());
    let start = old.iter().zip(&new).take_while(|(one, other)| one == other).count();
    let rest = old.len().min(new.len()) - start;
    let end =
        old.iter().rev().zip(new.iter().rev()).take(rest).take_while(|(one, other)| one == other).count();
    let mut text = String::new();
    let from = start.saturating_sub(CONTEXT);
    let _ = writeln!(text, "@@ line {}", from + 1);
    old[from..start].iter().for_each(|line| text.push_str(&format!("  {line}\n")));
    old[start..old.len() - end].iter().for_each(|line| text.push_str(&format!("- {line}\n")));
    new[start..new.len() - end].iter().for_each(|line| text.push_str(&format!("+ {line}\n")));
    old[old.len() - end..].iter().take(CONTEXT).for_each(|line| text.push_str(&format!("  {line}\n")));
    Some(text)
}

/// Writes JSON with what fits on one line on one line.
fn layout(value: &Value, indent: usize, text: &mut String) {
    let flat = value.to_string();
    let (open, close, parts): (char, char, Vec<(String, &Value)>) = match value {
        Value::Array(values) if flat.len() + indent > WIDTH => {
            ('[', ']', values.iter().map(|value| (String::new(), value)).collect())
        }
        Value::Object(fields) if flat.len() + indent > WIDTH => {
            ('{', '}', fields.iter().map(|(name, value)| (format!("{}: ", json!(name)), value)).collect())
        }
        _ => return text.push_str(&flat),
    };
    text.push(open);
    for (index, (name, value)) in parts.iter().enumerate() {
        let _ = write!(text, "{}\n{:width$}{name}", if index > 0 { "," } else { "" }, "", width = indent + 2);
        layout(value, indent + 2, text);
    }
    let _ = write!(text, "\n{:indent$}{close}", "");
}

/// A value with the fields of all objects in the order of their names.
pub(crate) fn sorted(value: Value) -> Value {
    match value {
        Value::Object(fields) => {
            let mut fields: Vec<_> = fields.into_iter().map(|(name, value)| (name, sorted(value))).collect();
            fields.sort_by(|one, other| one.0.cmp(&other.0));
            Value::Object(fields.into_iter().collect::<Map<_, _>>())
        }
        Value::Array(values) => Value::Array(values.into_iter().map(sorted).collect()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_texts_do_not_differ() {
        assert_eq!(difference("a\nb\n", "a\nb\n"), None);
    }

    #[test]
    fn a_difference_is_shown_with_the_lines_around_it() {
        let old = "1\n2\n3\n4\n5\n6\n7\n8\n9\n";
        let found = difference(old, &old.replace("5\n", "five\n5b\n")).expect("they differ");
        assert_eq!(found, "@@ line 2\n  2\n  3\n  4\n- 5\n+ five\n+ 5b\n  6\n  7\n  8\n");
        assert_eq!(difference("a\n", "a\na\n").expect("they differ"), "@@ line 1\n  a\n+ a\n");
    }

    #[test]
    fn json_keeps_what_fits_on_one_line() {
        let value = json!({ "a": { "b": [1, 2] }, "c": ["x".repeat(80), "y".repeat(40)] });
        let mut text = String::new();
        layout(&value, 0, &mut text);
        let (x, y) = ("x".repeat(80), "y".repeat(40));
        assert_eq!(
            text,
            format!("{{\n  \"a\": {{\"b\":[1,2]}},\n  \"c\": [\n    \"{x}\",\n    \"{y}\"\n  ]\n}}")
        );
        assert_eq!(serde_json::from_str::<Value>(&text).expect("JSON"), value);
    }

    #[test]
    fn a_missing_or_different_golden_is_an_error() {
        let folder = tempfile::tempdir().expect("a folder");
        let golden = folder.path().join("x.ir.txt");
        assert!(compare(&golden, "a\n").is_err());
        std::fs::write(&golden, "a\n").expect("written");
        compare(&golden, "a\n").expect("equal");
        let error = compare(&golden, "b\n").expect_err("different");
        assert!(error.to_string().contains("- a\n+ b"), "{error}");
    }
}
