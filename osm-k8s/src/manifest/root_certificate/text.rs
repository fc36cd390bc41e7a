//! Texts that a root's provider is described by, checked while they are read.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use osm_core::diagnostic::harmless;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer};

use crate::manifest::field;

/// A text that a function accepts, and what an API server may know of that.
macro_rules! checked_text {
    ($(#[$doc:meta])* $name:ident, $longest:literal, $pattern:literal, $check:ident, $shown:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq)]
        pub struct $name(String);

        impl $name {
            /// The text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = String;

            fn from_str(text: &str) -> Result<Self, String> {
                let refuse = |reason: &str| format!("{}{reason}", $shown(text));
                match text.len() {
                    0 => return Err("it is empty; leave the field out, or write a value".to_owned()),
                    length if length > $longest => {
                        return Err(refuse(concat!("it is longer than ", $longest, " bytes")));
                    }
                    _ => {}
                }
                $check(text).map_err(refuse)?;
                Ok(Self(text.to_owned()))
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                field::parsed(deserializer)
            }
        }

        impl JsonSchema for $name {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($name).into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({ "type": "string", "minLength": 1, "maxLength": $longest, "pattern": $pattern })
            }
        }
    };
}

checked_text! {
    /// A name in the path of a server: letters, digits, `-`, `_` and `.`.
    Segment, 253, "^[A-Za-z0-9_-][A-Za-z0-9_.-]*$", check_segment, beginning
}

checked_text! {
    /// Names in the path of a server, with slashes between them.
    SegmentPath, 253, "^[A-Za-z0-9_-][A-Za-z0-9_.-]*(/[A-Za-z0-9_-][A-Za-z0-9_.-]*)*$", check_path, beginning
}

checked_text! {
    /// A host: a DNS name or an address.
    Host, 253, "^[A-Za-z0-9:]([A-Za-z0-9_.:-]*[A-Za-z0-9:])?$", check_host, beginning
}

checked_text! {
    /// The key of a value in a Secret.
    DataKey, 253, "^[A-Za-z0-9_.-]+$", check_key, beginning
}

checked_text! {
    /// A kind of object.
    KindName, 63, "^[A-Za-z][A-Za-z0-9]*$", check_kind, beginning
}

checked_text! {
    /// A word that a server knows somebody by.
    Identifier, 253, "^[!-~]+$", check_identifier, beginning
}

checked_text! {
    /// Certificates as text.
    PemText, 262_144, "-----BEGIN CERTIFICATE-----", check_pem, nothing
}

/// A text in a message about it: how it begins.
fn beginning(text: &str) -> String {
    format!("`{}`: ", harmless(text, 80))
}

/// The same of a text that may hold a secret by mistake.
fn nothing(_: &str) -> &'static str {
    ""
}

fn check_segment(text: &str) -> Result<(), &'static str> {
    let is_known = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    match !text.is_empty() && !text.starts_with('.') && text.bytes().all(is_known) {
        true => Ok(()),
        false => Err("a name has letters, digits, `-`, `_` and `.`, and begins with none of `/` and `.`"),
    }
}

fn check_path(text: &str) -> Result<(), &'static str> {
    text.split('/').try_for_each(check_segment)
}

fn check_host(text: &str) -> Result<(), &'static str> {
    let is_known = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(is_known)
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    match text.parse::<IpAddr>().is_ok() || text.split('.').all(is_label) {
        true => Ok(()),
        false => Err("write a DNS name or an address, without protocol, port and path"),
    }
}

fn check_key(text: &str) -> Result<(), &'static str> {
    let is_known = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    match text.bytes().all(is_known) && !matches!(text, "." | "..") {
        true => Ok(()),
        false => Err("a key of a Secret has letters, digits, `-`, `_` and `.`"),
    }
}

fn check_kind(text: &str) -> Result<(), &'static str> {
    match text.starts_with(|first: char| first.is_ascii_alphabetic())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric())
    {
        true => Ok(()),
        false => Err("a kind has letters and digits, as `Issuer` or `ClusterIssuer`"),
    }
}

fn check_identifier(text: &str) -> Result<(), &'static str> {
    match text.bytes().all(|byte| byte.is_ascii_graphic()) {
        true => Ok(()),
        false => Err("it has characters that cannot be seen, or are not ASCII"),
    }
}

fn check_pem(text: &str) -> Result<(), &'static str> {
    if text.contains("PRIVATE KEY-----") {
        return Err("a private key must not stand here: whoever reads the object has it. Make another one");
    }
    match text.contains("-----BEGIN CERTIFICATE-----") {
        true => Ok(()),
        false => Err("there is no certificate in PEM in it"),
    }
}

impl fmt::Display for Host {
    /// As it stands in an address.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.contains(':') {
            true => write!(f, "[{}]", self.0),
            false => f.write_str(&self.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_that_lead_elsewhere_are_refused() {
        for good in ["pki", "pki_int-2", "a.b"] {
            assert!(good.parse::<Segment>().is_ok(), "{good}");
        }
        for bad in ["", "a/b", "..", ".a", "a b", "a?b", "ä", "a\n", &"x".repeat(254)] {
            assert!(bad.parse::<Segment>().is_err(), "{bad:?}");
        }
        assert!("clusters/one/pki".parse::<SegmentPath>().is_ok());
        for bad in ["/pki", "pki/", "pki//x", "pki/../sys"] {
            assert!(bad.parse::<SegmentPath>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_host_has_no_protocol_port_or_path() {
        for good in ["vault", "vault.vault.svc.cluster.local", "10.0.0.1", "::1", "Vault_1.example"] {
            assert!(good.parse::<Host>().is_ok(), "{good}");
        }
        for bad in ["https://vault", "vault:8200", "vault/x", "user@vault", "a..b", "-a", "[::1]", "a b"] {
            assert!(bad.parse::<Host>().is_err(), "{bad:?}");
        }
        let shown = |host: &str| host.parse::<Host>().expect("a host").to_string();
        assert_eq!((shown("fd00::1"), shown("vault")), ("[fd00::1]".to_owned(), "vault".to_owned()));
    }

    #[test]
    fn a_private_key_is_refused_and_not_repeated() {
        let text = "-----BEGIN PRIVATE KEY-----\nMIGHAgEAMBMGByqGSM49AgEG\n-----END PRIVATE KEY-----\n";
        let error = text.parse::<PemText>().expect_err("a key");
        assert!(error.contains("must not stand here") && !error.contains("MIGH"), "{error}");
    }

    #[test]
    fn a_message_shows_the_beginning_of_a_text_only() {
        let error = "?".repeat(10_000).parse::<Identifier>().expect_err("too long");
        assert!(error.len() < 200, "{error}");
    }
}
