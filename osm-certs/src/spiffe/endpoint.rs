//! Where an agent listens, and the connection to it.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;

use hyper_util::rt::TokioIo;
use osm_core::diagnostic::harmless;
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tonic::transport::{Channel, Endpoint};

/// How much of a text is shown that is no endpoint, in characters.
const MAX_SHOWN: usize = 200;

/// The endpoint of a SPIFFE agent, as the variable `SPIFFE_ENDPOINT_SOCKET` has it (SPIFFE Workload Endpoint,
/// section 4).
///
/// ```
/// use osm_certs::spiffe::WorkloadEndpoint;
///
/// let endpoint: WorkloadEndpoint = "unix:///run/spire/agent.sock".parse()?;
/// assert_eq!(endpoint.to_string(), "unix:///run/spire/agent.sock");
/// assert!("tcp://127.0.0.1:8000".parse::<WorkloadEndpoint>().is_ok());
/// # Ok::<(), osm_certs::spiffe::InvalidEndpoint>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WorkloadEndpoint {
    /// A Unix socket, by its absolute path.
    Unix(PathBuf),
    /// A TCP port, where the network is trusted to tell the agent who asks: keys travel through it as they are.
    Tcp(SocketAddr),
}

/// A text that is no endpoint.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{0:?} is no endpoint of a SPIFFE agent: write it as unix:///ABSOLUTE/PATH or tcp://ADDRESS:PORT")]
pub struct InvalidEndpoint(String);

impl WorkloadEndpoint {
    /// Connects, once: a connection that is lost is another attempt of the caller's.
    pub(super) async fn connect(&self) -> io::Result<Channel> {
        match self {
            Self::Unix(path) => speak(UnixStream::connect(path).await?).await,
            Self::Tcp(address) => speak(TcpStream::connect(address).await?).await,
        }
    }
}

/// Speaks HTTP/2 over a connection.
async fn speak<C>(connection: C) -> io::Result<Channel>
where
    C: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let mut connection = Some(TokioIo::new(connection));
    let connect = tower::service_fn(move |_| {
        let connection = connection.take().ok_or_else(|| io::Error::from(io::ErrorKind::NotConnected));
        async { connection }
    });
    // The name is of no meaning: nothing is resolved, and there is no TLS.
    Endpoint::from_static("http://localhost").connect_with_connector(connect).await.map_err(io::Error::other)
}

impl FromStr for WorkloadEndpoint {
    type Err = InvalidEndpoint;

    fn from_str(text: &str) -> Result<Self, InvalidEndpoint> {
        let invalid = || InvalidEndpoint(harmless(text, MAX_SHOWN).into_owned());
        if let Some(address) = text.strip_prefix("tcp://") {
            return address.parse().map(Self::Tcp).map_err(|_| invalid());
        }
        let path = text.strip_prefix("unix:").ok_or_else(invalid)?;
        let path = path.strip_prefix("//").unwrap_or(path);
        let is_path = path.starts_with('/') && path.len() > 1 && !path.contains(['?', '#', '\0']);
        if is_path { Ok(Self::Unix(path.into())) } else { Err(invalid()) }
    }
}

impl fmt::Display for WorkloadEndpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "unix://{}", path.display()),
            Self::Tcp(address) => write!(f, "tcp://{address}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_is_a_path_or_an_address_with_a_port_and_nothing_else() {
        for text in ["unix:///run/spire/agent.sock", "tcp://127.0.0.1:8000", "tcp://[::1]:8000"] {
            assert_eq!(text.parse::<WorkloadEndpoint>().expect("an endpoint").to_string(), text);
        }
        assert_eq!("unix:/a".parse::<WorkloadEndpoint>(), Ok(WorkloadEndpoint::Unix("/a".into())));
        for text in [
            "",
            "/run/agent.sock",
            "unix://host/a",
            "unix:a",
            "unix:///",
            "unix:///a?b",
            "tcp://localhost:8000",
            "tcp://127.0.0.1",
            "tcp://127.0.0.1:8000/a",
            "https://127.0.0.1:8000",
        ] {
            assert!(text.parse::<WorkloadEndpoint>().is_err(), "{text}");
        }
    }
}
