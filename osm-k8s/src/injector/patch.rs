//! The operations of a JSON patch (RFC 6902), as far as injection needs them.

use serde::Serialize;
use serde_json::Value;

/// One step of a patch.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "op", rename_all = "lowercase")]
pub enum Operation {
    /// Adds a member, or inserts an element before the one of that number.
    Add {
        /// Where (RFC 6901).
        path: String,
        /// What.
        value: Value,
    },
    /// Puts something in the place of what is there.
    Replace {
        /// Where.
        path: String,
        /// What.
        value: Value,
    },
}

/// A name as a part of a path.
pub(super) fn escaped(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1")
}

/// Adds one member to an object that may not be there.
pub(super) fn add_member(object: &Value, parent: &str, key: &str, value: &str) -> Operation {
    match object.pointer(parent).filter(|there| there.is_object()) {
        Some(_) => Operation::Add { path: format!("{parent}/{}", escaped(key)), value: value.into() },
        None => Operation::Add { path: parent.to_owned(), value: serde_json::json!({ key: value }) },
    }
}

/// Adds one element to a list that may not be there: in front, or at the end.
pub(super) fn add_element(object: &Value, list: &str, place: Place, value: Value) -> Operation {
    match object.pointer(list).filter(|there| there.is_array()) {
        Some(_) => {
            let place = match place {
                Place::Front => "0",
                Place::End => "-",
            };
            Operation::Add { path: format!("{list}/{place}"), value }
        }
        None => Operation::Add { path: list.to_owned(), value: Value::Array(vec![value]) },
    }
}

/// Where in a list.
#[derive(Debug, Clone, Copy)]
pub(super) enum Place {
    Front,
    End,
}
