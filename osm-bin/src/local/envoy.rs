//! The Envoy beside a pod: its files, how it is started, and when it serves.

use std::fs::{self, DirBuilder};
use std::io::Write;
use std::net::SocketAddr;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, chown, fchown};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use nix::fcntl::OFlag;
use osm_core::identity::ProxyId;
use osm_core::interception::PROXY_UID;
use osm_xds::bootstrap::{
    Admin, Bootstrap, ControlPlane, Credentials, Node, Pages, certificate_file, drain_arguments, trust_file,
};
use tokio::net::UnixStream;

use super::http;

/// How long Envoy may take to answer a question about itself.
const ADMIN_TIMEOUT: Duration = Duration::from_secs(2);

/// The files of one proxy, in a folder that only it and root can look into.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EnvoyFiles {
    folder: PathBuf,
}

impl EnvoyFiles {
    /// Makes the folder, empty but for what an earlier Envoy left.
    ///
    /// # Errors
    /// When it can't be made.
    pub fn create(folder: PathBuf) -> Result<Self> {
        let made = DirBuilder::new().recursive(true).mode(0o700).create(&folder);
        made.and_then(|()| chown(&folder, Some(PROXY_UID), Some(PROXY_UID)))
            .with_context(|| format!("making the folder {}", folder.display()))?;
        Ok(Self { folder })
    }

    fn bootstrap(&self) -> PathBuf {
        self.folder.join("bootstrap.json")
    }

    fn certificate(&self) -> PathBuf {
        self.folder.join("certificate.json")
    }

    fn trust(&self) -> PathBuf {
        self.folder.join("trust.json")
    }

    fn socket(&self) -> PathBuf {
        self.folder.join("admin.sock")
    }

    /// Writes the bootstrap of a proxy.
    ///
    /// # Errors
    /// When it can't be written.
    pub fn write_bootstrap(&self, proxy: &ProxyId, address: SocketAddr, server_name: &str) -> Result<()> {
        let bootstrap = Bootstrap {
            node: Some(Node {
                proxy: proxy.uuid.clone(),
                cluster: format!("{}.{}", proxy.identity.service_account, proxy.identity.namespace),
            }),
            control_plane: ControlPlane {
                host: address.ip().to_string(),
                port: address.port(),
                server_name: server_name.to_owned(),
            },
            credentials: Credentials::Certificate { certificate: self.certificate(), trust: self.trust() },
            admin: Admin::Socket(self.socket()),
            pages: Pages::default(),
        };
        // An Envoy that was killed leaves its socket, and the next one can't bind it.
        fs::remove_file(self.socket()).ok();
        write(&self.bootstrap(), &bootstrap.to_json())
    }

    /// Writes what the proxy proves itself with. A running Envoy takes it up.
    ///
    /// # Errors
    /// When it can't be written; what was there before still is.
    pub fn write_certificate(&self, chain_pem: &str, key_pem: &str) -> Result<()> {
        write(&self.certificate(), &certificate_file(chain_pem, key_pem))
    }

    /// Writes whom the proxy believes. A running Envoy takes it up.
    ///
    /// # Errors
    /// When it can't be written; what was there before still is.
    pub fn write_trust(&self, bundle_pem: &str) -> Result<()> {
        write(&self.trust(), &trust_file(bundle_pem))
    }

    /// The arguments of Envoy.
    #[must_use]
    pub fn arguments(&self) -> Vec<String> {
        let bootstrap = self.bootstrap().display().to_string();
        let words = [
            "--config-path",
            &bootstrap,
            "--concurrency",
            "1",
            "--disable-hot-restart",
            "--file-flush-interval-msec",
            "50",
            "--log-level",
            "warning",
        ];
        words.map(str::to_owned).into_iter().chain(drain_arguments()).collect()
    }

    /// Whether Envoy has begun to serve: it says so, and has taken up listeners at
    /// least once. That it has all of them is for the control plane to say.
    pub async fn is_live(&self) -> bool {
        let Ok(ready) = self.ask("/ready").await else { return false };
        let listeners =
            self.ask("/stats?filter=listener_manager.lds.update_success").await.unwrap_or_default();
        let updates = listeners.trim().rsplit(' ').next().and_then(|count| count.parse::<u64>().ok());
        ready.trim() == "LIVE" && updates.is_some_and(|count| count > 0)
    }

    async fn ask(&self, path: &str) -> Result<String> {
        let asked = async {
            let stream = UnixStream::connect(self.socket()).await?;
            let request = http::request("GET", path, "envoy", &Default::default())?;
            let answer = http::exchange(stream, request).await?;
            Ok(String::from_utf8_lossy(answer.body()).into_owned())
        };
        tokio::time::timeout(ADMIN_TIMEOUT, asked).await.context("Envoy does not answer")?
    }
}

/// Writes a file that only the proxy can read, by renaming it into its place:
/// that is what Envoy notices, and nobody sees half of it.
fn write(path: &Path, value: &serde_json::Value) -> Result<()> {
    let fresh = path.with_extension("new");
    // The folder is the proxy's own: whatever it has put there is not written through.
    fs::remove_file(&fresh).ok();
    let written = fs::File::options()
        .create_new(true)
        .write(true)
        .mode(0o600)
        .custom_flags(OFlag::O_NOFOLLOW.bits())
        .open(&fresh)
        .and_then(|mut file| {
            file.write_all(value.to_string().as_bytes())?;
            fchown(&file, Some(PROXY_UID), Some(PROXY_UID))
        })
        .and_then(|()| fs::rename(&fresh, path));
    written.with_context(|| format!("writing {}", path.display()))
}
