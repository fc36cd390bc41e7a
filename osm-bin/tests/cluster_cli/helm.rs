//! A mesh that the real helm installed.

use std::path::Path;
use std::process::Command;

use crate::osm::{Mesh, Said};

pub(crate) fn helm(arguments: &[&str]) -> Said {
    let helm = std::env::var_os("OSM_HELM").expect("OSM_HELM names a helm; `cargo xtask helm` fetches one");
    let output = Command::new(helm).args(arguments).output().expect("helm starts");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("a text");
    Said { ok: output.status.success(), out: text(output.stdout), error: text(output.stderr) }
}

/// What helm installed for a mesh. It goes when this does, if the test failed.
pub(crate) struct Release {
    name: String,
    namespace: String,
}

impl Release {
    /// That of a mesh, which is still to be installed.
    pub(crate) fn of(mesh: &Mesh) -> Self {
        Self { name: mesh.name.clone(), namespace: mesh.namespace.clone() }
    }
}

impl Drop for Release {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let Self { name, namespace } = self;
            let said = helm(&["uninstall", name, "--namespace", namespace, "--ignore-not-found", "--wait"]);
            eprintln!("the mesh of helm is removed: {said:?}");
        }
    }
}

#[tokio::test]
#[ignore = "needs a Kubernetes cluster: KUBECONFIG, and helm: OSM_HELM"]
async fn a_mesh_of_helm_is_looked_at_by_osm_and_left_to_helm() {
    let mesh = Mesh::named("helm").await;
    let _release = Release::of(&mesh);
    let chart = Path::new(env!("CARGO_MANIFEST_DIR")).join("../charts/osm");
    let chart = chart.to_str().expect("a path");
    let name = format!("osm.meshName={}", mesh.name);
    let place = ["--namespace", &mesh.namespace];
    let values = ["--set", &name, "--set", "osm.enforceSingleMesh=false"];
    let install = [&["install", &mesh.name, chart, "--create-namespace"], &place[..], &values[..]].concat();
    helm(&install).success();

    let listed = mesh.osm(&["mesh", "list", "--output=json"]).json();
    assert!(listed.as_array().unwrap().iter().any(|each| each["mesh"] == mesh.name.as_str()), "{listed}");
    for command in [&["upgrade", "--enforce-single-mesh=false"] as &[&str], &["uninstall", "--force"]] {
        let refused = mesh.osm(command).failure();
        assert!(refused.contains(&format!("helm uninstall {}", mesh.name)), "{refused}");
    }
    let beside = mesh.install(&[]).failure();
    assert!(beside.contains("has the control plane of the mesh"), "{beside}");

    // The same chart again changes nothing, and other values change what they say.
    let upgrade =
        [&["upgrade", &mesh.name, chart, "--set=osm.networkPolicy.enable=true"], &place[..], &values[..]];
    helm(&upgrade.concat()).success();
    let left = mesh.left().await;
    assert!(left.contains(&format!("NetworkPolicy {}/osm-controller", mesh.namespace)), "{left:?}");
    helm(&[&["uninstall", &mesh.name, "--wait"], &place[..]].concat()).success();
    assert_eq!(mesh.left().await, [] as [String; 0]);
    mesh.clear().await;
}
