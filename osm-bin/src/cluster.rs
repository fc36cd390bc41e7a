//! What a control plane does besides when it runs in a Kubernetes cluster: one file
//! for each thing.

pub mod authority;
mod pod_secrets;
pub mod reconciler;
pub(crate) mod roots;
pub mod source;
pub mod status;
mod tokens;
mod trust;
pub mod webhooks;

use osm_k8s::ApiClient;

use status::Statuses;
pub(crate) use tokens::authenticator;
use webhooks::WebhookOptions;

/// What a control plane does in a cluster.
#[derive(Debug, Clone)]
pub struct ClusterOptions {
    /// Its API server.
    pub server: ApiClient,
    /// How it answers that one; `None` is not at all.
    pub webhooks: Option<WebhookOptions>,
    /// What it writes statuses about; `None` is nothing.
    pub statuses: Option<Statuses>,
}
