//! I11: nothing that a control plane prints or serves while it changes roots has a key.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::hunt::Secrets;
use crate::mesh::{Mesh, TestFolder};
use crate::roots::{CONFIG, FIRST, SHOP, root};

/// The pages of a control plane.
const PAGES: [&str; 5] = ["metrics", "health/ready", "health/alive", "version", "smi/version"];

impl Mesh<'_> {
    async fn has_settled_on(&self, root: &str) {
        self.until(&format!("{root} signs alone"), async || {
            let roots = self.client.status().await.expect("a status").roots;
            roots.is_some_and(|roots| roots.settled && roots.issuing == root && roots.trusted == [root])
        })
        .await;
    }

    /// A page of the control plane, asked for inside the mesh.
    async fn page(&self, path: &str) -> String {
        let status = self.client.status().await.expect("a status");
        let address = status.control_plane.admin_address;
        let (host, port) = address.rsplit_once(':').expect("an address");
        let ask =
            format!("exec 3<>/dev/tcp/{host}/{port}; printf 'GET /{path} HTTP/1.0\\r\\n\\r\\n' >&3; cat <&3");
        let process = self.client.process().await.expect("a process").to_string();
        let asked =
            Command::new("nsenter").args(["--target", &process, "--net", "--", "bash", "-c", &ask]).output();
        let answer = String::from_utf8(asked.expect("nsenter runs").stdout).expect("text");
        assert!(answer.starts_with("HTTP/1.") && answer.contains(" 200 "), "{path}: {answer}");
        answer
    }
}

/// Looks for keys in every file below a folder; says how many there are.
fn hunt_below(secrets: &Secrets, folder: &Path) -> usize {
    let entries = std::fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path());
    let hunt = |path: std::path::PathBuf| {
        if path.is_dir() {
            return hunt_below(secrets, &path);
        }
        let bytes = std::fs::read(&path).expect("a file");
        secrets.hunt(&path.display().to_string(), &String::from_utf8_lossy(&bytes));
        1
    };
    entries.map(hunt).sum()
}

#[tokio::test]
#[ignore = "needs root and Envoy: run by `cargo xtask test`"]
async fn i11_nothing_that_a_mesh_prints_or_serves_while_roots_change_has_a_key() {
    let folder = TestFolder::new(&[("shop.yaml", SHOP), ("config.yaml", CONFIG)]);
    let mesh = Mesh::up_saying(&folder, "trace").await;
    mesh.has_settled_on(FIRST.0).await;
    let mut shown = Vec::new();
    for next in ["a", FIRST.0] {
        folder.write("roots.yaml", &root(next, "active"));
        let in_between = mesh.client.status().await.expect("a status");
        shown.push(("a status".to_owned(), format!("{in_between:?}")));
        mesh.has_settled_on(next).await;
        for arguments in [&["status", "--json"][..], &["status"]] {
            let output = mesh.osm(arguments);
            let said = [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).expect("text"));
            assert!(output.status.success() && said[0].contains(next), "{said:?}");
            shown.push((format!("osm local {arguments:?}"), said.concat()));
        }
        for page in PAGES {
            shown.push((page.to_owned(), mesh.page(page).await));
        }
    }
    let events = mesh.client.events(0, Duration::ZERO).await.expect("events");
    shown.push(("the events".to_owned(), serde_json::to_string(&events).expect("JSON")));
    let state = folder.state().join("osm");
    let log = mesh.said();
    mesh.down().await;

    let mut secrets = Secrets::default();
    for key in ["ca/ca.key", "roots/osm-system/a/ca.key"] {
        secrets.add_key(&std::fs::read_to_string(state.join(key)).expect("the key of a root"));
    }
    for said in ["TRACE", "roots are at another stage", "was issued"] {
        assert!(log.contains(said), "{said:?} was not logged, so this shows nothing");
    }
    assert!(shown.iter().any(|(_, text)| text.contains("osm_certs_issued_total")));
    for (what, text) in &shown {
        secrets.hunt(what, text);
    }
    secrets.hunt("the log", &log);
    secrets.hunt("the stage", &std::fs::read_to_string(state.join("roots.json")).expect("a stage"));
    assert!(hunt_below(&secrets, &state.join("logs")) > 0, "there are logs of proxies");
}
