//! A manager over a real server.

use std::fs;
use std::ops::Deref;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use osm_certs::clock::{Clock, SystemClock};
use osm_certs::manager::CertificateManager;
use osm_certs::vault::{Login, VaultIssuer, VaultOptions};
use serde_json::json;
use tokio::task::JoinHandle;

use crate::openbao::OpenBao;
use crate::relay::Relay;
use crate::serving::{Serving, impatient};

pub(crate) use crate::serving::{eventually, till};

/// A server, something on the way to it, and a manager whose token is in a file.
pub(crate) struct Mesh {
    pub(crate) bao: OpenBao,
    pub(crate) relay: Relay,
    folder: tempfile::TempDir,
    serving: Serving,
    driving: JoinHandle<()>,
}

impl Drop for Mesh {
    fn drop(&mut self) {
        self.driving.abort();
    }
}

impl Deref for Mesh {
    type Target = Serving;

    fn deref(&self) -> &Serving {
        &self.serving
    }
}

impl Mesh {
    pub(crate) async fn start() -> Self {
        Self::start_with(|_, _| {}).await
    }

    /// With other settings, which may be about files in the mesh's own folder.
    pub(crate) async fn start_with(change: impl FnOnce(&mut VaultOptions, &Site<'_>)) -> Self {
        Self::start_by(Arc::new(SystemClock), change).await
    }

    /// The same by another clock than the server's.
    pub(crate) async fn start_by(
        clock: Arc<dyn Clock>,
        change: impl FnOnce(&mut VaultOptions, &Site<'_>),
    ) -> Self {
        let bao = OpenBao::start().await;
        let relay = Relay::to(bao.plain).await;
        let relay_with_tls = Relay::to(bao.tls).await;
        let folder = tempfile::tempdir().expect("a folder");
        let token_file = folder.path().join("token");
        fs::write(&token_file, bao.make_token(&json!({"period": "1h"}))).expect("written");
        let mut options =
            VaultOptions::new(format!("http://{}", relay.address), "mesh", Login::token_file(token_file));
        options.patience = Duration::from_secs(2);
        change(&mut options, &Site { bao: &bao, folder: folder.path().to_owned(), tls: &relay_with_tls });
        let relay = if options.address.starts_with("https") { relay_with_tls } else { relay };
        let issuer = VaultIssuer::new(options).expect("they are of use");
        let (manager, driver) =
            CertificateManager::new(Arc::new(issuer.clone()), impatient().with_clock(clock));
        let driving = tokio::spawn(async move {
            tokio::select! {
                () = driver.run() => {}
                () = issuer.keep_signed_in() => {}
            }
        });
        let serving = Serving::by(manager).await;
        Self { bao, relay, folder, serving, driving }
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}

/// What settings can be about.
pub(crate) struct Site<'a> {
    pub(crate) bao: &'a OpenBao,
    pub(crate) folder: PathBuf,
    /// The way to the server's port with TLS.
    pub(crate) tls: &'a Relay,
}
