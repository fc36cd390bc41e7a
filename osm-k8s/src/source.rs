//! Where manifests come from.

pub mod files;
