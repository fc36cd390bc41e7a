//! The authorities by which the API server verifies the webhooks, in their configurations.
//! Pure; they are kept there by [`crate::reconcile`].

use k8s_openapi::ByteString;
use serde_json::{Value, json};
use tokio::sync::watch;

/// The authorities in PEM; `None` until they are known.
pub type CaPem = watch::Receiver<Option<String>>;

/// The names of the configurations.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WebhookNames {
    /// The one of the pods' webhook.
    pub mutating: String,
    /// The one of the policies' webhook.
    pub validating: String,
}

impl WebhookNames {
    /// Those of a mesh.
    #[must_use]
    pub fn of_mesh(mesh_name: &str) -> Self {
        Self {
            mutating: format!("osm-webhook-{mesh_name}"),
            validating: format!("osm-validator-mesh-{mesh_name}"),
        }
    }
}

/// A configuration whose webhooks are all verified by these authorities.
pub(crate) fn with_authorities(configuration: &Value, pem: &str) -> Value {
    let mut configuration = configuration.clone();
    for webhook in configuration["webhooks"].as_array_mut().into_iter().flatten() {
        webhook["clientConfig"]["caBundle"] = encoded(pem);
    }
    configuration
}

/// What to do so that all webhooks of a configuration are verified by these authorities.
pub(crate) fn differing(configuration: &Value, pem: &str) -> Vec<Value> {
    let wanted = encoded(pem);
    let webhooks = configuration["webhooks"].as_array().into_iter().flatten().enumerate();
    let wrong = webhooks.filter(|(_, webhook)| webhook["clientConfig"]["caBundle"] != wanted);
    wrong
        .map(|(index, _)| json!({ "op": "add", "path": format!("/webhooks/{index}/clientConfig/caBundle"), "value": wanted }))
        .collect()
}

fn encoded(pem: &str) -> Value {
    json!(ByteString(pem.as_bytes().to_vec()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_authorities_that_differ_are_written() {
        let with = |bundles: [Option<&str>; 3]| {
            let webhook =
                |bundle| json!({ "clientConfig": { "url": "https://127.0.0.1", "caBundle": bundle } });
            json!({ "webhooks": bundles.map(webhook) })
        };
        assert_eq!(differing(&with([Some("cGVt"); 3]), "pem"), Vec::<Value>::new());
        let edited = with([Some("cGVt"), Some("b2xk"), None]);
        let operations = differing(&edited, "pem");
        let paths: Vec<_> = operations.iter().filter_map(|one| one["path"].as_str()).collect();
        assert_eq!(paths, ["/webhooks/1/clientConfig/caBundle", "/webhooks/2/clientConfig/caBundle"]);
        assert_eq!(operations[1]["value"], "cGVt");
        assert_eq!(with_authorities(&edited, "pem"), with([Some("cGVt"); 3]));
    }
}
