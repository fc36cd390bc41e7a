//! Settings on a command line, written as helm has them: `a.b=c,d[0]=e,f={g,h}`.
//! A backslash takes the meaning from a comma, a dot, a bracket or a brace.

use serde_json::{Map, Value};
use thiserror::Error;

/// The longest list that an index may make.
const MAX_INDEX: usize = 65_536;

/// A setting that is not written as one.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("the setting {setting:?}: {message}; write it as `name.of.value=value`")]
pub struct SetError {
    setting: String,
    message: String,
}

impl SetError {
    pub(super) fn of(setting: &str, message: &str) -> Self {
        Self { setting: setting.to_owned(), message: message.to_owned() }
    }
}

/// Writes what a setting says into a tree of values.
pub(super) fn apply(values: &mut Value, setting: &str, read: impl Fn(&str) -> Value) -> Result<(), SetError> {
    for part in split(setting, ',') {
        let (name, value) = cut(part).ok_or_else(|| SetError::of(setting, "it has no `=`"))?;
        let value = match value.strip_prefix('{').and_then(|inner| inner.strip_suffix('}')) {
            Some(items) => split(items, ',').into_iter().map(|item| read(&unescaped(item))).collect(),
            None => read(&unescaped(value)),
        };
        put(values, name, setting, value)?;
    }
    Ok(())
}

/// Writes a value at a place in a tree of values.
pub(super) fn put(values: &mut Value, name: &str, setting: &str, value: Value) -> Result<(), SetError> {
    let mut place = values;
    for part in split(name, '.') {
        let (field, indexes) = indexes(part).ok_or_else(|| SetError::of(setting, "an index is no number"))?;
        if field.is_empty() {
            return Err(SetError::of(setting, "a name is missing"));
        }
        if !place.is_object() {
            *place = Value::Object(Map::new());
        }
        place = &mut place[field];
        for index in indexes {
            let items = list(place);
            if index >= MAX_INDEX {
                return Err(SetError::of(setting, "an index is too high"));
            }
            if items.len() <= index {
                items.resize(index + 1, Value::Null);
            }
            place = &mut items[index];
        }
    }
    *place = value;
    Ok(())
}

/// The list that stands at a place, or a new one.
fn list(place: &mut Value) -> &mut Vec<Value> {
    if !place.is_array() {
        *place = Value::Array(Vec::new());
    }
    place.as_array_mut().expect("it was made a list above")
}

/// A text as what it looks like. A number with a leading zero is a text.
pub(super) fn typed(text: &str) -> Value {
    match text {
        "true" => true.into(),
        "false" => false.into(),
        "null" => Value::Null,
        "0" => 0.into(),
        number if !number.starts_with('0') => {
            number.parse::<i64>().map_or_else(|_| number.into(), Value::from)
        }
        text => text.into(),
    }
}

/// Splits at a character that has its meaning, outside of braces.
fn split(text: &str, at: char) -> Vec<&str> {
    let (mut parts, mut start, mut depth, mut escaped) = (Vec::new(), 0, 0_usize, false);
    for (position, character) in text.char_indices() {
        match character {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '{' => depth += 1,
            '}' => depth = depth.saturating_sub(1),
            character if character == at && depth == 0 => {
                parts.push(&text[start..position]);
                start = position + character.len_utf8();
            }
            _ => {}
        }
    }
    parts.push(&text[start..]);
    parts
}

fn cut(part: &str) -> Option<(&str, &str)> {
    part.split_once('=')
}

/// The name of a field without backslashes, and the `[indexes]` behind it.
fn indexes(part: &str) -> Option<(String, Vec<usize>)> {
    let open =
        part.char_indices().find(|(at, c)| *c == '[' && !part[..*at].ends_with('\\')).map(|(at, _)| at);
    let (name, rest) = part.split_at(open.unwrap_or(part.len()));
    let mut indexes = Vec::new();
    let mut rest = rest;
    while !rest.is_empty() {
        let (index, after) = rest.strip_prefix('[')?.split_once(']')?;
        indexes.push(index.parse().ok()?);
        rest = after;
    }
    Some((unescaped(name), indexes))
}

fn unescaped(text: &str) -> String {
    let mut out = String::new();
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        match character {
            '\\' => out.extend(characters.next()),
            character => out.push(character),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[track_caller]
    fn gives(setting: &str, expected: Value) {
        let mut values = json!({});
        apply(&mut values, setting, typed).unwrap();
        assert_eq!(values, expected, "{setting}");
    }

    #[test]
    fn settings_are_read_as_helm_reads_them() {
        gives("a=b", json!({"a": "b"}));
        gives("a.b=1,a.c=true,d=null", json!({"a": {"b": 1, "c": true}, "d": null}));
        gives("a={b,1}", json!({"a": ["b", 1]}));
        gives("a={}", json!({"a": [""]}));
        gives("a[1].b=c", json!({"a": [null, {"b": "c"}]}));
        gives("a=b\\,c", json!({"a": "b,c"}));
        gives("a\\.b/c=d", json!({"a.b/c": "d"}));
        gives("a=007,b=0,c=-3,d=1.5,e=", json!({"a": "007", "b": 0, "c": -3, "d": "1.5", "e": ""}));
        gives("a=b=c", json!({"a": "b=c"}));
    }

    #[test]
    fn what_is_no_setting_is_shown() {
        for setting in ["a", "=b", "a..b=c", "a[x]=1", "a[99999999]=1"] {
            let error = apply(&mut json!({}), setting, typed).unwrap_err().to_string();
            assert!(error.contains(setting), "{error}");
        }
    }

    #[test]
    fn a_later_setting_replaces_what_is_no_tree() {
        let mut values = json!({"a": 1});
        apply(&mut values, "a.b=2", typed).unwrap();
        assert_eq!(values, json!({"a": {"b": 2}}));
    }
}
