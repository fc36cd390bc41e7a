//! Where manifests come from.

#[cfg(feature = "client")]
pub mod cluster;
pub mod files;
