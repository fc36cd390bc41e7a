//! A SPIFFE agent on a real socket that gives what it is told to, and fails as it is told to.
//!
//! Its side of the wire is written down on its own, so that a slip in the client's shows.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream::{self, BoxStream};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use osm_certs::spiffe::WorkloadEndpoint;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tonic::codegen::{Body as HttpBody, Service, StdError, http};
use tonic::server::{Grpc, ServerStreamingService};
use tonic::{Code, Request, Response, Status};
use tonic_prost::ProstCodec;

#[derive(Clone, Copy, prost::Message)]
pub(crate) struct X509SvidRequest {}

#[derive(Clone, prost::Message)]
pub(crate) struct X509SvidResponse {
    #[prost(message, repeated, tag = "1")]
    pub(crate) svids: Vec<X509Svid>,
    #[prost(bytes = "vec", repeated, tag = "2")]
    pub(crate) crl: Vec<Vec<u8>>,
    #[prost(btree_map = "string, bytes", tag = "3")]
    pub(crate) federated_bundles: BTreeMap<String, Vec<u8>>,
}

#[derive(Clone, prost::Message)]
pub(crate) struct X509Svid {
    #[prost(string, tag = "1")]
    pub(crate) spiffe_id: String,
    #[prost(bytes = "vec", tag = "2")]
    pub(crate) x509_svid: Vec<u8>,
    #[prost(bytes = "vec", tag = "3")]
    pub(crate) x509_svid_key: Vec<u8>,
    #[prost(bytes = "vec", tag = "4")]
    pub(crate) bundle: Vec<u8>,
    #[prost(string, tag = "5")]
    pub(crate) hint: String,
}

/// What the agent does.
#[derive(Debug, Clone)]
pub(crate) enum Mood {
    /// It gives this, at once and to all.
    Gives(Arc<X509SvidResponse>),
    /// It ends every stream with this.
    Says(Code, &'static str),
    /// It ends every stream in order.
    Ends,
    /// It takes calls and says nothing.
    Silent,
}

/// The agent. It is gone when dropped.
pub(crate) struct Agent {
    folder: tempfile::TempDir,
    mood: watch::Sender<Mood>,
    calls: Arc<AtomicUsize>,
    serving: JoinSet<()>,
}

impl Agent {
    /// One that does not listen yet, and will have nothing to say.
    pub(crate) fn away() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        Self {
            folder,
            mood: watch::Sender::new(Mood::Silent),
            calls: Arc::default(),
            serving: JoinSet::new(),
        }
    }

    /// One that gives this.
    pub(crate) fn giving(svids: impl IntoIterator<Item = X509Svid>) -> Self {
        let mut agent = Self::away();
        agent.gives(svids);
        agent.start();
        agent
    }

    pub(crate) fn endpoint(&self) -> WorkloadEndpoint {
        WorkloadEndpoint::Unix(self.folder.path().join("agent.sock"))
    }

    /// Listens.
    pub(crate) fn start(&mut self) {
        let path = self.folder.path().join("agent.sock");
        // What a process leaves that died.
        drop(std::fs::remove_file(&path));
        let listener = UnixListener::bind(path).expect("a socket");
        let served = self.served();
        self.serving.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((connection, _)) = listener.accept().await {
                connections.spawn(served.clone().serve(connection));
            }
        });
    }

    /// Listens on a port as well.
    pub(crate) async fn start_tcp(&mut self) -> WorkloadEndpoint {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let served = self.served();
        self.serving.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((connection, _)) = listener.accept().await {
                connections.spawn(served.clone().serve(connection));
            }
        });
        WorkloadEndpoint::Tcp(address)
    }

    /// Dies: all connections break off.
    pub(crate) async fn stop(&mut self) {
        self.serving.shutdown().await;
    }

    pub(crate) fn gives(&self, svids: impl IntoIterator<Item = X509Svid>) {
        self.answers(X509SvidResponse { svids: svids.into_iter().collect(), ..Default::default() });
    }

    pub(crate) fn answers(&self, answer: X509SvidResponse) {
        self.is(Mood::Gives(Arc::new(answer)));
    }

    /// Gives one more, instead of others for the same ID.
    pub(crate) fn adds(&self, svid: X509Svid) {
        self.mood.send_modify(|mood| {
            let Mood::Gives(answer) = mood else { panic!("it gives something") };
            let svids = &mut Arc::make_mut(answer).svids;
            svids.retain(|known| known.spiffe_id != svid.spiffe_id);
            svids.push(svid);
        });
    }

    pub(crate) fn is(&self, mood: Mood) {
        self.mood.send_replace(mood);
    }

    /// How many calls there were.
    pub(crate) fn calls(&self) -> usize {
        self.calls.load(Ordering::Relaxed)
    }

    fn served(&self) -> Served {
        Served { mood: self.mood.subscribe(), calls: Arc::clone(&self.calls) }
    }
}

/// What answers calls.
#[derive(Clone)]
struct Served {
    mood: watch::Receiver<Mood>,
    calls: Arc<AtomicUsize>,
}

impl Served {
    async fn serve(self, connection: impl AsyncRead + AsyncWrite + Send + Unpin + 'static) {
        let builder = auto::Builder::new(TokioExecutor::new()).http2_only();
        // Whoever asks may leave at any time.
        drop(builder.serve_connection(TokioIo::new(connection), TowerToHyperService::new(self)).await);
    }
}

impl<B> Service<http::Request<B>> for Served
where
    B: HttpBody + Send + 'static,
    B::Error: Into<StdError> + Send + 'static,
{
    type Response = http::Response<tonic::body::Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<B>) -> Self::Future {
        let served = self.clone();
        Box::pin(async move {
            if request.uri().path() != "/SpiffeWorkloadAPI/FetchX509SVID" {
                return Ok(Status::unimplemented("another method").into_http());
            }
            Ok(Grpc::new(ProstCodec::default()).server_streaming(served, request).await)
        })
    }
}

impl ServerStreamingService<X509SvidRequest> for Served {
    type Response = X509SvidResponse;
    type ResponseStream = BoxStream<'static, Result<X509SvidResponse, Status>>;
    type Future = BoxFuture<'static, Result<Response<Self::ResponseStream>, Status>>;

    fn call(&mut self, request: Request<X509SvidRequest>) -> Self::Future {
        self.calls.fetch_add(1, Ordering::Relaxed);
        let header = request.metadata().get("workload.spiffe.io").is_some_and(|value| value == "true");
        let mut mood = self.mood.clone();
        mood.mark_changed();
        Box::pin(async move {
            if !header {
                return Err(Status::invalid_argument("security header missing from request"));
            }
            let answers = stream::unfold(Some(mood), async |mood| {
                let mut mood = mood?;
                loop {
                    mood.changed().await.ok()?;
                    let now = mood.borrow_and_update().clone();
                    match now {
                        Mood::Gives(answer) => return Some((Ok((*answer).clone()), Some(mood))),
                        Mood::Says(code, text) => return Some((Err(Status::new(code, text)), None)),
                        Mood::Ends => return None,
                        Mood::Silent => {}
                    }
                }
            });
            Ok(Response::new(answers.boxed()))
        })
    }
}
