//! One value of a Secret.

use k8s_openapi::api::core::v1::Secret;
use kube::api::Api;
use osm_core::model::SecretEntry;
use thiserror::Error;

use crate::client::{ANSWER, ApiClient, bounded};

/// The largest value that is taken, in bytes.
const MAX_VALUE: usize = 256 * 1024;

/// Why there is no value.
#[derive(Debug, Error)]
pub enum SecretValueError {
    /// The API server can't be asked, or does not let it be read. Trying again may help.
    #[error("{key} can't be read{}", advice(source))]
    Server {
        /// Which one.
        key: SecretEntry,
        /// What the API server said.
        #[source]
        source: Box<kube::Error>,
    },
    /// There is none, or it is of no use: a person has to write it.
    #[error("{key} {problem}")]
    Missing {
        /// Which one.
        key: SecretEntry,
        /// What is wrong.
        problem: &'static str,
    },
}

/// The label of Secrets whose values may be shown to a Vault server as proof. Who may write a MeshRootCertificate says which server
/// that is, and must not be able to have any other Secret of the control plane's sent there.
pub const PROOF: &str = "openservicemesh.io/vault-proof";

/// What a value is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Purpose {
    /// It is read here as certificates, and shown to nobody.
    Certificates,
    /// It is shown to a Vault server: its Secret has to have the label [`PROOF`].
    Proof,
}

/// Reads a value of a Secret.
///
/// # Errors
/// When it can't be read, is missing, empty, far too large, or of a Secret that is not for this.
pub async fn read(
    server: &ApiClient,
    key: &SecretEntry,
    purpose: Purpose,
) -> Result<Vec<u8>, SecretValueError> {
    let missing = |problem| SecretValueError::Missing { key: key.clone(), problem };
    let api: Api<Secret> = Api::namespaced(server.kube(), key.secret.namespace.as_str());
    let read = bounded(ANSWER, api.get_opt(key.secret.name.as_str())).await;
    let read =
        read.map_err(|source| SecretValueError::Server { key: key.clone(), source: Box::new(source) })?;
    let secret = read.ok_or_else(|| missing("is not there: make the Secret"))?;
    let is_proof = secret.metadata.labels.as_ref().is_some_and(|labels| labels.contains_key(PROOF));
    if purpose == Purpose::Proof && !is_proof {
        return Err(missing(
            "is not shown to a Vault server: say that it may be, by the label openservicemesh.io/vault-proof=true of its Secret",
        ));
    }
    let value = secret.data.unwrap_or_default().remove(&key.key);
    let value = value.ok_or_else(|| missing("is not there: the Secret has no such key"))?.0;
    match value.len() {
        0 => Err(missing("is empty")),
        length if length > MAX_VALUE => Err(missing("is larger than 256 KiB")),
        _ => Ok(value),
    }
}

/// What to do about what the API server said, where that is known.
fn advice(source: &kube::Error) -> &'static str {
    match source {
        kube::Error::Api(status) if status.is_forbidden() => {
            ": let the service account of the control plane get it, which the chart does in its own namespace"
        }
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use http::StatusCode;
    use serde_json::json;

    use super::*;
    use crate::testing::{Answer, server};

    fn key() -> SecretEntry {
        SecretEntry { secret: "osm-system/vault".parse().expect("a name"), key: "token".to_owned() }
    }

    async fn said(answer: impl Fn() -> Answer + Send + Sync + 'static) -> Result<Vec<u8>, String> {
        let (server, _) = server(move |_| answer());
        read(&server, &key(), Purpose::Certificates).await.map_err(|error| error.to_string())
    }

    #[tokio::test]
    async fn a_value_is_read_and_what_is_missing_is_named() {
        let secret =
            |data: serde_json::Value| Answer::ok(json!({ "metadata": { "name": "vault" }, "data": data }));
        assert_eq!(said(move || secret(json!({ "token": "czEyMw==" }))).await, Ok(b"s123".to_vec()));
        for (data, problem) in [(json!({}), "has no such key"), (json!({ "token": "" }), "is empty")] {
            let error = said(move || secret(data.clone())).await.expect_err("no value");
            assert!(
                error.starts_with("token of Secret osm-system/vault") && error.contains(problem),
                "{error}"
            );
        }
        let error = said(|| Answer::refusal(StatusCode::NOT_FOUND)).await.expect_err("no Secret");
        assert!(error.contains("make the Secret"), "{error}");
        let error = said(|| Answer::refusal(StatusCode::FORBIDDEN)).await.expect_err("not allowed");
        assert!(error.contains("let the service account"), "{error}");
    }

    #[tokio::test]
    async fn what_does_not_say_that_it_is_a_proof_is_shown_to_nobody() {
        for (labels, is_shown) in [(json!({}), false), (json!({ PROOF: "true" }), true)] {
            let secret =
                json!({ "metadata": { "name": "vault", "labels": labels }, "data": { "token": "czEyMw==" } });
            let (server, _) = server(move |_| Answer::ok(secret.clone()));
            let read = read(&server, &key(), Purpose::Proof).await;
            assert_eq!(read.is_ok(), is_shown);
            if let Err(error) = read {
                assert!(error.to_string().contains("label openservicemesh.io/vault-proof=true"), "{error}");
            }
        }
    }
}
