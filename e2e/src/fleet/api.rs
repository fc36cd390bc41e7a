//! Writes the objects of a fleet into an API server, many at a time.

use std::sync::Arc;

use anyhow::{Context, Result};
use futures::stream::{self, StreamExt, TryStreamExt};
use osm_core::model::MeshObject;
use osm_k8s::ApiClient;
use osm_k8s::objects::{ObjectKey, Objects};
use serde_json::{Value, json};

use super::manifests::of_object;
use crate::api_server::{ApiServer, START};

/// How many requests are on their way at once.
const AT_ONCE: usize = 32;
/// As long as the configuration that a real sidecar is given in its arguments.
const BOOTSTRAP: usize = 6_000;
/// Who writes.
const MANAGER: &str = "osm-fleet";

/// The way to an API server. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Api(Arc<Objects>);

impl Api {
    /// The way to a server.
    pub(super) async fn new(server: &ApiServer) -> Result<Self> {
        let client = ApiClient::find(&[server.kubeconfig()]).await.context("the way to the API server")?;
        Ok(Self(Arc::new(Objects::new(&client, MANAGER))))
    }

    /// Makes these kinds, and waits until they are served.
    pub(super) async fn define(&self, definitions: Vec<Value>) -> Result<()> {
        let keys: Result<Vec<ObjectKey>, _> = definitions.iter().map(ObjectKey::of).collect();
        self.create(definitions).await?;
        Ok(self.0.ready(&keys?, START, |_| {}).await?)
    }

    /// Makes these objects, many at a time, in no order.
    pub(super) async fn create(&self, objects: Vec<Value>) -> Result<()> {
        stream::iter(objects)
            .map(|object| self.create_one(object))
            .buffer_unordered(AT_ONCE)
            .try_for_each(|()| async { Ok(()) })
            .await
    }

    /// Makes objects what they are to be now, one after the other.
    pub(super) async fn change(&self, objects: &[MeshObject]) -> Result<()> {
        for object in objects {
            let object = as_server_takes_it(of_object(object).context("a kind that a fleet has")?);
            match self.0.merge(&ObjectKey::of(&object)?, &object).await {
                Err(error) if error.is_not_found() => self.create_one(object).await?,
                merged => merged?,
            }
        }
        Ok(())
    }

    /// An object, if there is one.
    pub(super) async fn get(&self, key: &ObjectKey) -> Result<Option<Value>> {
        Ok(self.0.get(key).await?)
    }

    /// Gives a namespace annotations.
    pub(super) async fn annotate(&self, namespace: &str, annotations: &Value) -> Result<()> {
        let fields = json!({ "metadata": { "annotations": annotations } });
        Ok(self.0.merge(&ObjectKey::of_namespace(namespace), &fields).await?)
    }

    async fn create_one(&self, object: Value) -> Result<()> {
        self.0.create_if_absent(&object).await?;
        // A status is never part of what is made.
        let Some(status) = object.get("status") else { return Ok(()) };
        Ok(self.0.merge_status(&ObjectKey::of(&object)?, status).await?)
    }
}

/// What an API server insists on, and what a pod of a mesh has besides what a mesh reads.
pub(super) fn as_server_takes_it(mut object: Value) -> Value {
    match object["kind"].as_str() {
        Some("Service") => object["spec"]["clusterIP"] = object["spec"]["clusterIPs"][0].clone(),
        Some("Pod") => {
            object["spec"]["nodeName"] = "nowhere".into();
            if let Some(containers) = object["spec"]["containers"].as_array_mut() {
                containers.push(json!({
                    "name": "sidecar", "image": "envoy",
                    "args": ["--config-yaml", "x".repeat(BOOTSTRAP)],
                }));
            }
            object["status"]["phase"] = "Running".into();
            object["status"]["podIP"] = object["status"]["podIPs"][0]["ip"].clone();
        }
        _ => {}
    }
    object
}

#[cfg(test)]
mod tests {
    use osm_core::testing::Fleet;

    use super::*;

    #[test]
    fn a_pod_is_as_large_as_one_with_a_sidecar_and_has_its_address_in_both_forms() {
        let manifest = of_object(&Fleet::server(0, 0).into()).expect("a kind of the fleet");
        let pod = as_server_takes_it(manifest);
        assert!(pod.to_string().len() > BOOTSTRAP);
        assert_eq!(pod["status"]["podIP"], pod["status"]["podIPs"][0]["ip"]);
        assert!(pod["status"]["podIP"].is_string(), "{pod}");
    }
}
