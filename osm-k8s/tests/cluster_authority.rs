//! The root of a mesh in a Secret of a real API server.

use std::path::PathBuf;

use futures::future::join_all;
use k8s_openapi::api::core::v1::{Namespace, Secret};
use kube::api::{Api, DeleteParams, Patch, PatchParams};
use osm_core::name::{NamespaceName, ObjectName};
use osm_k8s::ApiClient;
use osm_k8s::authority::{self, RootSecretError, RootText};
use serde_json::json;

const NAMESPACE: &str = "osm-test-authority";

fn root(number: usize) -> RootText {
    RootText { certificate: format!("certificate {number}"), key: format!("key {number}") }
}

fn names() -> (NamespaceName, ObjectName) {
    (NAMESPACE.parse().expect("a name"), "osm-ca-bundle".parse().expect("a name"))
}

#[expect(clippy::disallowed_methods, reason = "a test is told which cluster to use; no library reads this")]
fn kubeconfigs() -> Vec<PathBuf> {
    let paths = std::env::var_os("KUBECONFIG").expect("KUBECONFIG names the cluster to test with");
    std::env::split_paths(&paths).collect()
}

/// A client, with the namespace there and no Secret in it.
async fn empty() -> (kube::Client, ApiClient) {
    // The test's own requests go through a client of its own, to which ApiClient gives no access.
    let kube = kube::Client::try_default().await.expect("a cluster");
    let server = ApiClient::find(&kubeconfigs()).await.expect("a cluster");
    let namespace = json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": NAMESPACE } });
    let namespaces: Api<Namespace> = Api::all(kube.clone());
    namespaces
        .patch(NAMESPACE, &PatchParams::apply("osm-test"), &Patch::Apply(namespace))
        .await
        .expect("a namespace");
    let secrets: Api<Secret> = Api::namespaced(kube.clone(), NAMESPACE);
    let everything = kube::api::ListParams::default();
    secrets.delete_collection(&DeleteParams::default(), &everything).await.expect("no Secrets");
    (kube, server)
}

#[tokio::test]
#[ignore = "needs a Kubernetes cluster: KUBECONFIG"]
async fn controllers_that_start_at_once_get_one_root_and_an_incomplete_one_is_kept() {
    let (kube, server) = empty().await;
    let (namespace, name) = names();
    let starts =
        (0..10).map(|number| authority::create_or_load(&server, &namespace, &name, move || root(number)));
    let roots: Vec<RootText> = join_all(starts).await.into_iter().map(|root| root.expect("a root")).collect();
    let first = &roots[0];
    assert!(roots.iter().all(|root| root.key == first.key && root.certificate == first.certificate));
    let later = authority::create_or_load(&server, &namespace, &name, || panic!("there is one")).await;
    assert_eq!(later.expect("it is found").key, first.key);

    let secrets: Api<Secret> = Api::namespaced(kube.clone(), NAMESPACE);
    let without = json!({ "data": { "private.key": null } });
    secrets.patch(name.as_str(), &PatchParams::default(), &Patch::Merge(without)).await.expect("a patch");
    let error = authority::create_or_load(&server, &namespace, &name, || root(99)).await;
    assert!(matches!(error, Err(RootSecretError::Incomplete { field: "private.key", .. })), "{error:?}");
    let kept = secrets.get(name.as_str()).await.expect("it is still there").data.unwrap_or_default();
    assert_eq!(kept.keys().collect::<Vec<_>>(), ["ca.crt"]);

    let namespaces: Api<Namespace> = Api::all(kube);
    namespaces.delete(NAMESPACE, &DeleteParams::default()).await.expect("the namespace goes");
}

#[tokio::test]
#[ignore = "needs a Kubernetes cluster: KUBECONFIG"]
async fn a_namespace_that_is_not_there_is_named_with_what_to_do() {
    let (_, server) = empty().await;
    let (_, name) = names();
    let nowhere = "osm-test-nowhere".parse().expect("a name");
    let error =
        authority::create_or_load(&server, &nowhere, &name, || root(1)).await.expect_err("no namespace");
    assert_eq!(
        error.to_string(),
        "cannot create Secret osm-test-nowhere/osm-ca-bundle; create the namespace first"
    );
    assert!(!error.may_pass());
}
