//! The roots of a mesh on this machine: each a folder with certificate and key.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use osm_certs::in_process::InProcessCa;
use osm_certs::issuer::{Issuer, IssuerError, async_trait};
use osm_core::identity::ProxyUuid;
use osm_core::model::{RootCertificate, RootProvider};
use osm_core::name::QualifiedName;

use super::context::Context;
use super::state::StateFolder;
use crate::install::ROOT_SECRET;
use crate::rotation::{Issuers, RotationOptions, folder::StageFile};

/// How a mesh with this folder changes roots.
pub(super) fn options(state: &StateFolder) -> RotationOptions {
    RotationOptions {
        store: Arc::new(StageFile::new(state.roots_stage())),
        first_secret: format!("osm-system/{ROOT_SECRET}").parse().ok(),
        issuers: Arc::new(Folders(state.clone())),
        replica: "local".into(),
        others: None,
        patience: Duration::ZERO,
    }
}

/// The pods by the unique names of their proxies.
pub(super) fn pod_names(context: &Context) -> BTreeMap<ProxyUuid, String> {
    let pods = context.board.pods().into_iter();
    pods.filter_map(|pod| Some((pod.plan.proxy()?.uuid, pod.plan.name.to_string()))).collect()
}

/// Roots in folders.
struct Folders(StateFolder);

impl Folders {
    /// Where the root is that a cluster would keep in this Secret.
    fn folder(&self, secret: &QualifiedName) -> PathBuf {
        match secret.name.as_str() {
            ROOT_SECRET => self.0.authority(),
            name => self.0.root(secret.namespace.as_str(), name),
        }
    }
}

#[async_trait]
impl Issuers for Folders {
    async fn issuer(&self, root: &RootCertificate, is_trusted: bool) -> Result<Arc<dyn Issuer>, IssuerError> {
        let folder = match &root.provider {
            RootProvider::InProcess { secret } => self.folder(secret),
            other => {
                return Err(IssuerError::refused(format!(
                    "root {} is kept by {other}: a mesh on this machine has roots with `provider: tresor` only",
                    root.name.name
                )));
            }
        };
        if is_trusted && !folder.is_dir() {
            return Err(IssuerError::refused(format!(
                "root {} is in use, and its folder {} is gone: restore it from a copy",
                root.name.name,
                folder.display()
            )));
        }
        let made = tokio::task::spawn_blocking(move || InProcessCa::create_or_load(folder)).await;
        match made {
            Ok(Ok(authority)) => Ok(Arc::new(authority)),
            Ok(Err(error)) => Err(IssuerError::refused(error.to_string()).because(error)),
            Err(error) => Err(IssuerError::unavailable("reading the root's folder").because(error)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_root_is_made_once_and_not_again_while_it_is_in_use() {
        let base = tempfile::tempdir().expect("a folder");
        let state = StateFolder::new(base.path(), "shop").expect("a folder");
        state.create().expect("made");
        let folders = Folders(state.clone());
        let name: QualifiedName = "osm-system/next".parse().expect("a name");
        let root = RootCertificate::new(name.clone(), RootProvider::InProcess { secret: name });
        let gone = folders.issuer(&root, true).await.err().expect("there is none").to_string();
        assert!(gone.contains("restore it from a copy"), "{gone}");
        assert!(!state.root("osm-system", "next").exists());
        let bundle = async |is_trusted| {
            let issuer = folders.issuer(&root, is_trusted).await.expect("an issuer");
            issuer.trust_bundle().await.expect("its root")
        };
        assert_eq!(bundle(false).await, bundle(true).await);
    }
}
