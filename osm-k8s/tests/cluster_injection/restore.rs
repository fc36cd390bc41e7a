//! What a real API server has after somebody has edited or deleted what was installed.

use std::future::Future;
use std::sync::Arc;

use k8s_openapi::api::admissionregistration::v1::ValidatingWebhookConfiguration;
use k8s_openapi::api::rbac::v1::ClusterRole;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{DeleteParams, PostParams};
use kube::{Api, Client, ResourceExt};
use osm_k8s::ApiClient;
use osm_k8s::metrics::Metrics;
use osm_k8s::reconcile::{Installation, Reconciler, VALUES_ANNOTATION, VERSION_LABEL};
use osm_k8s::webhook::WebhookNames;
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::eventually::eventually;
use crate::mesh::{connect, edit};

const VERSION: &str = "1.2.0";
const VALUES: &str = "timeout=20";

/// What a test has installed, and two replicas that keep it.
struct Installed {
    name: String,
    roles: Api<ClusterRole>,
    webhooks: Api<ValidatingWebhookConfiguration>,
    definitions: Api<CustomResourceDefinition>,
    metrics: Metrics,
}

impl Installed {
    /// Installs it, runs a test with it, and takes it away, also when the test fails.
    async fn with<F: Future<Output = ()> + Send + 'static>(
        what: &str,
        test: impl FnOnce(Arc<Self>) -> F + Send + 'static,
    ) {
        let client = connect().await.0;
        let name = format!("restore-{what}-{}", std::process::id());
        let (roles, webhooks) = (Api::all(client.clone()), Api::all(client.clone()));
        let definitions = Api::all(client.clone());
        let installed = Arc::new(Self { name, roles, webhooks, definitions, metrics: Metrics::default() });
        let replicas = installed.start(&client).await;
        let ended = tokio::spawn(test(Arc::clone(&installed))).await;
        drop(replicas);
        installed.clean_up().await;
        ended.expect("the test passes");
    }

    async fn start(&self, client: &Client) -> JoinSet<()> {
        let role = json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "rules": [],
            "metadata": {
                "name": self.name, "labels": { (VERSION_LABEL): VERSION },
                "annotations": { (VALUES_ANNOTATION): VALUES },
            },
        });
        let role: ClusterRole = serde_json::from_value(role).expect("a role");
        self.roles.create(&PostParams::default(), &role).await.expect("it is created");
        // Nothing is there yet: that is as if it had been deleted.
        let mut replicas = JoinSet::new();
        for _ in 0..2 {
            let (_, authorities) = watch::channel(Some("pem".to_owned()));
            let (server, names) = (ApiClient::from(client.clone()), WebhookNames::of_mesh(&self.name));
            let reconciler = Reconciler::new(server, names, authorities, self.metrics.clone());
            let objects = vec![self.wanted_webhooks(), self.wanted_definition()];
            let (cluster_role, version) = (self.name.clone(), VERSION.to_owned());
            let installation = Installation { cluster_role, version, values: VALUES.to_owned(), objects };
            replicas.spawn(reconciler.restoring(installation).run());
        }
        eventually("the webhooks are there", || self.has_webhooks(1)).await;
        eventually("the kind is there", || self.has_definition(1)).await;
        replicas
    }

    fn webhooks_name(&self) -> String {
        WebhookNames::of_mesh(&self.name).validating
    }

    fn definition_name(&self) -> String {
        format!("tills.{}.example.org", self.name)
    }

    /// It asks about nothing that is anywhere.
    fn wanted_webhooks(&self) -> Value {
        json!({
            "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingWebhookConfiguration",
            "metadata": { "name": self.webhooks_name(), "labels": { (VERSION_LABEL): VERSION } },
            "webhooks": [{
                "name": "nothing.example.org", "admissionReviewVersions": ["v1"], "sideEffects": "None",
                "clientConfig": { "service": { "name": "nothing", "namespace": "default", "port": 9090 } },
                "rules": [{
                    "apiGroups": [format!("{}.example.org", self.name)], "apiVersions": ["v1"],
                    "operations": ["CREATE"], "resources": ["nothing"],
                }],
            }],
        })
    }

    fn wanted_definition(&self) -> Value {
        let schema = json!({
            "type": "object",
            "properties": { "spec": { "type": "object", "properties": { "size": { "type": "integer", "minimum": 1.0 } } } },
        });
        json!({
            "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
            "metadata": { "name": self.definition_name(), "labels": { (VERSION_LABEL): VERSION } },
            "spec": {
                "group": format!("{}.example.org", self.name), "scope": "Namespaced",
                "names": { "kind": "Till", "plural": "tills" },
                "versions": [{
                    "name": "v1", "served": true, "storage": true, "schema": { "openAPIV3Schema": schema },
                    "subresources": { "status": {} },
                }],
            },
        })
    }

    /// Whether the webhooks are as they were installed, after so many writes of anybody.
    async fn has_webhooks(&self, writes: i64) -> Option<()> {
        let found = self.webhooks.get_opt(&self.webhooks_name()).await.ok()??;
        let webhook = found.webhooks.as_ref()?.first()?;
        let is_right = webhook.failure_policy.as_deref() == Some("Fail")
            && webhook.client_config.ca_bundle.as_ref()?.0 == b"pem"
            && found.labels().get(VERSION_LABEL).is_some_and(|version| version == VERSION)
            && found.owner_references().first()?.name == self.name;
        (is_right && found.metadata.generation == Some(writes)).then_some(())
    }

    async fn has_definition(&self, writes: i64) -> Option<()> {
        let found = self.definitions.get_opt(&self.definition_name()).await.ok()??;
        let conditions = found.status.as_ref()?.conditions.as_ref()?;
        let is_established = conditions.iter().any(|one| one.type_ == "Established" && one.status == "True");
        let is_right =
            found.spec.versions.len() == 1 && is_established && found.owner_references().is_empty();
        (is_right && found.metadata.generation == Some(writes)).then_some(())
    }

    /// How many times the replicas have restored something of this kind.
    fn restored(&self, kind: &str) -> u32 {
        let mut registry = prometheus_client::registry::Registry::default();
        self.metrics.register(&mut registry);
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).expect("it can be written");
        let beginning = format!("osm_reconciliation_total{{kind=\"{kind}\"}} ");
        let count = text.lines().find_map(|line| line.strip_prefix(&beginning));
        count.map_or(0, |count| count.parse().expect("a number"))
    }

    async fn clean_up(&self) {
        let delete = DeleteParams::default();
        // What is gone already needs no deletion.
        drop(self.roles.delete(&self.name, &delete).await);
        drop(self.webhooks.delete(&self.webhooks_name(), &delete).await);
        drop(self.definitions.delete(&self.definition_name(), &delete).await);
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a Kubernetes cluster: KUBECONFIG"]
async fn what_was_installed_is_restored_once_when_it_is_edited_or_deleted() {
    Installed::with("edit", |installed: Arc<Installed>| async move {
        let (webhooks, definitions) = (&installed.webhooks, &installed.definitions);
        let name = installed.webhooks_name();
        let mut edited = webhooks.get(&name).await.expect("it is there");
        edited.webhooks.as_mut().expect("webhooks")[0].failure_policy = Some("Ignore".to_owned());
        webhooks.replace(&name, &PostParams::default(), &edited).await.expect("edited");
        // The first write, the edit, and one write of one of both replicas.
        eventually("the edit is undone", || installed.has_webhooks(3)).await;
        webhooks.delete(&name, &DeleteParams::default()).await.expect("deleted");
        eventually("it is there again", || installed.has_webhooks(1)).await;

        let name = installed.definition_name();
        let second = json!([
            { "op": "add", "path": "/spec/versions/-", "value": {
                "name": "v2", "served": true, "storage": false,
                "schema": { "openAPIV3Schema": { "type": "object", "x-kubernetes-preserve-unknown-fields": true } },
            } },
        ]);
        let second: json_patch::Patch = serde_json::from_value(second).expect("a patch");
        let patch = kube::api::Patch::Json::<()>(second);
        definitions.patch(&name, &Default::default(), &patch).await.expect("edited");
        eventually("the edit is undone", || installed.has_definition(3)).await;
        definitions.delete(&name, &DeleteParams::default()).await.expect("deleted");
        eventually("the kind is there again", || installed.has_definition(1)).await;
        // At rest nothing was restored: what the API server adds to an object is no edit. Both replicas
        // may have tried each time.
        for kind in ["ValidatingWebhookConfiguration", "CustomResourceDefinition"] {
            let restored = installed.restored(kind);
            assert!((3..=6).contains(&restored), "{kind}: {restored}");
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a Kubernetes cluster: KUBECONFIG"]
async fn what_was_restored_goes_with_the_installation_and_does_not_come_back() {
    Installed::with("gone", |installed: Arc<Installed>| async move {
        let name = installed.webhooks_name();
        // As a removal does it that takes the webhooks first: they may come back before the rest is gone.
        installed.webhooks.delete(&name, &DeleteParams::default()).await.expect("deleted");
        eventually("they are there again", || installed.has_webhooks(1)).await;
        installed.roles.delete(&installed.name, &DeleteParams::default()).await.expect("deleted");
        eventually("they are collected", || async {
            installed.webhooks.get_opt(&name).await.ok()?.is_none().then_some(())
        })
        .await;
        // What is done about that is over when a later edit of another object was seen and left.
        let label = json!({ "metadata": { "labels": { (VERSION_LABEL): null } } });
        edit(&installed.definitions, &installed.definition_name(), label).await;
        let restored = installed.restored("ValidatingWebhookConfiguration");
        assert!(installed.webhooks.get_opt(&name).await.expect("an answer").is_none());
        assert!((2..=4).contains(&restored), "{restored}");
    })
    .await;
}
