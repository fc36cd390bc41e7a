//! Installing, changing and taking away.

use osm_k8s::objects::ObjectKey;
use serde_json::{Value, json};

use crate::osm::Mesh;

#[tokio::test]
#[ignore = "needs a Kubernetes cluster: KUBECONFIG"]
async fn an_installation_has_every_object_of_the_chart_and_an_uninstallation_leaves_none() {
    let mesh = Mesh::named("whole").await;
    let said = mesh.install(&[]).success();
    assert!(said.contains(&format!("created Deployment {}/osm-controller", mesh.namespace)), "{said}");
    let shown = mesh.osm(&["install", "--dry-run", "--output=json", "--enforce-single-mesh=false"]).json();
    for object in shown.as_array().unwrap() {
        let key = ObjectKey::of(object).unwrap();
        assert!(mesh.objects.get(&key).await.unwrap().is_some(), "{key}");
    }
    let again = mesh.install(&[]).failure();
    assert!(again.contains("osm upgrade"), "{again}");
    let listed = mesh.osm(&["mesh", "list", "--output=json"]).json();
    let listed = listed.as_array().unwrap().iter().find(|each| each["mesh"] == mesh.name.as_str()).unwrap();
    assert_eq!(listed["namespace"], mesh.namespace.as_str());
    mesh.osm(&["uninstall", "mesh", "--force", "--delete-namespace"]).success();
    assert_eq!(mesh.left().await, [] as [String; 0]);
    assert_eq!(mesh.objects.get(&ObjectKey::of_namespace(&mesh.namespace)).await.unwrap(), None);
    let gone = mesh.osm(&["uninstall", "--force"]).failure();
    assert!(gone.contains("mesh"), "{gone}");
    mesh.clear().await;
}

#[tokio::test]
#[ignore = "needs a Kubernetes cluster: KUBECONFIG"]
async fn an_upgrade_adds_changes_and_takes_away_and_leaves_the_configuration_as_it_was_edited() {
    let mesh = Mesh::named("change").await;
    mesh.install(&["--set", "osm.networkPolicy.enable=true"]).success();
    let config = ObjectKey::namespaced(
        "config.openservicemesh.io/v1alpha2",
        "MeshConfig",
        &mesh.namespace,
        "osm-mesh-config",
    );
    mesh.objects.merge(&config, &json!({"spec": {"traffic": {"enableEgress": false}}})).await.unwrap();
    let budget = "--set=osm.osmController.enablePodDisruptionBudget=true";
    let upgrade = ["upgrade", "--enforce-single-mesh=false", "--wait=false", budget];
    let said = mesh.osm(&upgrade).success();
    for line in [
        format!("created PodDisruptionBudget {}/osm-controller", mesh.namespace),
        format!("removed NetworkPolicy {}/osm-controller", mesh.namespace),
        format!("kept    {config}"),
    ] {
        assert!(said.contains(&line), "{line} is not in\n{said}");
    }
    let kept = mesh.objects.get(&config).await.unwrap().unwrap();
    assert_eq!(kept["spec"]["traffic"]["enableEgress"], false);
    // What is as it should be is left alone and not told.
    let again = mesh.osm(&upgrade).success();
    assert!(!again.contains("created") && !again.contains("changed"), "{again}");
    mesh.osm(&["uninstall", "--force", "--delete-namespace"]).success();
    assert_eq!(mesh.left().await, [] as [String; 0]);
    mesh.clear().await;
}

#[tokio::test]
#[ignore = "needs a Kubernetes cluster: KUBECONFIG"]
async fn a_mesh_is_refused_where_another_one_is_in_its_way() {
    let mesh = Mesh::named("guard").await;
    mesh.install(&[]).success();
    let elsewhere = format!("{}-elsewhere", mesh.name);
    let cases: [(&[&str], &str); 3] = [
        (&["--osm-namespace", &elsewhere], "--mesh-name"),
        (&["--mesh-name", "other"], "--osm-namespace"),
        (&["--osm-namespace", &elsewhere, "--mesh-name", "other", "--enforce-single-mesh=true"], "only one"),
    ];
    for (arguments, expected) in cases {
        let said =
            mesh.osm(&[&["install", "--wait=false", "--enforce-single-mesh=false"], arguments].concat());
        let said =
            if arguments.len() > 4 { mesh.osm(&[&["install"], arguments].concat()) } else { said }.failure();
        assert!(said.contains(expected), "{expected}: {said}");
    }
    assert_eq!(mesh.objects.get(&ObjectKey::of_namespace(&elsewhere)).await.unwrap(), None);
    mesh.osm(&["uninstall", "--force", "--delete-namespace"]).success();
    mesh.clear().await;
}

#[tokio::test]
#[ignore = "needs a Kubernetes cluster: KUBECONFIG"]
async fn a_control_plane_that_does_not_come_up_is_named_with_its_reason() {
    let mesh = Mesh::named("late").await;
    let arguments = ["install", "--enforce-single-mesh=false", "--timeout=8s", "--atomic"];
    let image = "--set=osm.image.registry=no-such-registry.invalid,osm.osmController.resource=null";
    let said = mesh.osm(&[&arguments as &[&str], &[image]].concat()).failure();
    assert!(said.contains("0 of 1 pods are ready"), "{said}");
    assert!(said.contains("taken away"), "{said}");
    assert_eq!(mesh.left().await, [] as [String; 0]);
    let namespace: Option<Value> = mesh.objects.get(&ObjectKey::of_namespace(&mesh.namespace)).await.unwrap();
    assert!(
        namespace.is_none_or(|it| it["status"]["phase"] == "Terminating"),
        "what was made for it goes too"
    );
    mesh.clear().await;
}
