//! Tokens that a real API server makes and reviews.

use std::sync::Arc;

use k8s_openapi::api::authentication::v1::{BoundObjectReference, TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::{Pod, ServiceAccount};
use kube::Api;
use kube::api::{DeleteParams, PostParams};
use osm_k8s::ApiClient;
use osm_k8s::injector::TOKEN_AUDIENCE;
use osm_k8s::token_review::{ReviewError, TokenReviews};
use serde_json::json;

use crate::eventually::eventually;
use crate::mesh::Mesh;

/// A token of the account `default`, for this audience, bound to this pod if there is one.
async fn token(mesh: &Mesh, audience: &str, pod: Option<&Pod>) -> String {
    let bound = pod.map(|pod| BoundObjectReference {
        api_version: Some("v1".to_owned()),
        kind: Some("Pod".to_owned()),
        name: pod.metadata.name.clone(),
        uid: pod.metadata.uid.clone(),
    });
    let spec = TokenRequestSpec {
        audiences: vec![audience.to_owned()],
        bound_object_ref: bound,
        expiration_seconds: Some(600),
    };
    let request = TokenRequest { spec, ..TokenRequest::default() };
    let accounts: Api<ServiceAccount> = Api::namespaced(mesh.client.clone(), &mesh.shop());
    let made = accounts.create_token_request("default", &PostParams::default(), &request).await;
    made.expect("a token").status.expect("a token").token
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a Kubernetes cluster: KUBECONFIG"]
async fn a_token_is_believed_for_its_pod_and_audience_and_no_longer_than_the_pod_is_there() {
    Mesh::with("tokens", |mesh: Arc<Mesh>| async move {
        let reviews = || TokenReviews::new(ApiClient::from(mesh.client.clone()), TOKEN_AUDIENCE);
        let pod = json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": { "name": "till", "annotations": { "openservicemesh.io/sidecar-injection": "disabled" } },
            // It is never placed: it needs no image.
            "spec": { "nodeSelector": { "no-such-node": "yes" }, "containers": [{ "name": "app", "image": "none" }] },
        });
        let pod = mesh.create_pod(pod, false).await.expect("created");
        let good = token(&mesh, TOKEN_AUDIENCE, Some(&pod)).await;
        let owner = reviews().review(&good).await.expect("believed");
        assert_eq!(owner.identity.to_string(), format!("{}/default", mesh.shop()));
        assert_eq!((owner.pod.as_str(), Some(owner.pod_uid)), ("till", pod.metadata.uid.clone()));

        let other = token(&mesh, "https://kubernetes.default.svc", Some(&pod)).await;
        assert!(matches!(reviews().review(&other).await, Err(ReviewError::Invalid(_))));
        let unbound = token(&mesh, TOKEN_AUDIENCE, None).await;
        assert!(matches!(reviews().review(&unbound).await, Err(ReviewError::Useless(_))));
        let mut forged = good.clone();
        forged.replace_range(good.len() - 8.., "AAAAAAAA");
        let refused = reviews().review(&forged).await.expect_err("refused");
        assert!(matches!(refused, ReviewError::Invalid(_)), "{refused}");
        assert!(!format!("{refused:?}").contains(&good[..40]), "nothing of the token is told");

        let pods: Api<Pod> = Api::namespaced(mesh.client.clone(), &mesh.shop());
        pods.delete("till", &DeleteParams::default().grace_period(0)).await.expect("deleted");
        eventually("the token of a pod that is gone is not believed", || async {
            reviews().review(&good).await.err()
        })
        .await;
    })
    .await;
}
