//! `osm local demo`: the bookstore, walked through step by step.
//!
//! A demo is a client of local mode: it lays manifests out in a folder, has a
//! mesh run from them, edits them as a person would, and looks at what the
//! applications counted. [`script`] says what is done and what is expected;
//! [`counters`] reads what happened; [`run`] does it; [`report`] and [`screen`]
//! tell it, to a machine or to a person.

pub mod counters;
pub mod manifests;
pub mod report;
pub mod run;
pub mod screen;
pub mod script;

use std::path::PathBuf;

use clap::Args;

pub use run::demo;

/// Runs the bookstore: a walk from permissive mode through policy, traffic shifting and certificate rotation
#[derive(Debug, Clone, Args)]
pub struct DemoArgs {
    /// Walk through without waiting, print a line of JSON for each step, and fail when one is not as it should be
    #[arg(long)]
    pub once: bool,
    /// The Envoy to run [default: $OSM_ENVOY, `envoy` on the path, the one that `cargo xtask envoy` fetched]
    #[arg(long, value_name = "FILE")]
    pub envoy: Option<PathBuf>,
    /// The folder of the program `bookstore-app`, if it is neither beside this one nor on the path
    #[arg(long, value_name = "FOLDER")]
    pub apps: Option<PathBuf>,
}
