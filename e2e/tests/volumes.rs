//! What an Envoy makes of files that are replaced as a kubelet replaces those of a volume.

#[path = "../../osm-k8s/tests/support/within.rs"]
mod within;

use std::net::Ipv4Addr;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use osm_core::catalog::Catalog;
use osm_core::identity::{ProxyId, ServiceIdentity};
use osm_core::snapshot::MeshOptions;
use osm_e2e::control_plane::{self, ControlPlane};
use osm_e2e::envoy;
use osm_xds::bootstrap::{
    Admin, Bootstrap, CERTIFICATE_SECRET_FILE, ControlPlane as Place, Credentials, Node, Pages,
    TRUST_SECRET_FILE, certificate_file, trust_file,
};
use tokio::net::TcpListener;
use tokio::process::{Child, Command};
use within::within;

/// Longer than anything here takes.
const DEADLINE: Duration = Duration::from_secs(60);
/// How long everybody is left alone between looks.
const PAUSE: Duration = Duration::from_millis(50);

fn proxy() -> ProxyId {
    let identity = ServiceIdentity::new("shop".parse().expect("a name"), "till".parse().expect("a name"));
    ProxyId::new("6f1a".parse().expect("a UUID"), identity)
}

/// A control plane with an authority of its own, at this port.
async fn plane(port: u16) -> ControlPlane {
    // Its predecessor lets go of the port when its tasks end.
    let listener =
        within(DEADLINE, PAUSE, "the port is free", || TcpListener::bind((Ipv4Addr::LOCALHOST, port))).await;
    let (catalog, _driver) = Catalog::new(MeshOptions::default());
    let plane = ControlPlane::start_on(listener, Arc::new(catalog), |publisher| Arc::new(publisher)).await;
    plane.expect("a control plane")
}

/// Puts into a volume what the proxy has of this control plane: new files in a folder of their own, to which
/// one link leads that is renamed.
async fn fill(volume: &Path, plane: &ControlPlane, turn: &str) {
    let (certified, trust) = plane.proxy(&proxy()).await.expect("a certificate");
    let files = [
        (CERTIFICATE_SECRET_FILE, certificate_file(certified.chain().pem(), certified.key().pem())),
        (TRUST_SECRET_FILE, trust_file(trust.pem())),
    ];
    let folder = volume.join(turn);
    std::fs::create_dir(&folder).expect("a folder");
    for (name, value) in &files {
        std::fs::write(folder.join(name), value.to_string()).expect("a file");
        // There from the first time on.
        drop(symlink(Path::new("..data").join(name), volume.join(name)));
    }
    symlink(turn, volume.join("..new")).expect("a link");
    std::fs::rename(volume.join("..new"), volume.join("..data")).expect("renamed");
}

fn start_envoy(volume: &Path, port: u16) -> Child {
    let bootstrap = Bootstrap {
        node: Some(Node { proxy: proxy().uuid, cluster: "till.shop".to_owned() }),
        control_plane: Place {
            host: Ipv4Addr::LOCALHOST.to_string(),
            port,
            server_name: control_plane::SERVER_NAME.to_owned(),
        },
        credentials: Credentials::Folder { folder: volume.to_owned() },
        admin: Admin::Socket(volume.join("admin.sock")),
        pages: Pages::default(),
    };
    let file = volume.join("bootstrap.json");
    std::fs::write(&file, bootstrap.to_json().to_string()).expect("a bootstrap");
    let command = envoy::command(&file).expect("an Envoy");
    Command::from(command).kill_on_drop(true).spawn().expect("it starts")
}

async fn connected(plane: &ControlPlane, what: &str) {
    within(DEADLINE, PAUSE, what, async || match plane.registry.statuses().as_slice() {
        [status] if status.proxy == proxy() => Ok(()),
        others => Err(format!("{others:?}")),
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs Envoy: run by `cargo xtask test`"]
async fn an_envoy_takes_a_certificate_that_is_replaced_in_its_volume_and_the_new_root() {
    let volume = tempfile::tempdir().expect("a folder");
    let first = plane(0).await;
    let port = first.address.port();
    fill(volume.path(), &first, "..1").await;
    let _envoy = start_envoy(volume.path(), port);
    connected(&first, "it connects").await;

    drop(first);
    // It believes neither the old certificate nor does Envoy believe it by the old root.
    let second = plane(port).await;
    fill(volume.path(), &second, "..2").await;
    connected(&second, "it connects with another certificate, by another root").await;
}
