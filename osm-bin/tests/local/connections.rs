//! What becomes of open connections when policy changes.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use osm_bin::local::api::{DialRequest, Happening, HttpRequest};
use osm_xds::bootstrap::DRAIN_TIME;
use parking_lot::Mutex;

use crate::mesh::{Mesh, TestFolder};

/// A store that speaks HTTP, TCP, and TCP in which it speaks first; two clients.
const SHOP: &str = include_str!("connections.yaml");

/// Until when connections that are to be closed are closed, from the edit on.
const BOUND: Duration = DRAIN_TIME.saturating_add(Duration::from_secs(1));

/// One end of a connection from within a pod: a shell that passes on lines.
struct Connection {
    what: String,
    shell: Child,
    input: ChildStdin,
    question: &'static str,
    heard: Arc<AtomicUsize>,
    ended: Arc<Mutex<Option<Instant>>>,
}

/// What a client asks again and again, and where: a request on a connection that
/// is kept, a response without end, TCP, and TCP in which the server speaks first.
const QUESTIONS: [(&str, u16, &str, &str); 4] = [
    ("requests", 14001, "", "GET /books-bought HTTP/1.1\r\nhost: store\r\n\r\n"),
    ("stream", 14001, "GET /books-bought/follow HTTP/1.1\r\nhost: store\r\n\r\n", ""),
    ("greeting", 14002, "", "PING\n"),
    ("plain", 14003, "", "PING\n"),
];

impl Connection {
    fn open(mesh: &Mesh<'_>, pod: &str, what: &str, port: u16, first: &str, question: &'static str) -> Self {
        let script = format!(
            "exec 3<>/dev/tcp/store/{port} 4<&0; cat <&4 >&3 & printf '%s' \"$0\" >&3; cat <&3; kill $!"
        );
        let mut command = mesh.command(&["exec", pod, "--", "bash", "-c", &script, first]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut shell = command.spawn().expect("the command runs");
        let input = shell.stdin.take().expect("a pipe");
        let output = BufReader::new(shell.stdout.take().expect("a pipe"));
        let (heard, ended) = (Arc::new(AtomicUsize::new(0)), Arc::new(Mutex::new(None)));
        let (counter, end) = (Arc::clone(&heard), Arc::clone(&ended));
        std::thread::spawn(move || {
            for _ in output.lines().map_while(Result::ok) {
                counter.fetch_add(1, Ordering::Relaxed);
            }
            *end.lock() = Some(Instant::now());
        });
        Self { what: format!("{pod}: {what}"), shell, input, question, heard, ended }
    }

    fn ended(&self) -> Option<Instant> {
        *self.ended.lock()
    }

    /// Checks that it still carries data both ways.
    async fn carries(&mut self, mesh: &Mesh<'_>) {
        let before = self.heard.load(Ordering::Relaxed);
        // If it is gone, nothing is heard any more.
        self.input.write_all(self.question.as_bytes()).ok();
        let heard = async || self.heard.load(Ordering::Relaxed) > before;
        mesh.until(&format!("{} is answered", self.what), heard).await;
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.shell.kill().ok();
        self.shell.wait().ok();
    }
}

/// One connection of each kind from a pod, each of which carries data.
async fn open_all(mesh: &Mesh<'_>, pod: &str) -> Vec<Connection> {
    let mut all: Vec<_> = QUESTIONS
        .iter()
        .map(|(what, port, first, question)| Connection::open(mesh, pod, what, *port, first, question))
        .collect();
    for connection in &mut all {
        connection.carries(mesh).await;
    }
    all
}

/// Checks that connections carry data for longer than those are left that are to be closed.
async fn outlast<'a>(mesh: &Mesh<'_>, connections: impl IntoIterator<Item = &'a mut Connection>) {
    let until = Instant::now() + BOUND;
    let mut connections: Vec<_> = connections.into_iter().collect();
    while Instant::now() < until {
        for connection in &mut connections {
            connection.carries(mesh).await;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Waits until all are closed, and checks that it was within the bound.
async fn are_cut<'a>(mesh: &Mesh<'_>, edit: Instant, connections: impl IntoIterator<Item = &'a Connection>) {
    for connection in connections {
        mesh.until(&format!("{} is closed", connection.what), async || connection.ended().is_some()).await;
        let took = connection.ended().expect("it ended").duration_since(edit);
        assert!(took <= BOUND, "{} was closed after {took:?}", connection.what);
    }
}

/// Who may connect to the store, and to which of its TCP ports.
fn policy(sources: &[&str], ports: &[u16]) -> String {
    let sources =
        sources.iter().map(|name| format!("{{kind: ServiceAccount, name: {name}, namespace: shop}}"));
    let sources = sources.collect::<Vec<_>>().join(", ");
    format!(
        "
apiVersion: specs.smi-spec.io/v1alpha4
kind: TCPRoute
metadata: {{name: ports, namespace: shop}}
spec: {{matches: {{ports: {ports:?}}}}}
---
apiVersion: access.smi-spec.io/v1alpha3
kind: TrafficTarget
metadata: {{name: store, namespace: shop}}
spec:
  destination: {{kind: ServiceAccount, name: store, namespace: shop}}
  rules: [{{kind: HTTPRouteGroup, name: all}}, {{kind: TCPRoute, name: ports}}]
  sources: [{sources}]
"
    )
}

fn config(permissive: bool) -> String {
    format!(
        "
apiVersion: config.openservicemesh.io/v1alpha2
kind: MeshConfig
metadata: {{name: osm-mesh-config, namespace: osm-system}}
spec: {{traffic: {{enablePermissiveTrafficPolicyMode: {permissive}, enableEgress: false}}}}
"
    )
}

/// Edits a manifest, waits until the edit is in force, and gives when it was made.
async fn edit(mesh: &Mesh<'_>, folder: &TestFolder<'_>, name: &str, text: &str) -> Instant {
    let when = Instant::now();
    folder.write(name, text);
    mesh.event(|what| matches!(what, Happening::Changed(_)).then_some(())).await;
    when
}

/// Checks that a workload with a certificate of its own, and past its proxy, gets nothing.
async fn is_refused(mesh: &Mesh<'_>, identity: &str) {
    let dial = async |port, http| {
        let identity = Some(identity.to_owned());
        let request =
            DialRequest { identity, service: "shop/store".to_owned(), port, http, ..DialRequest::default() };
        mesh.client.dial(&request).await.expect("an outcome")
    };
    let request = HttpRequest { path: "/books-bought".to_owned(), ..HttpRequest::default() };
    let answer = dial(14001, Some(request)).await;
    assert_eq!(answer.http.as_ref().map(|answer| answer.status), Some(403), "{answer:?}");
    for port in [14002, 14003] {
        let answer = dial(port, None).await;
        assert!(answer.received == 0 && answer.error.is_some(), "{answer:?}");
    }
}

const PORTS: [u16; 2] = [14002, 14003];

#[tokio::test]
#[ignore = "needs root and Envoy: run by `cargo xtask test`"]
async fn open_connections_survive_wider_access_and_end_with_their_clients_own_access_only() {
    let alone = policy(&["buyer"], &PORTS);
    let folder =
        TestFolder::new(&[("shop.yaml", SHOP), ("policy.yaml", &alone), ("mesh.yaml", &config(false))]);
    let mesh = Mesh::up(&folder).await;
    let mut buyer = open_all(&mesh, "buyer").await;

    edit(&mesh, &folder, "policy.yaml", &policy(&["buyer", "other"], &PORTS)).await;
    let mut other = open_all(&mesh, "other").await;
    edit(&mesh, &folder, "mesh.yaml", &config(true)).await;
    edit(&mesh, &folder, "mesh.yaml", &config(false)).await;
    outlast(&mesh, buyer.iter_mut().chain(&mut other)).await;

    // The one loses everything, the other one a port.
    let narrowed = edit(&mesh, &folder, "policy.yaml", &policy(&["buyer"], &[14002])).await;
    is_refused(&mesh, "shop/other").await;
    let lost = buyer.split_off(3);
    outlast(&mesh, &mut buyer).await;
    are_cut(&mesh, narrowed, other.iter().chain(&lost)).await;

    let narrowed = edit(&mesh, &folder, "policy.yaml", &policy(&[], &PORTS)).await;
    is_refused(&mesh, "shop/buyer").await;
    are_cut(&mesh, narrowed, &buyer).await;
    mesh.down().await;
}
