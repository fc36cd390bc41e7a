//! Where the root of a mesh is kept in a cluster: one Secret, made by whoever
//! is first.
//!
//! What is in it is another crate's business; here it is text under two names.
//! Controllers that start at the same moment all get the same root: the API server
//! lets only one of them create the Secret, and the others read what it wrote.

use std::collections::BTreeMap;

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use kube::api::{Api, ObjectMeta, PostParams};
use osm_core::name::{NamespaceName, ObjectName};
use thiserror::Error;

use crate::client::{ANSWER, ApiClient, bounded};

/// Under which name the Secret has the root certificate, PEM: that of Open Service Mesh.
pub const CERTIFICATE_FIELD: &str = "ca.crt";
/// Under which name the Secret has the private key, PEM: that of Open Service Mesh.
pub const KEY_FIELD: &str = "private.key";
/// What the Secret is part of.
const LABEL: (&str, &str) = ("app.kubernetes.io/name", "openservicemesh.io");

/// A root on its way from the API server or to it. Nothing of it is wiped: the client of the
/// API server holds copies of its own.
pub struct RootText {
    /// The certificate, PEM.
    pub certificate: String,
    /// The private key, PEM.
    pub key: String,
}

impl std::fmt::Debug for RootText {
    /// Leaves the key out.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RootText").field("certificate", &self.certificate).finish_non_exhaustive()
    }
}

/// Why there is no root.
#[derive(Debug, Error)]
pub enum RootSecretError {
    /// The API server can't be asked, or does not let this be done. Trying again may help.
    #[error("cannot {action} Secret {secret}{}", advice(source))]
    Server {
        /// What was tried.
        action: &'static str,
        /// Which Secret, with its namespace.
        secret: String,
        /// What the API server said.
        #[source]
        source: Box<kube::Error>,
    },
    /// The Secret is there and is not one of a root: a person has to decide.
    #[error("Secret {secret} has no {field}; restore it from a copy, or delete it to have a new root made")]
    Incomplete {
        /// Which Secret, with its namespace.
        secret: String,
        /// What it lacks.
        field: &'static str,
    },
}

impl RootSecretError {
    /// Whether the same may work later without anybody doing anything: the API server
    /// is away, too busy or starting. One that has just started refuses what it will allow as soon as it has
    /// read who may do what, and one that has just been told of a right may not know of it yet.
    #[must_use]
    pub fn may_pass(&self) -> bool {
        match self {
            Self::Server { source, .. } => match source.as_ref() {
                kube::Error::Api(status) => matches!(status.code, 401 | 403 | 429 | 500..),
                _ => true,
            },
            Self::Incomplete { .. } => false,
        }
    }
}

/// Reads the root of a Secret, if there is one.
///
/// # Errors
/// When the API server can't be asked or refuses, and when the Secret lacks a part.
pub async fn load(
    server: &ApiClient,
    namespace: &NamespaceName,
    name: &ObjectName,
) -> Result<Option<RootText>, RootSecretError> {
    let api: Api<Secret> = Api::namespaced(server.kube(), namespace.as_str());
    let place = format!("{namespace}/{name}");
    match bounded(ANSWER, api.get_opt(name.as_str())).await {
        Ok(secret) => secret.map(|secret| read(secret, place)).transpose(),
        Err(source) => {
            Err(RootSecretError::Server { action: "read", secret: place, source: Box::new(source) })
        }
    }
}

/// Reads the root of a Secret, or makes one and creates the Secret if there is none.
///
/// `make` is called at most once, and only when there is no Secret. What it made
/// is thrown away when somebody else was faster.
///
/// # Errors
/// When the API server can't be asked or refuses, and when the Secret lacks a part.
/// Nothing that is there is ever overwritten.
pub async fn create_or_load(
    server: &ApiClient,
    namespace: &NamespaceName,
    name: &ObjectName,
    make: impl FnOnce() -> RootText,
) -> Result<RootText, RootSecretError> {
    let api: Api<Secret> = Api::namespaced(server.kube(), namespace.as_str());
    let place = format!("{namespace}/{name}");
    let failed = |action| {
        let secret = place.clone();
        move |source| RootSecretError::Server { action, secret, source: Box::new(source) }
    };
    if let Some(text) = load(server, namespace, name).await? {
        return Ok(text);
    }
    let wanted = secret(namespace, name, make());
    match bounded(ANSWER, api.create(&PostParams::default(), &wanted)).await {
        Ok(created) => read(created, place),
        Err(kube::Error::Api(status)) if status.is_already_exists() => {
            let theirs = bounded(ANSWER, api.get(name.as_str())).await.map_err(failed("read"))?;
            read(theirs, place)
        }
        Err(error) => Err(failed("create")(error)),
    }
}

fn secret(namespace: &NamespaceName, name: &ObjectName, root: RootText) -> Secret {
    let data = [(CERTIFICATE_FIELD, root.certificate), (KEY_FIELD, root.key)];
    Secret {
        metadata: ObjectMeta {
            name: Some(name.to_string()),
            namespace: Some(namespace.to_string()),
            labels: Some(BTreeMap::from([(LABEL.0.to_owned(), LABEL.1.to_owned())])),
            ..ObjectMeta::default()
        },
        type_: Some("Opaque".to_owned()),
        data: Some(
            data.map(|(field, text)| (field.to_owned(), ByteString(text.into_bytes()))).into_iter().collect(),
        ),
        ..Secret::default()
    }
}

fn read(secret: Secret, place: String) -> Result<RootText, RootSecretError> {
    let mut data = secret.data.unwrap_or_default();
    let mut take = |field: &'static str| {
        let text = data.remove(field).and_then(|bytes| String::from_utf8(bytes.0).ok());
        text.filter(|text| !text.is_empty())
            .ok_or_else(|| RootSecretError::Incomplete { secret: place.clone(), field })
    };
    Ok(RootText { certificate: take(CERTIFICATE_FIELD)?, key: take(KEY_FIELD)? })
}

/// What to do about what the API server said, where that is known.
fn advice(source: &kube::Error) -> &'static str {
    match source {
        kube::Error::Api(status) if status.is_forbidden() => {
            "; let the service account of the control plane get and create Secrets in its namespace"
        }
        kube::Error::Api(status) if status.is_not_found() => "; create the namespace first",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn root(certificate: &str, key: &str) -> RootText {
        RootText { certificate: certificate.to_owned(), key: key.to_owned() }
    }

    fn written(root: RootText) -> Secret {
        let (namespace, name) = ("osm-system".parse(), "osm-ca-bundle".parse());
        secret(&namespace.expect("a name"), &name.expect("a name"), root)
    }

    #[test]
    fn what_is_written_is_read() {
        let read = read(written(root("a certificate", "a key")), "osm-system/osm-ca-bundle".to_owned());
        let read = read.expect("it is whole");
        assert_eq!((read.certificate.as_str(), read.key.as_str()), ("a certificate", "a key"));
    }

    #[test]
    fn a_secret_that_lacks_a_part_is_named_with_what_to_do() {
        for (kept, missing) in [(root("", "key"), "ca.crt"), (root("certificate", ""), "private.key")] {
            let error =
                read(written(kept), "osm-system/osm-ca-bundle".to_owned()).expect_err("it lacks a part");
            let text = error.to_string();
            assert!(
                text.starts_with(&format!("Secret osm-system/osm-ca-bundle has no {missing}; ")),
                "{text}"
            );
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_server_that_takes_a_question_and_does_not_answer_may_be_asked_again() {
        let silent = crate::testing::silent_server();
        let (namespace, name) = ("osm-system".parse(), "osm-ca-bundle".parse());
        let (namespace, name) = (namespace.expect("a name"), name.expect("a name"));
        let made = || root("a certificate", "a key");
        let error = create_or_load(&silent, &namespace, &name, made).await.expect_err("no answer");
        assert!(error.may_pass(), "{error}");
    }

    /// I11: nothing of a root's key shows in debug output.
    #[test]
    fn i11_debug_output_shows_no_root_key() {
        assert!(!format!("{:?}", root("certificate", "secret-key")).contains("secret-key"));
    }
}
