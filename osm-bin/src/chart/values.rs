//! Values that a user gives: files, and `--set` and its like.

use std::path::PathBuf;

use serde_json::{Map, Value};
use thiserror::Error;

use super::set::{self, SetError};

/// What a user wants to be different, in the order in which it counts: the last wins.
#[derive(Debug, Clone, Default)]
pub struct Overrides {
    /// Files of values.
    pub files: Vec<PathBuf>,
    /// `a.b=c`, where `c` may be a number, `true`, `null` or `{a,list}`.
    pub set: Vec<String>,
    /// `a.b=c`, where `c` is a text whatever it looks like.
    pub set_string: Vec<String>,
    /// `a.b=PATH`, where the value is what the file holds.
    pub set_file: Vec<String>,
}

/// Why values can't be read.
#[derive(Debug, Error)]
pub enum ValuesError {
    /// A file that is not there.
    #[error("{} can't be read", path.display())]
    Unreadable {
        /// Which one.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A file that holds no values.
    #[error("{} is no file of values: {message}", path.display())]
    NoValues {
        /// Which one.
        path: PathBuf,
        /// What is wrong.
        message: String,
    },
    /// A setting that is not written as one.
    #[error(transparent)]
    Set(#[from] SetError),
}

impl Overrides {
    /// All of them as one tree.
    ///
    /// # Errors
    /// When a file can't be read or a setting is not written as one.
    pub fn read(&self) -> Result<Value, ValuesError> {
        let mut all = Value::Object(Map::new());
        for path in &self.files {
            all = overlaid_keeping_nulls(all, &file(path)?);
        }
        for setting in &self.set {
            set::apply(&mut all, setting, set::typed)?;
        }
        for setting in &self.set_string {
            set::apply(&mut all, setting, |text| Value::String(text.to_owned()))?;
        }
        for setting in &self.set_file {
            let (name, path) =
                setting.split_once('=').ok_or_else(|| SetError::of(setting, "it has no `=`"))?;
            let path = PathBuf::from(path);
            let content =
                std::fs::read_to_string(&path).map_err(|source| ValuesError::Unreadable { path, source })?;
            set::put(&mut all, name, setting, content.into())?;
        }
        Ok(all)
    }
}

fn file(path: &PathBuf) -> Result<Value, ValuesError> {
    let no_values = |message: String| ValuesError::NoValues { path: path.clone(), message };
    let text = std::fs::read_to_string(path)
        .map_err(|source| ValuesError::Unreadable { path: path.clone(), source })?;
    let documents = osm_k8s::yaml::read(&text).map_err(|error| no_values(error.to_string()))?;
    match documents.as_slice() {
        [] => Ok(Value::Object(Map::new())),
        [values @ Value::Object(_)] => Ok(values.clone()),
        _ => Err(no_values("it is not one tree of names".to_owned())),
    }
}

/// Values with others laid over them: trees are merged, all else is replaced, and `null` takes a default away.
pub(super) fn overlaid(below: Value, above: &Value) -> Value {
    without_nulls(overlaid_keeping_nulls(below, above))
}

fn overlaid_keeping_nulls(below: Value, above: &Value) -> Value {
    match (below, above) {
        (Value::Object(mut below), Value::Object(above)) => {
            for (name, value) in above {
                let merged = overlaid_keeping_nulls(below.remove(name).unwrap_or_default(), value);
                below.insert(name.clone(), merged);
            }
            Value::Object(below)
        }
        (_, above) => above.clone(),
    }
}

fn without_nulls(value: Value) -> Value {
    match value {
        Value::Object(fields) => fields
            .into_iter()
            .filter(|(_, value)| !value.is_null())
            .map(|(name, value)| (name, without_nulls(value)))
            .collect(),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn trees_are_merged_and_all_else_is_replaced() {
        let below = json!({"a": {"b": 1, "c": [1, 2]}, "d": 1});
        let above = json!({"a": {"c": [3]}, "d": null, "e": {"f": 1}});
        assert_eq!(overlaid(below, &above), json!({"a": {"b": 1, "c": [3]}, "e": {"f": 1}}));
    }

    #[test]
    fn the_last_of_files_and_settings_wins() {
        let folder = tempfile::tempdir().unwrap();
        let (one, two, text) =
            (folder.path().join("1.yaml"), folder.path().join("2.yaml"), folder.path().join("t"));
        std::fs::write(&one, "a: {b: 1, c: 1, d: 1}\n").unwrap();
        std::fs::write(&two, "a: {c: 2, d: 2}\n").unwrap();
        std::fs::write(&text, "line\n").unwrap();
        let overrides = Overrides {
            files: vec![one, two],
            set: vec!["a.d=3,a.e=true".to_owned()],
            set_string: vec!["a.f=5".to_owned()],
            set_file: vec![format!("a.g={}", text.display())],
        };
        let expected = json!({"a": {"b": 1, "c": 2, "d": 3, "e": true, "f": "5", "g": "line\n"}});
        assert_eq!(overrides.read().unwrap(), expected);
    }

    #[test]
    fn a_file_that_is_no_tree_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("v.yaml");
        std::fs::write(&path, "- a\n").unwrap();
        let error = Overrides { files: vec![path], ..Overrides::default() }.read().unwrap_err().to_string();
        assert!(error.contains("v.yaml"), "{error}");
        let missing = Overrides { files: vec!["no/such".into()], ..Overrides::default() };
        assert!(missing.read().unwrap_err().to_string().contains("no/such"));
    }
}
