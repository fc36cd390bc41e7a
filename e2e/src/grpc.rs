//! Where gRPC's own library for tests is.

use std::path::PathBuf;

use anyhow::{Context, Result};

/// The folder in which Python finds gRPC: `$OSM_GRPC`.
///
/// # Errors
/// When it is not said; the message says how to get it.
pub fn find() -> Result<PathBuf> {
    let said = std::env::var_os("OSM_GRPC").filter(|path| !path.is_empty());
    said.map(PathBuf::from)
        .context("gRPC for Python is missing: set $OSM_GRPC to what `cargo xtask grpc` prints")
}
