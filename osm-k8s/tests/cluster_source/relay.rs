//! Something between a client and the API server that can be cut.

use std::net::SocketAddr;
use std::sync::Arc;

use kube::{Client, Config};
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// What happens to the bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Line {
    /// They pass.
    Whole,
    /// Connections are closed, and new ones are too.
    Cut,
}

/// A relay of TCP connections, ended when dropped.
pub(crate) struct Relay {
    address: SocketAddr,
    line: Arc<watch::Sender<Line>>,
    _connections: JoinSet<()>,
}

impl Relay {
    /// A relay to the API server of a cluster.
    pub(crate) async fn new(config: &Config) -> Self {
        let uri = &config.cluster_url;
        let host = uri.host().expect("a host").trim_matches(['[', ']']).to_owned();
        let port = uri.port_u16().unwrap_or(443);
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let line = Arc::new(watch::channel(Line::Whole).0);
        let mut connections = JoinSet::new();
        let lines = line.subscribe();
        connections.spawn(async move {
            let mut open = JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                open.spawn(relay(client, host.clone(), port, lines.clone()));
            }
        });
        Self { address, line, _connections: connections }
    }

    /// Cuts the line, or mends it.
    pub(crate) fn set(&self, line: Line) {
        self.line.send_replace(line);
    }

    /// A client whose way to the cluster leads through here.
    pub(crate) fn client(&self, mut config: Config) -> Client {
        let host = config.cluster_url.host().expect("a host").trim_matches(['[', ']']).to_owned();
        // The certificate is still that of the server.
        config.tls_server_name.get_or_insert(host);
        config.cluster_url = format!("https://{}", self.address).parse().expect("an address");
        Client::try_from(config).expect("a client")
    }
}

async fn relay(mut client: TcpStream, host: String, port: u16, mut lines: watch::Receiver<Line>) {
    if *lines.borrow() == Line::Cut {
        return;
    }
    let Ok(mut server) = TcpStream::connect((host, port)).await else { return };
    tokio::select! {
        // Either side may end; then so does the other.
        _ = copy_bidirectional(&mut client, &mut server) => {}
        _ = lines.wait_for(|line| *line == Line::Cut) => {}
    }
}
