//! How a proxy proves who it is to its control plane, and how it knows that one.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

/// What a proxy proves itself with. Files are read again when they are replaced by
/// a rename.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Credentials {
    /// A certificate of its own.
    Certificate {
        /// Its chain and key, in the form of [`certificate_file`].
        certificate: PathBuf,
        /// The authorities that may have signed the control plane's certificate, in the
        /// form of [`trust_file`].
        trust: PathBuf,
    },
    /// A certificate of its own that somebody else keeps fresh.
    Folder {
        /// A folder with [`CERTIFICATE_SECRET_FILE`] and [`TRUST_SECRET_FILE`] that changes as a
        /// whole, as the volumes of Kubernetes do: each change renames something in it.
        folder: PathBuf,
    },
    /// A token that somebody else keeps fresh, in the `authorization` header of the
    /// stream: the proxy holds no key.
    Token {
        /// A folder that changes as a whole, as the volumes of Kubernetes do: each change
        /// renames something in it.
        folder: PathBuf,
    },
}

/// The file of the token itself in [`Credentials::Token`]'s folder.
pub const TOKEN_FILE: &str = "token";
/// The file in the form of [`token_file`] in [`Credentials::Token`]'s folder.
pub const TOKEN_SECRET_FILE: &str = "token.json";
/// The file in the form of [`trust_file`] in the folder of [`Credentials::Token`] and
/// [`Credentials::Folder`].
pub const TRUST_SECRET_FILE: &str = "trust.json";

/// The file in the form of [`certificate_file`] in [`Credentials::Folder`]'s folder: the name that
/// Open Service Mesh gave it.
pub const CERTIFICATE_SECRET_FILE: &str = "tls_certificate_sds_secret.yaml";

const CERTIFICATE: &str = "tls_sds";
const TRUST: &str = "validation_context_sds";
const TOKEN: &str = "token_sds";

impl Credentials {
    /// The TLS settings towards a control plane of this name.
    pub(super) fn tls(&self, server_name: &str) -> Value {
        let (certificate, trust) = match self {
            Self::Certificate { certificate, trust } => {
                (vec![file_secret(CERTIFICATE, certificate, None)], file_secret(TRUST, trust, None))
            }
            Self::Folder { folder } => (
                vec![file_secret(CERTIFICATE, &folder.join(CERTIFICATE_SECRET_FILE), Some(folder))],
                file_secret(TRUST, &folder.join(TRUST_SECRET_FILE), Some(folder)),
            ),
            Self::Token { folder } => {
                (vec![], file_secret(TRUST, &folder.join(TRUST_SECRET_FILE), Some(folder)))
            }
        };
        json!({
            "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext",
            "sni": server_name,
            "common_tls_context": {
                "alpn_protocols": ["h2"],
                // Envoy's clients stop at TLS 1.2 unless told otherwise.
                "tls_params": {
                    "tls_minimum_protocol_version": "TLSv1_2",
                    "tls_maximum_protocol_version": "TLSv1_3",
                },
                "tls_certificate_sds_secret_configs": certificate,
                "combined_validation_context": {
                    // Any certificate of the mesh would do without this.
                    "default_validation_context": { "match_typed_subject_alt_names": [
                        { "san_type": "DNS", "matcher": { "exact": server_name } },
                    ] },
                    "validation_context_sds_secret_config": trust,
                },
            },
        })
    }

    /// The filters of requests to the control plane; none where TLS proves everything.
    pub(super) fn http_filters(&self) -> Vec<Value> {
        let Self::Token { folder } = self else { return vec![] };
        let credential = json!({
            "@type": "type.googleapis.com/envoy.extensions.http.injected_credentials.generic.v3.Generic",
            "credential": file_secret(TOKEN, &folder.join(TOKEN_SECRET_FILE), Some(folder)),
            "header": "authorization",
            "header_value_prefix": "Bearer ",
        });
        let injector = json!({
            "@type": "type.googleapis.com/envoy.extensions.filters.http.credential_injector.v3.CredentialInjector",
            "overwrite": true,
            "credential": {
                "name": "envoy.http.injected_credentials.generic",
                "typed_config": credential,
            },
        });
        vec![
            json!({ "name": "envoy.filters.http.credential_injector", "typed_config": injector }),
            json!({ "name": "envoy.filters.http.upstream_codec", "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.filters.http.upstream_codec.v3.UpstreamCodec",
            } }),
        ]
    }
}

fn file_secret(name: &str, path: &Path, watched: Option<&PathBuf>) -> Value {
    let mut source = json!({ "path": path.display().to_string() });
    if let Some(folder) = watched {
        source["watched_directory"] = json!({ "path": folder.display().to_string() });
    }
    json!({ "name": name, "sds_config": { "resource_api_version": "V3", "path_config_source": source } })
}

/// The file for [`Credentials::Certificate`] and [`Credentials::Folder`], of a certificate chain and its key in PEM.
#[must_use]
pub fn certificate_file(chain_pem: &str, key_pem: &str) -> Value {
    secret_file(
        CERTIFICATE,
        "tls_certificate",
        json!({
            "certificate_chain": { "inline_string": chain_pem },
            "private_key": { "inline_string": key_pem },
        }),
    )
}

/// The file of the trusted authorities, in PEM.
#[must_use]
pub fn trust_file(bundle_pem: &str) -> Value {
    secret_file(TRUST, "validation_context", json!({ "trusted_ca": { "inline_string": bundle_pem } }))
}

/// The file that says where the token is: in this folder, as [`TOKEN_FILE`].
#[must_use]
pub fn token_file(folder: &Path) -> Value {
    let path = folder.join(TOKEN_FILE).display().to_string();
    secret_file(TOKEN, "generic_secret", json!({ "secret": { "filename": path } }))
}

fn secret_file(name: &str, kind: &str, content: Value) -> Value {
    json!({ "resources": [{
        "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret",
        "name": name,
        kind: content,
    }] })
}
