//! Local mode end to end: real namespaces, real iptables, real Envoys.

mod bad_edits;
mod connections;
#[path = "../../../e2e/tests/cluster_secrets/hunt.rs"]
mod hunt;
mod mesh;
mod ordinary_user;
mod refusal;
mod restart;
mod roots;
mod secrets;
mod tls;
mod traffic;
mod user;
#[path = "../../../osm-k8s/tests/support/within.rs"]
mod within;

use std::time::Duration;

use mesh::{Mesh, TestFolder};
use osm_bin::local::api::{DialRequest, Happening, HttpRequest};

/// A shop of two pods: a buyer that buys on and on, and a store.
const SHOP: &str = include_str!("shop.yaml");

fn buys(identity: &str) -> DialRequest {
    DialRequest {
        identity: Some(identity.to_owned()),
        service: "shop/store".to_owned(),
        port: 14001,
        http: Some(HttpRequest { path: "/books-bought".to_owned(), ..HttpRequest::default() }),
        ..DialRequest::default()
    }
}

#[tokio::test]
#[ignore = "needs root and Envoy: run by `cargo xtask test`"]
async fn requests_pass_both_proxies_and_policy_decides_who_may() {
    let folder = TestFolder::new(&[("shop.yaml", SHOP)]);
    let mesh = Mesh::up(&folder).await;
    mesh.until("the buyer buys", async || mesh.counter("shop/buyer-0", "booksBought").await > 3).await;
    let status = mesh.client.status().await.expect("a status");
    for pod in &status.pods {
        let proxy = pod.proxy.as_ref().expect("both pods have a proxy");
        assert!(pod.ready && proxy.in_sync && proxy.refused.is_empty(), "{pod:?}");
    }

    let buyer = mesh.client.dial(&buys("shop/buyer")).await.expect("an outcome");
    assert_eq!(buyer.http.map(|answer| answer.status), Some(200));
    assert_eq!(buyer.uris, ["spiffe://cluster.local/store/shop"], "the store proves who it is");
    let served = buyer.serial.expect("a serial");
    let stranger = mesh.client.dial(&buys("shop/stranger")).await.expect("an outcome");
    assert_eq!(stranger.http.map(|answer| answer.status), Some(403));
    let plain = mesh.client.dial(&DialRequest { identity: None, ..buys("") }).await.expect("an outcome");
    assert!(plain.connected && plain.http.is_none() && plain.error.is_some(), "{plain:?}");

    mesh.client.rotate().await.expect("it begins");
    mesh.until("another certificate is served", async || {
        let dialled = mesh.client.dial(&buys("shop/buyer")).await.expect("an outcome");
        dialled.http.map(|answer| answer.status) == Some(200)
            && dialled.serial.is_some_and(|serial| serial != served)
    })
    .await;
    mesh.down().await;
}

#[tokio::test]
#[ignore = "needs root and Envoy: run by `cargo xtask test`"]
async fn an_edit_is_applied_live_and_reported_and_addresses_stay() {
    let folder = TestFolder::new(&[("shop.yaml", SHOP)]);
    let mesh = Mesh::up(&folder).await;
    let before = mesh.client.status().await.expect("a status");
    folder.write("shop.yaml", &SHOP.replace("replicas: 1 # store", "replicas: 2"));
    let change = mesh.event(|what| match what {
        Happening::Changed(change) => Some(change.clone()),
        _ => None,
    });
    let change = change.await;
    assert!(
        change.changed[0].starts_with("Deployment shop/store (") && change.changed.len() == 1,
        "{change:?}"
    );
    mesh.until("both stores are ready", async || {
        let status = mesh.client.status().await.expect("a status");
        status.pods.len() == 3 && status.pods.iter().all(|pod| pod.ready)
    })
    .await;
    let after = mesh.client.status().await.expect("a status");
    assert_eq!(after.services, {
        let mut services = before.services.clone();
        services[0].pods.push("shop/store-1".to_owned());
        services
    });
    for pod in &before.pods {
        let same = after.pods.iter().find(|other| other.pod == pod.pod).expect("it is there");
        assert_eq!(
            (&same.address, same.containers[0].pid),
            (&pod.address, pod.containers[0].pid),
            "it goes on"
        );
    }

    folder
        .write("policy.yaml", "apiVersion: access.smi-spec.io/v1alpha3\nkind: TrafficTarget\nmetadata: {nam");
    let text = mesh.event(|what| match what {
        Happening::Findings { new, .. } => Some(new[0].text.clone()),
        _ => None,
    });
    assert!(text.await.contains("policy.yaml:"), "file and line are named");
    folder.remove("policy.yaml");

    let allow = SHOP.replace("name: buyer # source", "name: stranger");
    folder.write("shop.yaml", &allow);
    mesh.until("the stranger may, the buyer may not", async || {
        let status = async |identity| {
            mesh.client.dial(&buys(identity)).await.expect("an outcome").http.map(|answer| answer.status)
        };
        status("shop/stranger").await == Some(200) && status("shop/buyer").await == Some(403)
    })
    .await;
    mesh.down().await;

    let mesh = Mesh::up(&folder).await;
    let again = mesh.client.status().await.expect("a status");
    let buyer = |status: &osm_bin::local::api::Status| {
        (status.pods[0].pod.clone(), status.pods[0].address.clone(), status.services[0].address.clone())
    };
    assert_eq!(buyer(&again), buyer(&before), "addresses outlive the mesh");
    mesh.down().await;
}

#[tokio::test]
#[ignore = "needs root and Envoy: run by `cargo xtask test`"]
async fn killing_the_command_leaves_nothing_behind() {
    let folder = TestFolder::new(&[("shop.yaml", SHOP)]);
    let mut mesh = Mesh::up(&folder).await;
    let processes = mesh.processes();
    assert!(processes.len() >= 6, "two containers, two Envoys, and those that run them: {processes:?}");
    assert_eq!(mesh::traces(), [""; 0], "the machine's own network and mounts are untouched while it runs");
    mesh.kill();
    mesh.until("every process is gone", async || processes.iter().all(|process| !mesh::lives(*process)))
        .await;
    assert_eq!(mesh::traces(), [""; 0]);
    let again = Mesh::up(&folder).await;
    again.down().await;
}

#[tokio::test]
#[ignore = "needs root and Envoy: run by `cargo xtask test`"]
async fn what_ends_is_started_again_and_what_can_not_start_is_named() {
    let broken = "
apiVersion: v1
kind: Pod
metadata: {name: broken, namespace: shop}
spec:
  containers:
  - {name: app, command: [no-such-program]}
";
    let folder = TestFolder::new(&[("shop.yaml", SHOP), ("broken.yaml", broken)]);
    let mesh = Mesh::up(&folder).await;
    let reason = mesh.event(|what| match what {
        Happening::CannotStart { pod, process, reason } => {
            Some((pod.clone(), process.clone(), reason.clone()))
        }
        _ => None,
    });
    let (pod, process, reason) = reason.await;
    assert_eq!((pod.as_str(), process.as_str()), ("shop/broken", "app"));
    assert!(
        reason.contains("broken.yaml:2") && reason.contains("`no-such-program` is not on this machine"),
        "{reason}"
    );

    for (process, pid) in
        [("app", mesh.pid("shop/store-0", "app").await), ("envoy", mesh.pid("shop/store-0", "envoy").await)]
    {
        let killed = mesh.osm(&["exec", "shop/store-0", "--", "true"]);
        assert!(killed.status.success());
        mesh.kill_inside(pid).await;
        let how = mesh.event(|what| match what {
            Happening::Ended { pod, process: ended, how, .. }
                if pod == "shop/store-0" && ended == process =>
            {
                Some(how.clone())
            }
            _ => None,
        });
        assert_eq!(how.await, "SIGKILL");
        mesh.until("it is ready again", async || {
            let status = mesh.client.status().await.expect("a status");
            status.pods.iter().any(|pod| pod.pod == "shop/store-0" && pod.ready)
        })
        .await;
    }
    mesh.until("requests pass again", async || {
        let dialled = mesh.client.dial(&buys("shop/buyer")).await.expect("an outcome");
        dialled.http.map(|answer| answer.status) == Some(200)
    })
    .await;
    mesh.down().await;
}

#[tokio::test]
#[ignore = "needs root and Envoy: run by `cargo xtask test`"]
async fn commands_look_into_pods_and_say_what_to_do_next() {
    let folder = TestFolder::new(&[("shop.yaml", SHOP)]);
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let mesh = Mesh::prepare(&folder);
    let none = mesh.osm(&["status"]);
    assert!(text(&none.stderr).contains("osm local up -f"), "{none:?}");

    let mesh = Mesh::up(&folder).await;
    let fetched =
        mesh.osm(&["exec", "buyer-0", "--", "bookstore-app", "fetch", "http://store:14001/books-bought"]);
    assert!(fetched.status.success() && text(&fetched.stdout).starts_with("HTTP 200"), "{fetched:?}");
    let failed = mesh.osm(&["exec", "buyer-0", "--", "sh", "-c", "id -u; exit 7"]);
    assert_eq!((failed.status.code(), text(&failed.stdout).trim()), (Some(7), "64999"));
    let wrong = mesh.osm(&["exec", "seller", "--", "true"]);
    assert!(text(&wrong.stderr).contains("shop/buyer-0, shop/store-0"), "{wrong:?}");

    let logs = mesh.osm(&["logs", "store-0"]);
    assert!(text(&logs.stdout).contains("listening"), "{logs:?}");
    let wrong = mesh.osm(&["logs", "store-0", "-c", "nobody"]);
    assert!(text(&wrong.stderr).contains("app, envoy"), "{wrong:?}");
    let shown = text(&mesh.osm(&["status"]).stdout);
    assert!(shown.lines().all(|line| line.chars().count() <= 100), "{shown}");
    assert!(
        shown.contains("shop/store-0") && shown.contains("in sync") && shown.contains("SMI policy"),
        "{shown}"
    );

    let second = mesh.osm(&["up", "-f", "."]);
    assert!(text(&second.stderr).contains("runs already"), "{second:?}");
    mesh.client.restart_controller(Duration::ZERO).await.expect("it is restarted");
    let before = mesh.counter("shop/buyer-0", "failures").await;
    mesh.until("both proxies are connected again", async || {
        let status = mesh.client.status().await.expect("a status");
        status.control_plane.proxies == 2 && status.control_plane.behind == 0
    })
    .await;
    assert_eq!(mesh.counter("shop/buyer-0", "failures").await, before, "requests go on meanwhile");
    mesh.down().await;
}

#[tokio::test]
#[ignore = "needs root and Envoy: run by `cargo xtask test`"]
async fn a_workload_without_a_proxy_reaches_its_own_kind_and_nothing_in_the_mesh() {
    let outside = "
apiVersion: v1
kind: Service
metadata: {name: web, namespace: outside}
spec: {selector: {app: web}, ports: [{port: 80, targetPort: http}]}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: outside}
spec:
  replicas: 2
  template:
    metadata: {labels: {app: web}}
    spec:
      initContainers:
      - {name: first, command: [sh, -c, 'sleep 0.1; touch $TMPDIR/made']}
      containers:
      - name: app
        command: [bookstore-app, store]
        env:
        - {name: IDENTITY, valueFrom: {fieldRef: {fieldPath: metadata.name}}}
        - {name: PORT, value: '8080'}
        ports: [{name: http, containerPort: 8080}]
        readinessProbe: {exec: {command: [sh, -c, 'test -e $TMPDIR/made']}, periodSeconds: 1}
";
    let folder = TestFolder::new(&[("shop.yaml", SHOP), ("outside.yaml", outside)]);
    let mesh = Mesh::up(&folder).await;
    let fetch = |url: &str| mesh.osm(&["exec", "web-0", "--", "bookstore-app", "fetch", url]);
    for identity in ["web-0", "web-1"] {
        let served = async || {
            let fetched = String::from_utf8_lossy(&fetch("http://web/books-bought").stdout).into_owned();
            fetched.contains(&format!("identity: {identity}"))
        };
        mesh.until("both pods behind the virtual address are reached, itself included", served).await;
    }
    let refused = fetch("http://store.shop:14001/books-bought");
    assert!(!refused.status.success(), "plaintext does not get into the mesh: {refused:?}");
    let status = mesh.client.status().await.expect("a status");
    assert!(status.pods.iter().filter(|pod| pod.proxy.is_none()).all(|pod| pod.pod.starts_with("outside/")));
    mesh.down().await;
}

#[tokio::test]
#[ignore = "needs root and Envoy: run by `cargo xtask test`"]
async fn a_pod_whose_identity_changes_is_made_anew_at_its_old_address() {
    let folder = TestFolder::new(&[("shop.yaml", SHOP)]);
    let mesh = Mesh::up(&folder).await;
    let address = mesh.client.status().await.expect("a status").pods[0].address.clone();
    folder.write("shop.yaml", &SHOP.replace("serviceAccountName: buyer", "serviceAccountName: thief"));
    mesh.until("it runs as somebody else", async || {
        let pod = mesh.client.status().await.expect("a status").pods.remove(0);
        pod.identity == "shop/thief" && pod.ready && pod.address == address
    })
    .await;
    mesh.until("it is refused", async || {
        mesh.counter("shop/buyer-0", "failures").await > 3
            && mesh.counter("shop/buyer-0", "successes").await == 0
    })
    .await;
    mesh.down().await;
}

#[tokio::test]
#[ignore = "needs root and Envoy: run by `cargo xtask test`"]
async fn a_mesh_runs_on_when_it_is_detached_and_ends_when_it_is_interrupted() {
    let folder = TestFolder::new(&[("shop.yaml", SHOP)]);
    let mesh = Mesh::prepare(&folder);
    let manifests = folder.manifests();
    let started = mesh.osm(&["up", "--detach", "-f", &manifests.display().to_string()]);
    let said = String::from_utf8_lossy(&started.stdout).into_owned();
    assert!(
        started.status.success() && said.contains("up 2 pods") && said.contains("osm local down"),
        "{started:?}"
    );
    assert!(mesh.osm(&["down"]).status.success());

    let wrong = mesh.osm(&["up", "--detach", "--envoy", "/nowhere", "-f", &manifests.display().to_string()]);
    assert!(String::from_utf8_lossy(&wrong.stderr).contains("--envoy /nowhere"), "{wrong:?}");

    let mesh = Mesh::up(&folder).await;
    mesh.interrupt();
}

/// How long anything in these tests may take.
const LIMIT: Duration = Duration::from_secs(30);
/// How long a mesh is left alone between looks.
const PAUSE: Duration = Duration::from_millis(20);
