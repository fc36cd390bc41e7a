//! Where the root key of a mesh without MeshRootCertificates is kept.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context, Result};
use osm_certs::in_process::InProcessCa;
use osm_certs::issuer::Issuer;
use osm_certs::vault::VaultIssuer;

/// Where the root key of the mesh is kept.
#[derive(Debug, Clone)]
pub enum Authority {
    /// In this folder; made there if there is none.
    Folder(PathBuf),
    /// In memory: every start makes a new one.
    Ephemeral,
    /// Wherever this one came from.
    Given(Arc<InProcessCa>),
    /// On a server, by which certificates are issued.
    Vault(VaultIssuer),
}

/// The issuer that it is.
///
/// # Errors
/// When the root can't be used.
pub(super) fn open_authority(authority: &Authority) -> Result<Arc<dyn Issuer>> {
    let made = match authority {
        Authority::Folder(folder) => {
            InProcessCa::create_or_load(folder).context("the mesh's certificate authority")?
        }
        Authority::Ephemeral => InProcessCa::ephemeral().context("making a root key")?,
        Authority::Given(authority) => return Ok(Arc::clone(authority) as _),
        Authority::Vault(issuer) => return Ok(Arc::new(issuer.clone())),
    };
    Ok(Arc::new(made))
}
