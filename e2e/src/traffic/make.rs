//! The calling side: calls, and what came of each in words.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use futures::{SinkExt, StreamExt};
use http::{Method, Request, Uri};
use http_body_util::{BodyExt, Empty};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite;

use super::call::{Call, What};
use super::{grpc, web};

/// How long one call may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// Makes calls one after the other.
pub(super) async fn calls(calls: &[Call]) -> Vec<String> {
    let mut outcomes = Vec::new();
    for Call { times, what } in calls {
        let mut seen = BTreeSet::new();
        for _ in 0..*times {
            seen.insert(match timeout(PATIENCE, one(what)).await {
                Ok(Ok(outcome)) => outcome,
                Ok(Err(_)) => "closed".to_owned(),
                Err(_) => "no answer".to_owned(),
            });
        }
        outcomes.push(seen.into_iter().collect::<Vec<_>>().join(" | "));
    }
    outcomes
}

async fn one(what: &What) -> Result<String> {
    match what {
        What::Http { method, url, headers, http2 } => http(method, url, headers, *http2).await,
        What::Tcp { to, server_first } => tcp(to, *server_first).await,
        What::WebSocket { url } => web_socket(url).await,
        What::Grpc { to, method } => grpc::call(to, method).await,
    }
}

async fn connect(url: &Uri) -> Result<TcpStream> {
    let host = url.host().ok_or_else(|| anyhow!("a URL without host"))?;
    TcpStream::connect((host, url.port_u16().unwrap_or(80))).await.context("connecting")
}

async fn http(method: &Method, url: &Uri, headers: &[(String, String)], http2: bool) -> Result<String> {
    let stream = TokioIo::new(connect(url).await?);
    let written = headers.iter().find(|(name, _)| name == "host").map(|(_, value)| value.as_str());
    let authority = written.or(url.authority().map(|authority| authority.as_str())).unwrap_or_default();
    let path = url.path_and_query().map_or("/", |path| path.as_str());
    let mut request = Request::builder().method(method);
    for (name, value) in headers.iter().filter(|(name, _)| name != "host") {
        request = request.header(name, value);
    }
    let request = match http2 {
        true => request.uri(format!("http://{authority}{path}")),
        false => request.uri(path).header("host", authority),
    };
    let request = request.body(Empty::<bytes::Bytes>::new()).context("a request")?;
    let response = if http2 {
        let shaken = hyper::client::conn::http2::handshake(TokioExecutor::new(), stream).await;
        let (mut sender, connection) = shaken.context("HTTP/2")?;
        tokio::spawn(connection);
        sender.send_request(request).await.context("sending")?
    } else {
        let shaken = hyper::client::conn::http1::handshake(stream).await;
        let (mut sender, connection) = shaken.context("HTTP/1.1")?;
        tokio::spawn(connection);
        sender.send_request(request).await.context("sending")?
    };
    let (head, body) = response.into_parts();
    body.collect().await.context("the body")?;
    let header = |name| head.headers.get(name).and_then(|value| value.to_str().ok());
    let mut words = vec![head.status.as_str()];
    words.extend(header(web::SERVED_BY));
    words.extend(header(web::ARRIVED_AS).filter(|version| *version != "HTTP/1.1"));
    Ok(words.join(" "))
}

async fn tcp(to: &str, server_first: bool) -> Result<String> {
    let mut stream = BufReader::new(TcpStream::connect(to).await.context("connecting")?);
    let mut said = String::new();
    if server_first && stream.read_line(&mut said).await.context("the greeting")? == 0 {
        return Err(anyhow!("closed without a greeting"));
    }
    stream.write_all(b"hello\n").await.context("sending")?;
    if stream.read_line(&mut said).await.context("the answer")? == 0 {
        return Err(anyhow!("closed without an answer"));
    }
    Ok(said.trim_end().replace('\n', ", "))
}

async fn web_socket(url: &Uri) -> Result<String> {
    let stream = connect(url).await?;
    let address = url.to_string().replacen("http", "ws", 1);
    let (mut socket, answer) = match tokio_tungstenite::client_async(address, stream).await {
        Ok(opened) => opened,
        Err(tungstenite::Error::Http(answer)) => return Ok(answer.status().as_str().to_owned()),
        Err(error) => return Err(error.into()),
    };
    let mut said = vec![answer.status().as_str().to_owned()];
    for text in ["one", "two"] {
        socket.send(text.into()).await.context("sending")?;
        let message = socket.next().await.ok_or_else(|| anyhow!("closed"))?.context("the echo")?;
        said.push(message.to_text().context("a text")?.to_owned());
    }
    socket.close(None).await.context("closing")?;
    Ok(said.join(", "))
}
