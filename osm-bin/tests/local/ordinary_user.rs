//! Local mode as an ordinary user, in a user namespace.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};

use crate::mesh::{self, Mesh, TestFolder};
use crate::user::{self, OrdinaryUser};
use crate::{SHOP, buys};

/// A pod whose account no policy names.
const THIEF: &str = "
apiVersion: v1
kind: ServiceAccount
metadata: {name: thief, namespace: shop}
---
apiVersion: v1
kind: Pod
metadata: {name: thief, namespace: shop}
spec:
  serviceAccountName: thief
  containers: [{name: app, command: [sleep, '1000']}]
";

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Whether a pod gets books from the store.
fn gets(mesh: &Mesh<'_>, pod: &str) -> bool {
    let url = "http://store:14001/books-bought";
    let output = mesh.osm(&["exec", pod, "--", "bookstore-app", "fetch", url]);
    text(&output.stdout).starts_with("HTTP 200")
}

#[tokio::test]
#[ignore = "needs root and Envoy: run by `cargo xtask test`"]
async fn an_ordinary_user_runs_a_mesh_and_nothing_of_it_is_left() {
    let ann = OrdinaryUser::create();
    let folder = TestFolder::of(&ann, &[("shop.yaml", SHOP), ("thief.yaml", THIEF)]);
    let mesh = Mesh::up(&folder).await;
    let processes = mesh.processes();
    assert!(
        processes.len() >= 8 && processes.iter().all(|process| user::uid(*process) != Some(0)),
        "nothing of it is root's: {processes:?}"
    );
    mesh.until("the buyer gets books", async || gets(&mesh, "buyer-0")).await;
    assert!(!gets(&mesh, "thief"));
    let stranger = mesh.client.dial(&buys("shop/thief")).await.expect("an outcome");
    assert_eq!(stranger.http.map(|answer| answer.status), Some(403), "the store's proxy decides");

    let inside = mesh.osm(&["exec", "buyer-0", "--", "sh", "-c", "id -u; hostname; exit 7"]);
    assert_eq!((inside.status.code(), text(&inside.stdout).as_str()), (Some(7), "64999\nbuyer-0\n"));
    let home = ann.home.display().to_string();
    for closed in ["/run/osm/pods/shop_buyer-0/envoy", &home] {
        let listed = mesh.osm(&["exec", "buyer-0", "--", "ls", closed]);
        assert!(
            !listed.status.success(),
            "an application sees neither its proxy's files nor the user's: {listed:?}"
        );
    }

    folder.write("shop.yaml", &SHOP.replace("name: buyer # source", "name: thief"));
    mesh.until("the thief may, the buyer may not", async || gets(&mesh, "thief") && !gets(&mesh, "buyer-0"))
        .await;
    let shown = text(&mesh.osm(&["status"]).stdout);
    assert!(shown.contains("shop/thief") && shown.contains("in sync"), "{shown}");
    assert!(text(&mesh.osm(&["logs", "store-0"]).stdout).contains("listening"));

    assert_eq!(mesh::traces(), [""; 0]);
    mesh.down().await;
    assert_eq!(ann.processes(), [0; 0]);
    assert_eq!((mesh::traces(), ann.foreign_files()), (Vec::new(), String::new()));
}

#[tokio::test]
#[ignore = "needs root and Envoy: run by `cargo xtask test`"]
async fn killing_an_ordinary_users_command_leaves_nothing_behind() {
    let user = OrdinaryUser::create();
    let folder = TestFolder::of(&user, &[("shop.yaml", SHOP)]);
    let mut mesh = Mesh::up(&folder).await;
    mesh.kill();
    mesh.until("every process is gone", async || user.processes().is_empty()).await;
    assert_eq!((mesh::traces(), user.foreign_files()), (Vec::new(), String::new()));
    Mesh::up(&folder).await.down().await;
}

#[test]
#[ignore = "needs root and Envoy: run by `cargo xtask test`"]
fn an_ordinary_user_watches_the_whole_demo() {
    let user = OrdinaryUser::create();
    let output = user.osm().args(["demo", "--once"]).output().expect("it runs");
    let said = text(&output.stdout);
    let last = said.lines().last().unwrap_or_default();
    assert!(
        output.status.success() && last.starts_with(r#"{"step":"summary","ok":true"#),
        "{said}\n{}",
        text(&output.stderr)
    );
    assert_eq!(user.processes(), [0; 0]);
}

#[test]
#[ignore = "needs root and Envoy: run by `cargo xtask test`"]
fn a_kernel_that_refuses_namespaces_is_told_by_the_setting_to_change() {
    // In a namespace of the test's own, the machine's setting is as it was.
    const REFUSING: &str = r#"echo ready; read go
        exec sh -c 'echo 0 >/proc/sys/user/max_user_namespaces && exec "$@"' sh "$@""#;
    let user = OrdinaryUser::create();
    let folder = TestFolder::of(&user, &[("shop.yaml", SHOP)]);
    let osm = user.osm();
    let mut child = Command::new("unshare")
        .args(["--user", "--", "sh", "-c", REFUSING, "sh"])
        .arg(osm.get_program())
        .args(osm.get_args())
        .args(["up", "-f"])
        .arg(folder.manifests())
        .current_dir("/")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("unshare runs");
    let mut ready = String::new();
    let output = child.stdout.take().expect("its output");
    BufReader::new(output).read_line(&mut ready).expect("it is ready");
    for map in ["uid_map", "gid_map"] {
        // Everybody is who they are, but nobody has more namespaces.
        fs::write(format!("/proc/{}/{map}", child.id()), "0 0 4294967295").expect("written");
    }
    child.stdin.take().expect("its input").write_all(b"go\n").expect("told");
    let output = child.wait_with_output().expect("it ended");
    let said = text(&output.stderr);
    assert!(!output.status.success(), "{output:?}");
    assert!(
        said.contains("user.max_user_namespaces is 0")
            && said.contains("`sudo sysctl -w user.max_user_namespaces="),
        "{said}"
    );
    assert!(!user.home.join(".local").exists(), "nothing is made before it is known to work");
}

#[tokio::test]
#[ignore = "needs root and Envoy: run by `cargo xtask test`"]
async fn the_command_that_a_user_without_numbers_is_told_makes_it_work() {
    let user = OrdinaryUser::without_numbers();
    let folder = TestFolder::of(&user, &[("shop.yaml", SHOP)]);
    let mesh = Mesh::prepare(&folder);
    let manifests = folder.manifests().display().to_string();
    let refused = mesh.osm(&["up", "-f", &manifests]);
    let said = text(&refused.stderr);
    let command = said.split('`').find_map(|word| word.strip_prefix("sudo ")).unwrap_or_default();
    assert!(!refused.status.success() && command.starts_with("usermod "), "{said}");
    let changed = Command::new("sh").args(["-c", command]).status().expect("sh runs");
    assert!(changed.success(), "{command}");
    Mesh::up(&folder).await.down().await;
}
