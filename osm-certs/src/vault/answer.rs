//! What a server answers, as far as it is used.

use serde::de::{Deserialize, Deserializer};

use crate::secret::Secret;

/// An answer that is one.
#[derive(serde::Deserialize)]
pub(super) struct Envelope<T> {
    pub(super) data: Option<T>,
    pub(super) auth: Option<Auth>,
}

impl<T> Envelope<T> {
    /// The answer that there is nothing to say.
    pub(super) fn empty() -> Self {
        Self { data: None, auth: None }
    }
}

/// An answer that says why it is none.
#[derive(Debug, Default, serde::Deserialize)]
pub(super) struct Refusal {
    #[serde(default)]
    pub(super) errors: Vec<String>,
}

impl Refusal {
    /// Takes out what the server was told in confidence, should it quote it.
    pub(super) fn hide(&mut self, secret: &Secret) {
        let secret = secret.expose();
        for text in self.errors.iter_mut().filter(|text| !secret.is_empty() && text.contains(secret)) {
            *text = text.replace(secret, "(elided)");
        }
    }
}

/// A token and how long it lives, after a login or a renewal.
#[derive(serde::Deserialize)]
pub(super) struct Auth {
    #[serde(deserialize_with = "secret")]
    pub(super) client_token: Secret,
    /// In seconds; 0 is for ever.
    #[serde(default)]
    pub(super) lease_duration: u64,
    #[serde(default)]
    pub(super) renewable: bool,
}

/// What a token may know of itself.
#[derive(serde::Deserialize)]
pub(super) struct TokenFacts {
    /// In seconds; 0 is for ever.
    #[serde(default)]
    pub(super) ttl: u64,
    #[serde(default)]
    pub(super) renewable: bool,
}

/// A certificate, with a key where the server made that too.
#[derive(serde::Deserialize)]
pub(super) struct Certificate {
    pub(super) certificate: String,
    pub(super) issuing_ca: Option<String>,
    #[serde(default)]
    pub(super) ca_chain: Option<Vec<String>>,
    #[serde(default, deserialize_with = "maybe_secret")]
    pub(super) private_key: Option<Secret>,
}

/// An issuer of the engine.
#[derive(serde::Deserialize)]
pub(super) struct EngineIssuer {
    pub(super) certificate: String,
    #[serde(default)]
    pub(super) ca_chain: Option<Vec<String>>,
}

fn secret<'de, D: Deserializer<'de>>(from: D) -> Result<Secret, D::Error> {
    String::deserialize(from).map(Secret::new)
}

fn maybe_secret<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Secret>, D::Error> {
    Option::<String>::deserialize(from).map(|text| text.map(Secret::new))
}
