//! The stream of a simulated proxy: TLS, HTTP/2, gRPC.

use std::collections::hash_map::DefaultHasher;
use std::hash::Hasher;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use envoy_types::pb::envoy::config::core::v3::Node;
use envoy_types::pb::envoy::service::discovery::v3::{DeltaDiscoveryRequest, DiscoveryRequest};
use hyper_util::rt::TokioIo;
use osm_xds::resource::ResourceKind;
use prost::Message;
use rustls_pki_types::ServerName;
use tokio::net::TcpSocket;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tokio_rustls::TlsConnector;
use tokio_stream::wrappers::UnboundedReceiverStream;
use tonic::client::Grpc;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Streaming};

use super::beliefs::Beliefs;
use super::board::Board;
use super::plan::DialectKind;
use super::proxy::{Incoming, Outgoing, SimulatedProxy};
use super::references::References;
use super::wire::{self, Envelope, RawCodec, Response};

/// A DNS name in the controller's certificate.
const SERVER_NAME: &str = "osm-controller.osm-system.svc";

/// How long a proxy waits at least, and at most that much more, before it connects anew.
const WAIT: Duration = Duration::from_millis(250);

/// What all streams of a measurement share.
pub(super) struct Shared {
    /// Where the controller is.
    pub(super) address: SocketAddr,
    /// What is spoken.
    pub(super) dialect: DialectKind,
    /// What is written down.
    pub(super) board: Board,
    /// What is known of resources.
    pub(super) references: References,
    /// Whom proxies believe, where that changes. Then they connect anew when a stream ends.
    pub(super) beliefs: Option<Arc<Beliefs>>,
}

/// Serves the stream of one proxy until it ends, which is a failure.
pub(super) async fn run(shared: Arc<Shared>, index: usize, uuid: String, tls: rustls::ClientConfig) {
    let mut proxy = SimulatedProxy::new(shared.dialect);
    let from = Ipv4Addr::LOCALHOST.into();
    let served = match shared.dialect {
        DialectKind::Delta => delta(&shared, (index, &uuid, from), tls, &mut proxy).await,
        DialectKind::Sotw => sotw(&shared, (index, &uuid, from), tls, &mut proxy).await,
    };
    let reason = match served {
        Ok(()) => "the controller ended it".to_owned(),
        Err(error) => format!("{error:#}"),
    };
    shared.board.failed(format!("the stream of {uuid}: {reason}"));
}

/// Serves one stream of a proxy after the other, each with what its files say when it begins. Proxies have addresses of
/// their own, as pods have: by them, the controller remembers who did not believe it.
pub(super) async fn run_again_and_again(
    shared: Arc<Shared>,
    beliefs: Arc<Beliefs>,
    index: usize,
    uuid: String,
) {
    let mut proxy = SimulatedProxy::new(shared.dialect);
    let [_, high, middle, low] = u32::try_from(index + 2).unwrap_or(u32::MAX).to_be_bytes();
    let from = IpAddr::V4(Ipv4Addr::new(127, high + 1, middle, low));
    for attempt in 0_u32.. {
        let served = match beliefs.tls(index) {
            Ok(tls) => delta(&shared, (index, &uuid, from), tls, &mut proxy).await,
            Err(error) => return shared.board.failed(format!("TLS of {uuid}: {error:#}")),
        };
        // Nothing of a stream that never was.
        if served.is_err_and(|error| error.is::<NeverOpened>()) {
            beliefs.was_refused();
        } else {
            beliefs.went();
        }
        // Not all at once.
        let part = (index as u32).wrapping_add(attempt).wrapping_mul(0x9E37_79B9);
        tokio::time::sleep(WAIT + WAIT.mul_f64(2.0 * f64::from(part) / f64::from(u32::MAX))).await;
    }
}

/// A stream could not be opened.
#[derive(Debug)]
struct NeverOpened;

impl std::fmt::Display for NeverOpened {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("opening the stream")
    }
}

async fn connect(address: SocketAddr, from: IpAddr, tls: rustls::ClientConfig) -> Result<Channel> {
    let connector = TlsConnector::from(Arc::new(tls));
    let connect = tower::service_fn(move |_| {
        let connector = connector.clone();
        async move {
            let socket = TcpSocket::new_v4()?;
            socket.bind(SocketAddr::new(from, 0))?;
            let socket = socket.connect(address).await?;
            socket.set_nodelay(true)?;
            let name = ServerName::try_from(SERVER_NAME).map_err(std::io::Error::other)?;
            Ok::<_, std::io::Error>(TokioIo::new(connector.connect(name, socket).await?))
        }
    });
    Endpoint::from_static("http://osm-controller").connect_with_connector(connect).await.context("connecting")
}

/// One stream: the proxy, and the way back to the controller.
struct Talk<'a, R> {
    shared: &'a Shared,
    index: usize,
    proxy: &'a mut SimulatedProxy,
    requests: UnboundedSender<R>,
    encode: fn(Outgoing, Option<Node>) -> R,
    was_synced: bool,
}

async fn open<'a, Req: Message + Send + 'static>(
    shared: &'a Shared,
    (index, uuid, from): (usize, &str, IpAddr),
    tls: rustls::ClientConfig,
    proxy: &'a mut SimulatedProxy,
    encode: fn(Outgoing, Option<Node>) -> Req,
) -> Result<(Talk<'a, Req>, Streaming<Bytes>)> {
    let mut client =
        Grpc::new(connect(shared.address, from, tls).await?).max_decoding_message_size(usize::MAX);
    client.ready().await.context("connecting")?;
    let (requests, queue) = unbounded_channel();
    let node = Node { id: uuid.to_owned(), cluster: "fleet".to_owned(), ..Default::default() };
    let mut node = Some(node);
    for request in proxy.start() {
        // The channel is open: its receiver is below.
        drop(requests.send(encode(request, node.take())));
    }
    let path = PathAndQuery::from_static(wire::path(shared.dialect));
    let request = Request::new(UnboundedReceiverStream::new(queue));
    let call = client.streaming(request, path, RawCodec::<Req>::new());
    let responses = call.await.context("opening the stream")?.into_inner();
    let was_synced = proxy.is_synced();
    Ok((Talk { shared, index, proxy, requests, encode, was_synced }, responses))
}

async fn delta(
    shared: &Shared,
    who: (usize, &str, IpAddr),
    tls: rustls::ClientConfig,
    proxy: &mut SimulatedProxy,
) -> Result<()> {
    let encode: fn(Outgoing, Option<Node>) -> DeltaDiscoveryRequest = wire::delta_request;
    let (mut talk, mut responses) =
        open(shared, who, tls, proxy, encode).await.map_err(|error| error.context(NeverOpened))?;
    if let Some(beliefs) = &shared.beliefs {
        beliefs.came();
    }
    while let Some(message) = responses.message().await? {
        let response = Response::read(&message)?;
        let kind = response.kind()?;
        let (mut known, mut names, mut versions) = (Vec::new(), Vec::new(), Vec::new());
        let resources = response.resources.len() + response.removed.len();
        for envelope in &response.resources {
            let Envelope { version, body, name } = Envelope::read(envelope)?;
            if let Some(beliefs) = &shared.beliefs {
                versions.push((name, version));
                if kind == ResourceKind::Secret {
                    beliefs.secret(talk.index, name, version, body)?;
                }
            }
            if kind.has_wildcard() {
                let hash = u64::from_str_radix(version, 16).unwrap_or_else(|_| hash_of(body));
                known.push(shared.references.look(kind, hash, body)?);
            } else {
                names.push(name);
            }
        }
        let Response { nonce, removed, .. } = response;
        let incoming = Incoming { kind, nonce, version: "", known, names, removed, versions };
        talk.take(incoming, resources, message.len())?;
    }
    Ok(())
}

async fn sotw(
    shared: &Shared,
    who: (usize, &str, IpAddr),
    tls: rustls::ClientConfig,
    proxy: &mut SimulatedProxy,
) -> Result<()> {
    let encode: fn(Outgoing, Option<Node>) -> DiscoveryRequest = wire::sotw_request;
    let (mut talk, mut responses) = open(shared, who, tls, proxy, encode).await?;
    while let Some(message) = responses.message().await? {
        let response = Response::read(&message)?;
        let kind = response.kind()?;
        let (mut known, mut names) = (Vec::new(), Vec::new());
        for any in &response.resources {
            let body = wire::any_value(any)?;
            if kind.has_wildcard() {
                known.push(shared.references.look(kind, hash_of(body), body)?);
            } else {
                names.push(wire::name(body)?);
            }
        }
        let Response { nonce, version, resources, .. } = response;
        let (removed, versions) = (Vec::new(), Vec::new());
        let incoming = Incoming { kind, nonce, version, known, names, removed, versions };
        talk.take(incoming, resources.len(), message.len())?;
    }
    Ok(())
}

impl<R> Talk<'_, R> {
    fn take(&mut self, incoming: Incoming<'_>, resources: usize, bytes: usize) -> Result<()> {
        // The names of resources that nothing is awaited of are not looked at.
        let endpoints = match incoming.kind {
            ResourceKind::Endpoints if self.was_synced => incoming.names.clone(),
            _ => Vec::new(),
        };
        for outgoing in self.proxy.on_response(incoming) {
            if self.requests.send((self.encode)(outgoing, None)).is_err() {
                bail!("requests are not taken any more");
            }
        }
        self.shared.board.acknowledged(self.index, resources, bytes);
        endpoints.iter().for_each(|name| self.shared.board.endpoints_acknowledged(name));
        if !self.was_synced && self.proxy.is_synced() {
            self.was_synced = true;
            self.shared.board.synced();
        }
        Ok(())
    }
}

fn hash_of(body: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    hasher.write(body);
    hasher.finish()
}
