//! A real Envoy refuses one of many new listeners: the others are in force, and
//! whoever made the bad one is named where users look.
//!
//! What is generated is accepted, wherever nothing else stands in the way. Here an
//! application stands in the way: it has taken the port of Envoy's listener for
//! incoming connections, which Envoy asks for as soon as the pod serves something.

use std::process::Command;

use osm_bin::local::api::{PodStatus, Refused};

use crate::SHOP;
use crate::mesh::{Mesh, TestFolder};

/// A pod that serves nothing yet, and has taken port 15003.
const SQUATTER: &str = "
apiVersion: v1
kind: Pod
metadata: {name: squatter, namespace: shop, labels: {app: squatter}}
spec:
  serviceAccountName: buyer
  containers:
  - name: app
    command: [bookstore-app, ledger]
    env: [{name: PORT, value: '15003'}]
    readinessProbe: {exec: {command: [bash, -c, ': < /dev/tcp/127.0.0.1/15003']}, periodSeconds: 1}
";

/// How many services come at once.
const NEW: usize = 50;
/// The one of them that leads to the pod whose port is taken.
const BAD: usize = 7;

/// Many new services, with the bad one among them or without it.
fn services(bad: bool) -> String {
    let service = |number: usize| {
        let (app, port) = if number == BAD { ("squatter", 15999) } else { ("store", 14001) };
        format!(
            "---
apiVersion: v1
kind: Service
metadata: {{name: s{number}, namespace: shop}}
spec: {{selector: {{app: {app}}}, ports: [{{name: http, port: {port}}}]}}
"
        )
    };
    (0..NEW).filter(|number| bad || *number != BAD).map(service).collect()
}

async fn squatter(mesh: &Mesh<'_>) -> PodStatus {
    let status = mesh.client.status().await.expect("a status");
    status.pods.into_iter().find(|pod| pod.pod == "shop/squatter").expect("it is there")
}

/// What its proxy refuses.
async fn refused(mesh: &Mesh<'_>) -> Vec<Refused> {
    squatter(mesh).await.proxy.map(|proxy| proxy.refused).unwrap_or_default()
}

/// The metrics of the control plane, whose address is within the mesh.
async fn metrics(mesh: &Mesh<'_>) -> String {
    let address = mesh.client.status().await.expect("a status").control_plane.admin_address;
    let (host, port) = address.rsplit_once(':').expect("an address and a port");
    let ask = format!(
        "exec 3<>/dev/tcp/{host}/{port}; printf 'GET /metrics HTTP/1.0\\r\\nhost: osm\\r\\n\\r\\n' >&3; cat <&3"
    );
    let process = mesh.client.process().await.expect("a process").to_string();
    let asked = Command::new("nsenter").args(["--target", &process, "--net", "bash", "-c", &ask]).output();
    String::from_utf8_lossy(&asked.expect("nsenter runs").stdout).into_owned()
}

/// Whether the last of the new services is reached from the pod whose proxy refused something.
fn reaches_another(mesh: &Mesh<'_>) -> bool {
    let url = format!("http://s{}:14001/books-bought", NEW - 1);
    let fetched = mesh.osm(&["exec", "squatter", "--", "bookstore-app", "fetch", &url]);
    String::from_utf8_lossy(&fetched.stdout).starts_with("HTTP 200")
}

#[tokio::test]
#[ignore = "needs root and Envoy: run by `cargo xtask test`"]
async fn a_listener_that_envoy_refuses_is_named_with_its_service_and_the_others_are_in_force() {
    let folder = TestFolder::new(&[("shop.yaml", SHOP), ("squatter.yaml", SQUATTER)]);
    let mesh = Mesh::up(&folder).await;
    let is_ready = async || squatter(&mesh).await.ready;
    mesh.until("the port is taken, and the proxy has everything", is_ready).await;
    assert_eq!(refused(&mesh).await, [], "a pod that serves nothing needs no such listener");

    folder.write("services.yaml", &services(true));
    mesh.until("something is refused", async || !refused(&mesh).await.is_empty()).await;
    mesh.until("the others are in force", async || reaches_another(&mesh)).await;
    let all = refused(&mesh).await;
    let [one] = &all[..] else { panic!("one is refused: {all:?}") };
    assert_eq!(one.resource, "listener inbound-listener");
    let [origin] = &one.origins[..] else { panic!("one object made it: {one:?}") };
    assert!(origin.starts_with(&format!("Service shop/s{BAD}")), "{one:?}");
    assert!(one.message.contains("cannot bind '0.0.0.0:15003'"), "what Envoy says: {one:?}");

    let shown = String::from_utf8_lossy(&mesh.osm(&["status"]).stdout).into_owned();
    let line = format!("shop/squatter refused {} (from {origin}): {}", one.resource, one.message);
    assert!(shown.contains("1 refused") && shown.contains(&line), "{line} is not in\n{shown}");
    let json: serde_json::Value =
        serde_json::from_slice(&mesh.osm(&["status", "--json"]).stdout).expect("JSON");
    let pods = json["pods"].as_array().expect("pods");
    let found = pods.iter().find(|pod| pod["pod"] == "shop/squatter").map(|pod| &pod["proxy"]["refused"][0]);
    let found = found.expect("what it refused");
    assert!(found["origins"][0] == **origin && found["message"] == *one.message, "{found}");

    let series = format!("osm_xds_refused_resources{{kind=\"listener\",object=\"Service shop/s{BAD}\"}} 1");
    assert!(metrics(&mesh).await.contains(&series), "{series} is not in\n{}", metrics(&mesh).await);
    let said = mesh.said();
    let mut warnings = said.lines().filter(|line| line.contains("WARN"));
    assert!(warnings.any(|line| line.contains(origin) && line.contains("cannot bind")), "{said}");

    // As soon as nobody asks for it any more, nobody speaks of it.
    folder.write("services.yaml", &services(false));
    mesh.until("nothing is refused", async || {
        refused(&mesh).await.is_empty() && !metrics(&mesh).await.contains("osm_xds_refused_resources{")
    })
    .await;
    assert!(reaches_another(&mesh));
    mesh.down().await;
}
