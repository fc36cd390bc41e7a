//! A control plane that restores its installation, with the rights of its account and no others.

use std::path::Path;
use std::process::{Child, Command};
use std::time::Duration;

use osm_k8s::objects::ObjectKey;
use osm_k8s::webhook::WebhookNames;
use serde_json::{Value, json};

use crate::helm::{Release, helm};
use crate::osm::Mesh;
use crate::within::within;

const ENABLE: &str = "osm.enableReconciler=true";

/// Longer than anything here takes.
const DEADLINE: Duration = Duration::from_secs(90);
/// How long the API server is left alone between looks.
const PAUSE: Duration = Duration::from_millis(50);

/// A control plane as the Deployment would start it, outside of the cluster. It ends with its test.
struct Replica(Child);

impl Replica {
    fn start(mesh: &Mesh, folder: &Path) -> Self {
        let shown = ["install", "--dry-run", "--output=json", "--enforce-single-mesh=false", "--set", ENABLE];
        let shown = mesh.osm(&shown).json();
        let deployment = shown
            .as_array()
            .expect("a list")
            .iter()
            .find(|one| one["kind"] == "Deployment")
            .expect("a Deployment");
        let arguments = deployment.pointer("/spec/template/spec/containers/0/args").expect("arguments");
        let arguments = arguments.as_array().expect("a list").iter().map(|one| one.as_str().expect("a text"));
        let here = |argument: &str| match argument.split_once("-listen=") {
            Some((which, _)) => format!("{which}-listen=127.0.0.1:0"),
            None => argument.to_owned(),
        };
        let child = Command::new(env!("CARGO_BIN_EXE_osm-controller"))
            .args(arguments.map(here))
            .env("KUBECONFIG", as_account(mesh, folder))
            .spawn();
        Self(child.expect("osm-controller starts"))
    }
}

impl Drop for Replica {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// A kubeconfig that acts as the account of the control plane, in its namespace.
pub(crate) fn as_account(mesh: &Mesh, folder: &Path) -> std::path::PathBuf {
    let files = std::env::var_os("KUBECONFIG").expect("KUBECONFIG names a cluster");
    let file = std::env::split_paths(&files).next().expect("a file");
    let mut config =
        osm_k8s::yaml::read(&std::fs::read_to_string(file).expect("a text")).expect("YAML").remove(0);
    for user in config["users"].as_array_mut().expect("users") {
        user["user"]["as"] = format!("system:serviceaccount:{}:osm-controller", mesh.namespace).into();
    }
    for context in config["contexts"].as_array_mut().expect("contexts") {
        context["context"]["namespace"] = mesh.namespace.as_str().into();
    }
    let path = folder.join("kubeconfig");
    std::fs::write(&path, osm_k8s::yaml::write(&config)).expect("written");
    path
}

fn webhooks(mesh: &Mesh) -> ObjectKey {
    let name = WebhookNames::of_mesh(&mesh.name).mutating;
    ObjectKey::of_cluster("admissionregistration.k8s.io/v1", "MutatingWebhookConfiguration", &name)
}

/// Waits until an object is like this.
async fn until(mesh: &Mesh, key: &ObjectKey, what: &str, is_right: impl Fn(Option<&Value>) -> bool) {
    within(DEADLINE, PAUSE, &format!("{key}: {what}"), async || {
        let found = mesh.objects.get(key).await.expect("an answer");
        if is_right(found.as_ref()) { Ok(()) } else { Err(format!("{found:?}")) }
    })
    .await;
}

fn is_verified(found: Option<&Value>) -> bool {
    found.is_some_and(|found| {
        let webhook = &found["webhooks"][0];
        webhook["clientConfig"]["caBundle"].is_string() && webhook["failurePolicy"] == "Fail"
    })
}

/// Edits and deletes the webhooks of a mesh, and edits a definition, and waits for them to come back.
async fn disturb(mesh: &Mesh) {
    let webhooks = webhooks(mesh);
    until(mesh, &webhooks, "the control plane is up", is_verified).await;
    let ignored = json!({ "webhooks": [] });
    mesh.objects.merge(&webhooks, &ignored).await.expect("edited");
    until(mesh, &webhooks, "an edit is undone", is_verified).await;
    let uid = |found: Option<&Value>| found.map(|found| found["metadata"]["uid"].clone());
    let deleted = uid(mesh.objects.get(&webhooks).await.expect("an answer").as_ref());
    mesh.objects.delete(&webhooks).await.expect("deleted");
    // What is deleted is there until the collector has taken it.
    let is_another = |found: Option<&Value>| is_verified(found) && uid(found) != deleted;
    until(mesh, &webhooks, "they are there again", is_another).await;
    let definition = ObjectKey::of_cluster(
        "apiextensions.k8s.io/v1",
        "CustomResourceDefinition",
        "trafficsplits.split.smi-spec.io",
    );
    let edit = json!({ "spec": { "names": { "shortNames": ["ts", "tsx"] } } });
    mesh.objects.merge(&definition, &edit).await.expect("edited");
    let names = json!(["ts"]);
    until(mesh, &definition, "an edit is undone", |found| {
        found.is_some_and(|found| found["spec"]["names"]["shortNames"] == names)
    })
    .await;
}

#[tokio::test]
#[ignore = "needs a Kubernetes cluster: KUBECONFIG"]
async fn an_installation_restores_itself_with_the_rights_that_it_has_and_lets_itself_be_removed() {
    let mesh = Mesh::named("restore").await;
    mesh.install(&["--set", ENABLE]).success();
    let folder = tempfile::tempdir().unwrap();
    let replica = Replica::start(&mesh, folder.path());
    disturb(&mesh).await;
    // It runs on: nothing tells it that the mesh goes.
    mesh.osm(&["uninstall", "--force", "--delete-namespace"]).success();
    assert_eq!(mesh.left().await, [] as [String; 0]);
    drop(replica);
    mesh.clear().await;
}

#[tokio::test]
#[ignore = "needs a Kubernetes cluster: KUBECONFIG, and helm: OSM_HELM"]
async fn an_installation_of_helm_restores_itself_and_lets_itself_be_removed() {
    let mesh = Mesh::named("restorehelm").await;
    let _release = Release::of(&mesh);
    let chart = Path::new(env!("CARGO_MANIFEST_DIR")).join("../charts/osm");
    let name = format!("osm.meshName={},osm.enforceSingleMesh=false,{ENABLE}", mesh.name);
    let place = ["--namespace", &mesh.namespace];
    let install = ["install", &mesh.name, chart.to_str().unwrap(), "--create-namespace", "--set", &name];
    helm(&[&install[..], &place].concat()).success();
    let folder = tempfile::tempdir().unwrap();
    let replica = Replica::start(&mesh, folder.path());
    disturb(&mesh).await;
    let restored = mesh.objects.get(&webhooks(&mesh)).await.unwrap().unwrap();
    assert_eq!(restored["metadata"]["annotations"]["meta.helm.sh/release-name"], mesh.name.as_str());
    // Helm takes the webhooks first and the rights of the control plane later.
    helm(&[&["uninstall", &mesh.name, "--wait"], &place[..]].concat()).success();
    until(&mesh, &webhooks(&mesh), "what came back is collected", |found| found.is_none()).await;
    drop(replica);
    assert_eq!(mesh.left().await, [] as [String; 0]);
    mesh.clear().await;
}
