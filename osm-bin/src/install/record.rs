//! What was installed, kept beside the control plane in a Secret: values may be confidential.

use anyhow::{Context, Result};
use osm_k8s::objects::{ObjectKey, Objects, secret_texts};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{INSTANCE, ROOT_SECRET};

/// The only entry of the Secret.
const ENTRY: &str = "record";
/// The type of the Secret, by which people see what it is.
const TYPE: &str = "openservicemesh.io/install";

/// What was installed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Record {
    /// The version of the program that installed it.
    pub version: String,
    /// Whether it is complete.
    pub state: State,
    /// What the user wanted to be different from the chart's values.
    pub values: Value,
    /// Whether the namespace was made for it.
    pub created_namespace: bool,
    /// Its objects.
    pub objects: Vec<ObjectKey>,
}

/// How far an installation is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// It was begun.
    Installing,
    /// Everything was applied.
    Installed,
}

impl Record {
    /// What names the Secret of a mesh.
    #[must_use]
    pub fn key(mesh: &str, namespace: &str) -> ObjectKey {
        ObjectKey::namespaced("v1", "Secret", namespace, &format!("osm-install-{mesh}"))
    }

    /// The record of a mesh, if it was installed by this program.
    ///
    /// # Errors
    /// When the server can't be asked or refuses, or the record can't be read.
    pub async fn read(objects: &Objects, mesh: &str, namespace: &str) -> Result<Option<Self>> {
        let key = Self::key(mesh, namespace);
        objects.get(&key).await?.map(|secret| Self::of(&secret)).transpose().with_context(|| key.to_string())
    }

    /// Writes the record of a mesh.
    ///
    /// # Errors
    /// When the server can't be asked or refuses.
    pub async fn write(&self, objects: &Objects, mesh: &str, namespace: &str) -> Result<()> {
        objects.apply(&self.secret(mesh, namespace)?).await?;
        Ok(())
    }

    /// The name of the Secret of the mesh's root certificate.
    #[must_use]
    pub fn root_secret(&self) -> &str {
        self.values["osm"]["caBundleSecretName"].as_str().unwrap_or(ROOT_SECRET)
    }

    fn of(secret: &Value) -> Result<Self> {
        let texts = secret_texts(secret)?;
        let text = texts.get(ENTRY).with_context(|| format!("it has no entry {ENTRY}"))?;
        serde_json::from_str(text).context("it is no record of an installation")
    }

    fn secret(&self, mesh: &str, namespace: &str) -> Result<Value> {
        let name = Self::key(mesh, namespace).name;
        Ok(json!({
            "apiVersion": "v1",
            "kind": "Secret",
            "type": TYPE,
            "metadata": {
                "name": name,
                "namespace": namespace,
                "labels": { "app.kubernetes.io/name": "openservicemesh.io", (INSTANCE): mesh },
            },
            "stringData": { (ENTRY): serde_json::to_string(self)? },
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(values: Value) -> Record {
        Record {
            version: "1".to_owned(),
            state: State::Installed,
            values,
            created_namespace: true,
            objects: vec![ObjectKey::of_namespace("n")],
        }
    }

    #[test]
    fn a_record_knows_the_secret_of_the_root_that_its_mesh_was_installed_with() {
        assert_eq!(record(json!({"osm": {"caBundleSecretName": "other"}})).root_secret(), "other");
        assert_eq!(record(Value::Null).root_secret(), ROOT_SECRET);
        let values = crate::chart::Chart::built_in().unwrap().values(&json!({})).unwrap();
        assert_eq!(values["osm"]["caBundleSecretName"], ROOT_SECRET);
    }

    #[test]
    fn a_record_is_a_secret_of_its_mesh() {
        let record = record(json!({"osm": {}}));
        let secret = record.secret("blue", "n").unwrap();
        assert_eq!(secret["metadata"]["name"], "osm-install-blue");
        let text = secret["stringData"][ENTRY].as_str().unwrap();
        assert_eq!(serde_json::from_str::<Record>(text).unwrap(), record);
    }
}
