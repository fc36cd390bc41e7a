//! What the API server takes, refuses and changes because of the webhooks.

use std::sync::Arc;

use k8s_openapi::api::admissionregistration::v1::MutatingWebhookConfiguration;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Pod};
use kube::Api;
use kube::api::{DeleteParams, PostParams};
use osm_k8s::trust_bundle::TRUST_CONFIG_MAP;
use osm_k8s::webhook::WebhookNames;
use serde_json::{Value, json};

use crate::eventually::{DEADLINE, eventually};
use crate::mesh::{Mesh, edit};

fn pod(name: &str, annotations: Value) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": { "name": name, "annotations": annotations },
        "spec": { "containers": [{
            "name": "app", "image": "app:none", "ports": [{ "name": "web", "containerPort": 8080 }],
            "readinessProbe": { "httpGet": { "path": "/", "port": "web" } },
        }] },
    })
}

/// Creates a pod until the API server asks the webhook about it, which takes a moment.
async fn injected(mesh: &Mesh, name: &str) -> Pod {
    eventually("the webhook is asked", || async {
        let pod = mesh.create_pod(pod(name, json!({})), true).await.ok()?;
        pod.metadata.labels.as_ref()?.contains_key("osm-proxy-uuid").then_some(pod)
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a Kubernetes cluster: KUBECONFIG"]
async fn a_real_api_server_takes_what_injection_makes_of_a_pod_and_a_dry_run_leaves_nothing() {
    Mesh::with("admit", |mesh: Arc<Mesh>| async move {
        let dry = injected(&mesh, "dry").await;
        let spec = dry.spec.expect("a spec");
        let names: Vec<String> = spec.init_containers.into_iter().flatten().map(|one| one.name).collect();
        assert_eq!(names, ["osm-init", "envoy"]);
        let probe = spec.containers[0].readiness_probe.clone().expect("a probe").http_get.expect("HTTP");
        assert_eq!(probe.path.as_deref(), Some("/osm-readiness-probe/app"));
        let pods: Api<Pod> = Api::namespaced(mesh.client.clone(), &mesh.shop());
        assert!(pods.list(&Default::default()).await.expect("a list").items.is_empty());

        let refused = pod("wrong", json!({ "openservicemesh.io/sidecar-injection": "perhaps" }));
        let error = mesh.create_pod(refused, false).await.expect_err("refused").to_string();
        assert!(error.contains("metadata.annotations[openservicemesh.io/sidecar-injection]"), "{error}");
        let plain = pod("plain", json!({ "openservicemesh.io/sidecar-injection": "disabled" }));
        let plain = mesh.create_pod(plain, true).await.expect("taken");
        assert_eq!(plain.spec.expect("a spec").init_containers.unwrap_or_default().len(), 0);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a Kubernetes cluster: KUBECONFIG"]
async fn a_real_api_server_refuses_what_validation_refuses_by_object_field_and_code() {
    Mesh::with("validate", |mesh: Arc<Mesh>| async move {
        injected(&mesh, "first").await;
        let mut bad = pod("bad", json!({ "openservicemesh.io/sidecar-injection": "disabled" }));
        // A label that Kubernetes allows and that names no proxy.
        bad["metadata"]["labels"] = json!({ "osm-proxy-uuid": "Not_One" });
        let error = mesh.create_pod(bad, true).await.expect_err("refused").to_string();
        let expected = format!("Pod {}/bad: metadata.labels.osm-proxy-uuid: ", mesh.shop());
        assert!(error.contains(&expected) && error.contains("(bad-proxy-uuid)"), "{error}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a Kubernetes cluster: KUBECONFIG"]
async fn authorities_are_restored_in_the_webhook_configuration_and_follow_a_new_root() {
    Mesh::with("ca", |mesh: Arc<Mesh>| async move {
        let name = WebhookNames::of_mesh(&mesh.name).mutating;
        let configurations: Api<MutatingWebhookConfiguration> = Api::all(mesh.client.clone());
        let mut edited = configurations.get(&name).await.expect("it is there");
        let bundle = |one: &mut MutatingWebhookConfiguration| {
            let webhook = one.webhooks.as_mut().and_then(|all| all.first_mut()).expect("a webhook");
            webhook.client_config.ca_bundle = None;
        };
        bundle(&mut edited);
        configurations.replace(&name, &PostParams::default(), &edited).await.expect("edited");
        eventually("the authorities are back", || async {
            (mesh.bundle_of(&name).await? == mesh.pem).then_some(())
        })
        .await;
        // Two roots, as in a rotation.
        let both = format!("{}{}", mesh.pem, mesh.pem);
        mesh.authorities.send_replace(Some(both.clone()));
        eventually("the new authorities", || async { (mesh.bundle_of(&name).await? == both).then_some(()) })
            .await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a Kubernetes cluster: KUBECONFIG"]
async fn the_trust_bundle_is_kept_in_every_namespace_of_the_mesh() {
    Mesh::with("trust", |mesh: Arc<Mesh>| async move {
        let maps: Api<ConfigMap> = Api::namespaced(mesh.client.clone(), &mesh.shop());
        let holds = |text: &'static str| {
            let maps = maps.clone();
            async move {
                let data = maps.get_opt(TRUST_CONFIG_MAP).await.ok().flatten()?.data?;
                (data.len() == 1 && data.get("ca-bundle.pem")? == text).then_some(())
            }
        };
        let files = |text: &str| Some([("ca-bundle.pem".to_owned(), text.to_owned())].into());
        mesh.files.send_replace(files("one"));
        eventually("it is written", || holds("one")).await;
        edit(&maps, TRUST_CONFIG_MAP, json!({ "data": { "ca-bundle.pem": "forged", "more": "x" } })).await;
        eventually("an edit is undone", || holds("one")).await;
        maps.delete(TRUST_CONFIG_MAP, &DeleteParams::default()).await.expect("deleted");
        eventually("it is there again", || holds("one")).await;
        mesh.files.send_replace(files("two"));
        eventually("it follows the root", || holds("two")).await;

        // A namespace that comes into the mesh later.
        let namespaces: Api<Namespace> = Api::all(mesh.client.clone());
        let late = format!("{}-late", mesh.name);
        let namespace = serde_json::from_value(json!({
            "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": late },
        }));
        let namespace: Namespace = namespace.expect("a namespace");
        namespaces.create(&PostParams::default(), &namespace).await.expect("created");
        let label = json!({ "metadata": { "labels": { "openservicemesh.io/monitored-by": mesh.name } } });
        edit(&namespaces, &late, label).await;
        let in_late: Api<ConfigMap> = Api::namespaced(mesh.client.clone(), &late);
        let arrives = eventually("it is there too", || async {
            in_late.get_opt(TRUST_CONFIG_MAP).await.ok().flatten()
        });
        // The namespace is to go whether or not it arrives.
        let there = tokio::time::timeout(DEADLINE / 2, arrives).await;
        namespaces.delete(&late, &DeleteParams::default()).await.expect("deleted");
        there.expect("in time");
    })
    .await;
}
