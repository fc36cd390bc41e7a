//! What a control plane that can't start tells about its pod, with the rights that it has.

use std::net::TcpListener;
use std::process::Command;

use osm_k8s::objects::ObjectKey;
use serde_json::{Value, json};

use crate::osm::Mesh;
use crate::restore::as_account;

const POD: &str = "osm-controller-of-this-test";

/// Runs a control plane that can't, and gives the Event with this reason.
async fn told(mesh: &Mesh, arguments: &[&str], reason: &str) -> Value {
    let folder = tempfile::tempdir().expect("a folder");
    let output = Command::new(env!("CARGO_BIN_EXE_osm-controller"))
        .args(["--source=kubernetes", "--admin-listen=127.0.0.1:0"])
        .arg(format!("--osm-namespace={}", mesh.namespace))
        .args(arguments)
        .env("KUBECONFIG", as_account(mesh, folder.path()))
        .envs([("CONTROLLER_POD_NAME", POD), ("CONTROLLER_POD_UID", "0ff1ce")])
        .output()
        .expect("osm-controller starts");
    assert!(!output.status.success(), "{arguments:?}");
    let kind = ("events.k8s.io/v1", "Event");
    let events = mesh.objects.list(kind, Some(&mesh.namespace), "").await.expect("a list");
    let found = events.into_iter().find(|event| event["reason"] == reason);
    found.unwrap_or_else(|| panic!("{reason} is not told: {}", String::from_utf8_lossy(&output.stderr)))
}

#[tokio::test]
#[ignore = "needs a Kubernetes cluster: KUBECONFIG"]
async fn a_control_plane_that_cannot_start_says_why_in_an_event_about_its_pod() {
    let mesh = Mesh::named("events").await;
    mesh.install(&[]).success();
    let unknown = told(&mesh, &["--no-such-flag"], "FatalInvalidCLIParameters").await;
    assert!(unknown["note"].as_str().unwrap().contains("--no-such-flag"), "{unknown}");
    let regarding = &unknown["regarding"];
    assert_eq!((&regarding["kind"], &regarding["name"]), (&json!("Pod"), &json!(POD)));

    let root = json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": { "name": "osm-ca-bundle", "namespace": mesh.namespace },
        "stringData": { "ca.crt": "no certificate", "private.key": "no key" },
    });
    mesh.objects.create_if_absent(&root).await.unwrap();
    told(&mesh, &["--ca-secret=osm-ca-bundle"], "FatalInvalidCertificateManager").await;

    mesh.objects.delete(&ObjectKey::of(&root).unwrap()).await.unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("--xds-listen={}", taken.local_addr().unwrap());
    told(&mesh, &["--ca-secret=osm-ca-bundle", &address], "FatalInitializationError").await;

    mesh.osm(&["uninstall", "--force", "--delete-namespace"]).success();
    mesh.clear().await;
}
