//! The authorities of the mesh, as proxies and the API server read them.

use std::collections::BTreeMap;
use std::path::Path;

use osm_certs::provider::TrustWatch;
use osm_k8s::injector::IDENTITY_FOLDER;
use osm_k8s::trust_bundle::TrustFiles;
use osm_k8s::webhook::CaPem;
use osm_xds::bootstrap::{TOKEN_SECRET_FILE, TRUST_SECRET_FILE, token_file, trust_file};
use tokio::sync::watch;

/// The file of the authorities in PEM, for people and other programs.
const PEM_FILE: &str = "ca-bundle.pem";

/// The authorities in both forms, and what keeps them so.
pub(super) fn follow(
    mut trust: TrustWatch,
) -> (TrustFiles, CaPem, impl Future<Output = ()> + Send + 'static) {
    let (files, files_watch) = watch::channel(None);
    let (pem, pem_watch) = watch::channel(None);
    let followed = async move {
        while let Ok(bundle) = trust.ready().await {
            files.send_replace(Some(trust_files(bundle.pem())));
            pem.send_replace(Some(bundle.pem().to_owned()));
            if trust.changed().await.is_err() {
                break;
            }
        }
        // What was said last stays in force.
        std::future::pending::<()>().await;
    };
    (files_watch, pem_watch, followed)
}

fn trust_files(pem: &str) -> BTreeMap<String, String> {
    [
        (PEM_FILE, pem.to_owned()),
        (TRUST_SECRET_FILE, trust_file(pem).to_string()),
        (TOKEN_SECRET_FILE, token_file(Path::new(IDENTITY_FOLDER)).to_string()),
    ]
    .map(|(name, text)| (name.to_owned(), text))
    .into()
}
