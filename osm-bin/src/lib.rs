//! What the two programs `osm-controller` and `osm` are made of.
//!
//! This is the only crate that reads flags and the environment, installs
//! anything global, and decides what runs. What a mesh means, how it is written
//! down for Envoy and how certificates are made is in the other crates.
#![allow(clippy::disallowed_methods, reason = "the programs may read the clock, spawn tasks and exit")]

pub mod admin;
pub mod args;
pub mod chart;
pub mod checks;
pub mod cli;
pub mod cluster;
pub mod controller;
pub mod daemon;
pub mod demo;
mod fatal;
mod findings;
pub mod install;
pub mod limits;
pub mod local;
pub mod mesh_namespace;
pub mod own_domain;
mod readiness;
pub mod rotation;
pub mod sidecar;
pub mod telemetry;
#[cfg(test)]
mod testing;
pub mod verdict;
pub mod version;
