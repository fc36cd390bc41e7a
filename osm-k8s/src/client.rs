//! The connection to an API server: how it is found, and what can be asked of it.
//!
//! Who is asked for what is in the modules that use it. Only these know the
//! types of the client library.

use std::future::Future;
use std::path::PathBuf;
use std::time::Duration;

use kube::Config;
use kube::config::{KubeConfigOptions, Kubeconfig};
use thiserror::Error;

/// How long a connection may take to be made.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a connection may say nothing that something is waited for on: a little longer than the
/// client library lets a watch be silent. What waits for less time says so itself.
const SILENCE: Duration = Duration::from_secs(300);
/// How long an API server may take to answer, where nobody needs it sooner.
pub(crate) const ANSWER: Duration = Duration::from_secs(10);

/// Bounds how long the API server may take to answer. The client library waits for ever.
pub(crate) async fn bounded<T>(
    bound: Duration,
    asked: impl Future<Output = kube::Result<T>>,
) -> kube::Result<T> {
    let late = || kube::Error::Service(Box::new(NoAnswer(bound)));
    tokio::time::timeout(bound, asked).await.unwrap_or_else(|_| Err(late()))
}

/// Whether the API server has answered that this may not be done, or not like this: the same is not
/// done soon, as by one that is away, starts or has too much to do.
pub(crate) fn is_refusal(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if (400..500).contains(&status.code) && status.code != 429)
}

/// The API server took too long to answer.
#[derive(Debug, Error)]
#[error("the API server did not answer within {0:?}")]
struct NoAnswer(Duration);

/// An API server, and who asks it. Cheap to clone.
#[derive(Clone)]
pub struct ApiClient {
    client: kube::Client,
}

/// Why there is no API server to ask.
#[derive(Debug, Error)]
pub enum NoApiServer {
    /// A kubeconfig can't be read.
    #[error("the kubeconfig {} can't be used", path.display())]
    Kubeconfig {
        /// Where it is.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        source: Box<kube::config::KubeconfigError>,
    },
    /// There is no kubeconfig, and this is no pod.
    #[error("this is no pod of a cluster, and no kubeconfig was named")]
    NotInCluster(#[source] Box<kube::config::InClusterError>),
    /// The credentials or the address can't be used.
    #[error("the API server can't be asked with these credentials")]
    Client(#[source] Box<kube::Error>),
}

impl ApiClient {
    /// The API server of a kubeconfig; where several are named, each adds to those
    /// before it, as `KUBECONFIG` says. With none, that of the cluster in which this
    /// runs, as the service account of its pod.
    ///
    /// Nothing is asked yet, so a server that is away is no error.
    ///
    /// # Errors
    /// When a file can't be used, or there is none and this is no pod.
    pub async fn find(kubeconfigs: &[PathBuf]) -> Result<Self, NoApiServer> {
        let config = match kubeconfigs {
            [] => Config::incluster().map_err(|source| NoApiServer::NotInCluster(Box::new(source)))?,
            paths => of_kubeconfigs(paths).await?,
        };
        Self::with(config)
    }

    fn with(mut config: Config) -> Result<Self, NoApiServer> {
        config.connect_timeout = Some(CONNECT_TIMEOUT);
        config.read_timeout = Some(SILENCE);
        let client =
            kube::Client::try_from(config).map_err(|source| NoApiServer::Client(Box::new(source)))?;
        Ok(Self { client })
    }

    /// The client library's own client.
    #[must_use]
    pub fn kube(&self) -> kube::Client {
        self.client.clone()
    }
}

impl From<kube::Client> for ApiClient {
    fn from(client: kube::Client) -> Self {
        Self { client }
    }
}

impl std::fmt::Debug for ApiClient {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // It holds credentials.
        f.debug_struct("ApiClient").finish_non_exhaustive()
    }
}

async fn of_kubeconfigs(paths: &[PathBuf]) -> Result<Config, NoApiServer> {
    let mut merged = Kubeconfig::default();
    let mut last = PathBuf::new();
    for path in paths {
        last.clone_from(path);
        let refuse = |source| NoApiServer::Kubeconfig { path: path.clone(), source: Box::new(source) };
        let read = Kubeconfig::read_from(path).map_err(refuse)?;
        merged = merged.merge(read).map_err(refuse)?;
    }
    Config::from_custom_kubeconfig(merged, &KubeConfigOptions::default())
        .await
        .map_err(|source| NoApiServer::Kubeconfig { path: last, source: Box::new(source) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_server_that_does_not_answer_is_waited_for_no_longer_than_that() {
        let begun = tokio::time::Instant::now();
        let error = bounded(ANSWER, std::future::pending::<kube::Result<()>>()).await.expect_err("late");
        assert_eq!(begun.elapsed(), ANSWER);
        assert!(error.to_string().contains("did not answer within 10s"), "{error}");
        assert!(matches!(bounded(ANSWER, async { Ok(1) }).await, Ok(1)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_on_which_nothing_is_said_is_given_up() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let silent = async {
            let mut connections = Vec::new();
            loop {
                connections.push(listener.accept().await.expect("a connection"));
            }
        };
        let config = Config::new(format!("http://{address}").parse().expect("an address"));
        let client = ApiClient::with(config).expect("a client").kube();
        let begun = tokio::time::Instant::now();
        tokio::select! {
            asked = client.apiserver_version() => drop(asked.expect_err("nobody answers")),
            () = silent => {}
        }
        assert!((SILENCE..SILENCE * 2).contains(&begun.elapsed()), "{:?}", begun.elapsed());
    }
}
