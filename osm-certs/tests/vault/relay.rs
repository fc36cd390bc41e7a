//! Something between the issuer and its server that hears all, and cuts answers short or holds them up.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::sleep;

/// What happens to answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Line {
    /// They pass.
    Whole,
    /// They end after so many bytes, and the connection with them.
    Cut(usize),
    /// They come so much later.
    Late(Duration),
    /// Those about this path do not come.
    Held(&'static str),
}

/// A relay of TCP connections, ended when dropped.
pub(crate) struct Relay {
    pub(crate) address: SocketAddr,
    way: Way,
    line: watch::Sender<Line>,
    server: watch::Sender<SocketAddr>,
    accepted: Arc<AtomicUsize>,
    _connections: JoinSet<()>,
}

/// What one connection goes by.
#[derive(Clone)]
struct Way {
    lines: watch::Receiver<Line>,
    servers: watch::Receiver<SocketAddr>,
    heard: Arc<Mutex<String>>,
}

impl Relay {
    pub(crate) async fn to(server: SocketAddr) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let (line, lines) = watch::channel(Line::Whole);
        let (server, servers) = watch::channel(server);
        let way = Way { lines, servers, heard: Arc::default() };
        let accepted = Arc::new(AtomicUsize::new(0));
        let (counted, each, mut connections) = (Arc::clone(&accepted), way.clone(), JoinSet::new());
        connections.spawn(async move {
            let mut open = JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                counted.fetch_add(1, Ordering::Relaxed);
                open.spawn(carry(client, each.clone()));
            }
        });
        Self { address, way, line, server, accepted, _connections: connections }
    }

    pub(crate) fn set(&self, line: Line) {
        self.line.send_replace(line);
    }

    /// Leads to another server from now on. Connections to the one before end.
    pub(crate) fn lead_to(&self, server: SocketAddr) {
        self.server.send_replace(server);
    }

    /// How many connections there were.
    pub(crate) fn accepted(&self) -> usize {
        self.accepted.load(Ordering::Relaxed)
    }

    /// All that was said, by both sides.
    pub(crate) fn heard(&self) -> String {
        self.way.heard.lock().expect("nobody panics holding it").clone()
    }

    /// How often a path was posted to.
    pub(crate) fn posts(&self, path: &str) -> usize {
        self.heard().matches(&format!("POST /v1/{path} ")).count()
    }
}

async fn carry(client: TcpStream, mut way: Way) {
    let server = *way.servers.borrow_and_update();
    let Ok(server) = TcpStream::connect(server).await else { return };
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let Way { mut lines, mut servers, heard } = way;
    let hear = |bytes: &[u8]| {
        let text = String::from_utf8_lossy(bytes);
        heard.lock().expect("nobody panics holding it").push_str(&text);
        text.into_owned()
    };
    let asked = Mutex::new(String::new());
    let requests = async {
        let mut buffer = vec![0; 16 * 1024];
        while let Ok(read @ 1..) = from_client.read(&mut buffer).await {
            let text = hear(&buffer[..read]);
            if text.starts_with("GET ") || text.starts_with("POST ") {
                *asked.lock().expect("nobody panics holding it") = text;
            }
            if to_server.write_all(&buffer[..read]).await.is_err() {
                break;
            }
        }
    };
    let answers = async {
        let mut buffer = vec![0; 16 * 1024];
        while let Ok(read @ 1..) = from_server.read(&mut buffer).await {
            hear(&buffer[..read]);
            let line = *lines.borrow();
            let (passed, ends) = match line {
                Line::Whole => (read, false),
                Line::Cut(most) => (read.min(most), true),
                Line::Late(delay) => {
                    sleep(delay).await;
                    (read, false)
                }
                Line::Held(path) => {
                    if asked.lock().expect("nobody panics holding it").contains(path) {
                        lines.wait_for(|line| *line != Line::Held(path)).await.ok();
                    }
                    (read, false)
                }
            };
            if to_client.write_all(&buffer[..passed]).await.is_err() || ends {
                break;
            }
        }
    };
    tokio::select! {
        () = answers => {}
        () = requests => {}
        _ = servers.changed() => {}
    }
}
