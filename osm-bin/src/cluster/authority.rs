//! The root of the mesh out of its Secret, which the first controller makes.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use osm_certs::in_process::InProcessCa;
use osm_core::name::{NamespaceName, ObjectName};
use osm_k8s::ApiClient;
use osm_k8s::authority::{self, RootSecretError, RootText};

/// How often the API server is asked before this gives up, and how long is waited
/// in between: two minutes, in which an API server has started anew. The chart's startup
/// probe waits longer.
pub(crate) const TRIES: u32 = 60;
pub(crate) const PAUSE: Duration = Duration::from_secs(2);

/// The authority whose root is in this Secret.
///
/// # Errors
/// When the API server can't be asked for two minutes or refuses, and when what is
/// in the Secret is not to be used.
pub async fn open(
    server: &ApiClient,
    namespace: &NamespaceName,
    name: &ObjectName,
) -> Result<Arc<InProcessCa>> {
    let fresh = InProcessCa::ephemeral().context("making a root key")?;
    let key = fresh.root_key().context("writing down a root key")?;
    let mut tries = 0;
    let text = loop {
        let made = || RootText { certificate: fresh.root().pem().to_owned(), key: key.pem().to_owned() };
        match authority::create_or_load(server, namespace, name, made).await {
            Err(error @ RootSecretError::Server { .. }) if tries < TRIES && error.may_pass() => {
                tries += 1;
                tracing::warn!(
                    error = &error as &(dyn std::error::Error + 'static),
                    "the root of the mesh is waited for"
                );
                tokio::time::sleep(PAUSE).await;
            }
            text => break text.context("the mesh's certificate authority")?,
        }
    };
    let place = format!("Secret {namespace}/{name}");
    let authority = InProcessCa::from_pem(&text.certificate, &text.key, &place)
        .context("the mesh's certificate authority")?;
    tracing::info!(secret = %place, "the certificate authority's root was loaded");
    Ok(Arc::new(authority))
}
