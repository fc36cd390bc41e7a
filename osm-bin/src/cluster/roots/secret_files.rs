//! Values of Secrets as files that only this process reads, kept as the Secrets are.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use osm_certs::issuer::IssuerError;
use osm_core::model::{PemSource, SecretEntry};
use osm_core::name::{NamespaceName, QualifiedName};
use osm_k8s::ApiClient;
use osm_k8s::secret_value::{Purpose, SecretValueError, read};
use parking_lot::Mutex;
use tempfile::TempDir;
use tokio::time::sleep;
use xxhash_rust::xxh3::xxh3_64;

/// How often Secrets are looked at again.
const INTERVAL: Duration = Duration::from_secs(30);

/// Secrets of other namespaces are nothing of a root.
pub(super) fn is_of_mesh(secret: &QualifiedName, namespace: &NamespaceName) -> Result<(), IssuerError> {
    if secret.namespace == *namespace {
        return Ok(());
    }
    Err(IssuerError::refused(format!(
        "Secret {secret} is not read: those of a root are in the namespace of the mesh, {namespace}"
    )))
}

/// The folder of these files. It goes with its value.
pub(super) struct SecretFiles {
    server: ApiClient,
    /// The only namespace whose Secrets are read.
    namespace: NamespaceName,
    folder: OnceLock<TempDir>,
    /// What is kept, and how it is read.
    files: Mutex<BTreeSet<(SecretEntry, Purpose)>>,
}

impl SecretFiles {
    pub(super) fn new(server: ApiClient, namespace: NamespaceName) -> Arc<Self> {
        Arc::new(Self { server, namespace, folder: OnceLock::new(), files: Mutex::default() })
    }

    /// The folder, made when it is first needed.
    fn folder(&self) -> Result<&Path, IssuerError> {
        if let Some(folder) = self.folder.get() {
            return Ok(folder.path());
        }
        let made = tempfile::Builder::new().prefix("osm-secrets-").tempdir().map_err(|error| {
            IssuerError::unavailable("no folder can be made for values of Secrets among temporary files")
                .because(error)
        })?;
        Ok(self.folder.get_or_init(|| made).path())
    }

    /// The file of a value that is shown to a Vault server, which is there when this returns.
    pub(super) async fn proof(&self, key: &SecretEntry) -> Result<PathBuf, IssuerError> {
        self.file(key, Purpose::Proof).await
    }

    async fn file(&self, key: &SecretEntry, purpose: Purpose) -> Result<PathBuf, IssuerError> {
        let value = self.read(key, purpose).await?;
        let path = self.path(key)?;
        self.write(&path, &value)?;
        self.files.lock().insert((key.clone(), purpose));
        Ok(path)
    }

    /// Where a value is. Keys of Secrets have no slash, and this name is not theirs to choose.
    fn path(&self, key: &SecretEntry) -> Result<PathBuf, IssuerError> {
        Ok(self.folder()?.join(format!("{:016x}", xxh3_64(key.to_string().as_bytes()))))
    }

    /// A value that is text, read once: no file is made of it.
    pub(super) async fn text(&self, key: &SecretEntry) -> Result<String, IssuerError> {
        let value = self.read(key, Purpose::Certificates).await?;
        String::from_utf8(value)
            .map_err(|error| IssuerError::refused(format!("{key} is no text")).because(error))
    }

    /// The file of certificates, which is there when this returns.
    pub(super) async fn pem(&self, source: &PemSource) -> Result<PathBuf, IssuerError> {
        match source {
            PemSource::Secret(key) => self.file(key, Purpose::Certificates).await,
            PemSource::Text(text) => {
                let path = self.folder()?.join(format!("{:016x}.pem", xxh3_64(text.as_bytes())));
                self.write(&path, text.as_bytes())?;
                Ok(path)
            }
        }
    }

    async fn read(&self, key: &SecretEntry, purpose: Purpose) -> Result<Vec<u8>, IssuerError> {
        is_of_mesh(&key.secret, &self.namespace)?;
        read(&self.server, key, purpose).await.map_err(|error| {
            let said = error.to_string();
            match error {
                SecretValueError::Missing { .. } => IssuerError::refused(said).because(error),
                SecretValueError::Server { .. } => IssuerError::unavailable(said).because(error),
            }
        })
    }

    fn write(&self, path: &Path, value: &[u8]) -> Result<(), IssuerError> {
        if fs::read(path).is_ok_and(|there| there == value) {
            return Ok(());
        }
        let fresh = path.with_extension("new");
        let written = || -> std::io::Result<()> {
            let mut file =
                File::options().create(true).write(true).truncate(true).mode(0o600).open(&fresh)?;
            file.write_all(value)?;
            fs::rename(&fresh, path)
        };
        written()
            .map_err(|error| IssuerError::unavailable(format!("writing {}", path.display())).because(error))
    }

    /// Keeps the files as the Secrets are. Never returns.
    pub(super) async fn keep(self: Arc<Self>) {
        let mut failure = None;
        loop {
            sleep(INTERVAL).await;
            let files = self.files.lock().clone();
            let mut said = None;
            for (key, purpose) in files {
                if let Err(error) = self.file(&key, purpose).await {
                    said = Some(error.to_string());
                }
            }
            if said != failure {
                if let Some(error) = &said {
                    tracing::warn!(error, "a Secret can't be read: what it held before counts");
                }
                failure = said;
            }
        }
    }
}
