//! The chart's values against its schema: the part of JSON Schema that it uses.

use std::fmt;

use regex::Regex;
use serde_json::{Map, Value};

/// The words of JSON Schema that are understood here. A test holds the chart's schema to them.
#[cfg(test)]
const WORDS: &[&str] = &[
    "$schema",
    "$ref",
    "definitions",
    "title",
    "type",
    "properties",
    "additionalProperties",
    "required",
    "items",
    "enum",
    "pattern",
    "minLength",
    "minimum",
    "maximum",
];

/// A value that does not fit the schema.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Misfit {
    /// Where, as `--set` would write it.
    pub path: String,
    /// What is wrong.
    pub message: String,
}

impl fmt::Display for Misfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path, self.message)
    }
}

/// Everything about a value that does not fit.
pub(super) fn check(schema: &Value, value: &Value) -> Vec<Misfit> {
    let mut checker = Checker { root: schema, misfits: Vec::new() };
    checker.value(schema, value, "");
    checker.misfits
}

struct Checker<'s> {
    root: &'s Value,
    misfits: Vec<Misfit>,
}

impl Checker<'_> {
    fn value(&mut self, schema: &Value, value: &Value, path: &str) {
        let schema = self.resolved(schema).clone();
        if let Some(expected) = schema["type"].as_str()
            && !is_a(value, expected)
        {
            return self.misfit(path, format!("{value} is no {expected}"));
        }
        if let Some(allowed) = schema["enum"].as_array()
            && !allowed.contains(value)
        {
            let allowed: Vec<String> = allowed.iter().map(Value::to_string).collect();
            self.misfit(path, format!("{value} is none of {}", allowed.join(", ")));
        }
        match value {
            Value::String(text) => self.text(&schema, text, path),
            Value::Number(number) => self.number(&schema, number.as_f64().unwrap_or_default(), path),
            Value::Array(items) if !schema["items"].is_null() => {
                for (at, item) in items.iter().enumerate() {
                    self.value(&schema["items"], item, &format!("{path}[{at}]"));
                }
            }
            Value::Object(fields) => self.fields(&schema, fields, path),
            _ => {}
        }
    }

    fn text(&mut self, schema: &Value, text: &str, path: &str) {
        if schema["minLength"].as_u64().is_some_and(|least| (text.len() as u64) < least) {
            self.misfit(path, "is empty".to_owned());
        }
        if let Some(pattern) = schema["pattern"].as_str() {
            match Regex::new(pattern) {
                Ok(expression) if expression.is_match(text) => {}
                _ => self.misfit(path, format!("{text:?} has not the form {pattern}")),
            }
        }
    }

    fn number(&mut self, schema: &Value, number: f64, path: &str) {
        if let Some(least) = schema["minimum"].as_f64().filter(|least| number < *least) {
            self.misfit(path, format!("{number} is less than {least}"));
        }
        if let Some(most) = schema["maximum"].as_f64().filter(|most| number > *most) {
            self.misfit(path, format!("{number} is more than {most}"));
        }
    }

    fn fields(&mut self, schema: &Value, fields: &Map<String, Value>, path: &str) {
        let inner = |name: &str| if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
        for required in schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str) {
            if !fields.contains_key(required) {
                self.misfit(&inner(required), "is missing".to_owned());
            }
        }
        let empty = Map::new();
        let known = schema["properties"].as_object().unwrap_or(&empty);
        for (name, value) in fields {
            match known.get(name) {
                Some(schema) => self.value(schema, value, &inner(name)),
                None if schema["additionalProperties"] == false => {
                    let hint = nearest(name, known.keys());
                    let hint = hint.map(|near| format!("; did you mean {near}?")).unwrap_or_default();
                    self.misfit(&inner(name), format!("there is no such value{hint}"));
                }
                None => {}
            }
        }
    }

    /// A schema, or the definition that it refers to.
    fn resolved<'a>(&'a self, schema: &'a Value) -> &'a Value {
        let reference = schema["$ref"].as_str().and_then(|reference| reference.strip_prefix('#'));
        reference.and_then(|pointer| self.root.pointer(pointer)).unwrap_or(schema)
    }

    fn misfit(&mut self, path: &str, message: String) {
        self.misfits.push(Misfit { path: path.to_owned(), message });
    }
}

fn is_a(value: &Value, expected: &str) -> bool {
    match expected {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "integer" => value.as_f64().is_some_and(|number| number.fract() == 0.0),
        _ => value.is_number(),
    }
}

/// The known name that a misspelt one is most like, if it is like one at all.
fn nearest<'a>(name: &str, known: impl Iterator<Item = &'a String>) -> Option<&'a str> {
    let distances =
        known.map(|known| (distance(&name.to_lowercase(), &known.to_lowercase()), known.as_str()));
    distances.min().filter(|(distance, _)| *distance <= 3).map(|(_, known)| known)
}

/// How many letters are to be changed, added or taken away (Levenshtein's distance).
fn distance(one: &str, other: &str) -> usize {
    let other: Vec<char> = other.chars().collect();
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (at, letter) in one.chars().enumerate() {
        let mut corner = row[0];
        row[0] = at + 1;
        for (column, second) in other.iter().enumerate() {
            let changed = corner + usize::from(letter != *second);
            corner = row[column + 1];
            row[column + 1] = changed.min(corner + 1).min(row[column] + 1);
        }
    }
    row[other.len()]
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[track_caller]
    fn misfits(schema: Value, value: Value) -> Vec<String> {
        check(&schema, &value).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn each_word_of_the_schema_is_held() {
        let schema = json!({
            "type": "object", "additionalProperties": false, "required": ["must"],
            "properties": {
                "must": {}, "size": {"type": "integer", "minimum": 1, "maximum": 3}, "name": {"pattern": "^a+$"},
                "mode": {"enum": ["x", "y"]}, "ports": {"$ref": "#/definitions/ports"}, "text": {"minLength": 1},
            },
            "definitions": {"ports": {"type": "array", "items": {"type": "integer"}}},
        });
        let good = json!({"must": 1, "size": 2, "name": "aa", "mode": "x", "ports": [1], "text": "t"});
        assert_eq!(misfits(schema.clone(), good), [] as [&str; 0]);
        let bad = json!({"size": 4, "name": "b", "mode": "z", "ports": [1, "2"], "text": "", "siez": 1});
        assert_eq!(
            misfits(schema.clone(), bad),
            [
                "must: is missing",
                "mode: \"z\" is none of \"x\", \"y\"",
                "name: \"b\" has not the form ^a+$",
                "ports[1]: \"2\" is no integer",
                "siez: there is no such value; did you mean size?",
                "size: 4 is more than 3",
                "text: is empty",
            ]
        );
        assert_eq!(misfits(schema, json!([])), [": [] is no object"]);
    }

    #[test]
    fn the_schema_of_the_chart_has_no_word_that_is_not_understood() {
        fn walk(schema: &Value) {
            for (word, inner) in schema.as_object().unwrap() {
                assert!(WORDS.contains(&word.as_str()), "{word}");
                match word.as_str() {
                    "properties" | "definitions" => inner.as_object().unwrap().values().for_each(walk),
                    "items" => walk(inner),
                    _ => {}
                }
            }
        }
        walk(&serde_json::from_str(super::super::SCHEMA).unwrap());
    }
}
