//! The serving side: a port for each kind of traffic.

use std::net::Ipv4Addr;
use std::sync::Arc;

use anyhow::{Context, Result};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use super::{ServeOptions, web};

/// Serves until the first port fails.
pub(super) async fn serve(options: ServeOptions) -> Result<()> {
    let name: Arc<str> = options.name.into();
    let mut serving = JoinSet::new();
    for port in options.http {
        serving.spawn(accept(port, Arc::clone(&name), http));
    }
    if !options.https.is_empty() {
        let tls = tls(&name)?;
        for port in options.https {
            let tls = tls.clone();
            serving
                .spawn(accept(port, Arc::clone(&name), move |stream, name| https(stream, name, tls.clone())));
        }
    }
    for port in options.tcp {
        serving.spawn(accept(port, Arc::clone(&name), echo));
    }
    for port in options.server_first {
        serving.spawn(accept(port, Arc::clone(&name), greet));
    }
    while let Some(ended) = serving.join_next().await {
        ended.context("a task")??;
    }
    Ok(())
}

async fn accept<F: Future<Output = ()> + Send + 'static>(
    port: u16,
    name: Arc<str>,
    serve: impl Fn(TcpStream, Arc<str>) -> F,
) -> Result<()> {
    let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).await;
    let listener = listener.with_context(|| format!("port {port}"))?;
    let mut connections = JoinSet::new();
    loop {
        let (stream, _) = listener.accept().await.with_context(|| format!("port {port}"))?;
        connections.spawn(serve(stream, Arc::clone(&name)));
        while connections.try_join_next().is_some() {}
    }
}

/// A certificate for the name, signed by itself.
fn tls(name: &str) -> Result<TlsAcceptor> {
    let made = rcgen::generate_simple_self_signed([name.to_owned()]).context("a certificate")?;
    let key = rustls_pki_types::PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
    let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .context("versions of TLS")?
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key.into())
        .context("a certificate")?;
    Ok(Arc::new(config).into())
}

async fn https(stream: TcpStream, name: Arc<str>, tls: TlsAcceptor) {
    if let Ok(stream) = tls.accept(stream).await {
        http(stream, name).await;
    }
}

/// HTTP/1.1 or HTTP/2, whichever the client begins with.
async fn http(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static, name: Arc<str>) {
    let answer = hyper::service::service_fn(move |request| web::answer(request, Arc::clone(&name)));
    let server = auto::Builder::new(TokioExecutor::new());
    // A connection that ends in an error is the client's to tell of.
    let _ = server.serve_connection_with_upgrades(TokioIo::new(stream), answer).await;
}

/// Answers each line with the name and the line.
async fn echo(stream: TcpStream, name: Arc<str>) {
    let (read, mut write) = stream.into_split();
    let mut lines = BufReader::new(read).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        if write.write_all(format!("{name} {line}\n").as_bytes()).await.is_err() {
            return;
        }
    }
}

/// Says the name, then answers lines.
async fn greet(mut stream: TcpStream, name: Arc<str>) {
    if stream.write_all(format!("{name} greets\n").as_bytes()).await.is_ok() {
        echo(stream, name).await;
    }
}
