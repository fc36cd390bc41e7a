//! How real proxies speak TLS with each other: as the MeshConfig says, and with a key agreement that a quantum
//! computer does not undo where it says nothing.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;

use crate::mesh::TestFolder;
use crate::traffic::{SEMANTICS, SEMANTICS_CALLS, hold, up};

/// Where the settings of proxies are written.
const SETTINGS: &str = "  traffic: {";

/// How many connections the server's proxy has taken, of each version, suite or group.
fn taken(process: u32, what: &str) -> Vec<(String, u64)> {
    // The folders of a mesh are seen by its own processes only.
    let folder = format!("/proc/{process}/root");
    let socket = Path::new(&folder).join("run/osm/pods/shop_store-v2-0/envoy/admin.sock");
    let mut stream = UnixStream::connect(socket).expect("Envoy's own page is there");
    let page = format!("/stats?usedonly&filter=15003.ssl.{what}.");
    write!(stream, "GET {page} HTTP/1.1\r\nhost: envoy\r\nconnection: close\r\n\r\n").expect("it is asked");
    let mut said = String::new();
    stream.read_to_string(&mut said).expect("it answers");
    let counters = said.lines().filter_map(|line| {
        let (name, count) = line.split_once(": ")?;
        let (_, kind) = name.split_once(&format!(".ssl.{what}."))?;
        Some((kind.to_owned(), count.trim().parse().ok()?))
    });
    counters.collect()
}

/// Which of them have taken more than before.
fn grown(before: &[(String, u64)], now: &[(String, u64)]) -> Vec<String> {
    let was = |kind: &String| before.iter().find(|(other, _)| other == kind).map_or(0, |(_, count)| *count);
    now.iter().filter(|(kind, count)| *count > was(kind)).map(|(kind, _)| kind.clone()).collect()
}

#[tokio::test]
#[ignore = "needs root and Envoy: run by `cargo xtask test`"]
async fn proxies_speak_the_tls_that_is_asked_for_also_when_it_changes() {
    let folder = TestFolder::new(&[("mesh.yaml", SEMANTICS)]);
    let mesh = up(&folder).await;
    let process = mesh.client.process().await.expect("a process");
    let kinds = ["versions", "ciphers", "curves"];
    let grows = async || {
        let before = kinds.map(|what| taken(process, what));
        // Each of those over TCP is a connection of its own.
        hold(&mesh, SEMANTICS_CALLS).await;
        let now = kinds.map(|what| taken(process, what));
        before.iter().zip(&now).map(|(before, now)| grown(before, now).join(" ")).collect::<Vec<_>>()
    };
    assert_eq!(grows().await, ["TLSv1.3", "TLS_AES_128_GCM_SHA256", "X25519MLKEM768"]);
    let old =
        "tlsMaxProtocolVersion: TLSv1_2, cipherSuites: [ECDHE-ECDSA-AES256-GCM-SHA384], ecdhCurves: [P-256]";
    let new = "tlsMinProtocolVersion: TLSv1_3, ecdhCurves: [P-384]";
    let expected = [
        (old, ["TLSv1.2", "ECDHE-ECDSA-AES256-GCM-SHA384", "P-256"]),
        // From one to the other over what both speak, so that everybody can always connect.
        ("tlsMaxProtocolVersion: TLSv1_3", ["TLSv1.3", "TLS_AES_128_GCM_SHA256", "X25519MLKEM768"]),
        (new, ["TLSv1.3", "TLS_AES_128_GCM_SHA256", "P-384"]),
    ];
    for (settings, wanted) in expected {
        let text = SEMANTICS.replace(SETTINGS, &format!("  sidecar: {{{settings}}}\n{SETTINGS}"));
        assert_ne!(text, SEMANTICS);
        folder.write("mesh.yaml", &text);
        mesh.until("new connections are as wanted, and no others", async || grows().await == wanted).await;
    }
    mesh.down().await;
}
