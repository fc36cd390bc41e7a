//! Whether the API server believes the webhooks by these authorities already.

use kube::Api;
use kube::api::{DynamicObject, ListParams};
use kube::core::{ApiResource, GroupVersionKind};

use super::WebhookNames;
use super::ca_bundle::differing;
use crate::client::{ANSWER, ApiClient, bounded};

/// Whether all webhooks of a mesh's configurations are verified by these authorities. Where there is no configuration, nothing
/// has to be believed.
///
/// # Errors
/// When the API server does not say.
pub async fn are_believed(server: &ApiClient, names: &WebhookNames, pem: &str) -> Result<bool, kube::Error> {
    let kinds = [
        ("MutatingWebhookConfiguration", &names.mutating),
        ("ValidatingWebhookConfiguration", &names.validating),
    ];
    for (kind, name) in kinds {
        let kind = GroupVersionKind::gvk("admissionregistration.k8s.io", "v1", kind);
        let api: Api<DynamicObject> = Api::all_with(server.kube(), &ApiResource::from_gvk(&kind));
        // A right to list what has this name is all that the control plane has.
        let named = ListParams::default().fields(&format!("metadata.name={name}"));
        for configuration in bounded(ANSWER, api.list(&named)).await? {
            if !differing(&configuration.data, pem).is_empty() {
                return Ok(false);
            }
        }
    }
    Ok(true)
}
