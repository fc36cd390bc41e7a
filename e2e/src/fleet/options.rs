//! What can be asked of a measurement.

use std::path::PathBuf;

use clap::{Parser, ValueEnum};

/// Measures what a mesh of a size costs the controller
#[derive(Debug, Clone, Parser)]
#[command(name = "osm-fleet")]
pub struct FleetOptions {
    /// How many services the mesh has
    #[arg(long, default_value_t = 100)]
    pub services: usize,
    /// How many endpoints each service has
    #[arg(long, default_value_t = 2)]
    pub endpoints: usize,
    /// How many client proxies connect
    #[arg(long, default_value_t = 100)]
    pub proxies: usize,
    /// How many of the services' own proxies connect as well
    #[arg(long, default_value_t = 10)]
    pub servers: usize,
    /// How many services each client may reach under policy
    #[arg(long, default_value_t = 10)]
    pub reach: usize,
    /// Whether policy counts
    #[arg(long, value_enum, default_value_t = Mode::Policy)]
    pub mode: Mode,
    /// What is changed
    #[arg(long, value_enum, default_value_t = ChangeKind::Endpoint)]
    pub change: ChangeKind,
    /// How many changes are made, one after the other
    #[arg(long, default_value_t = 20)]
    pub changes: usize,
    /// Always changes one service, which so many proxies see: clients for endpoints and
    /// splits, servers for routes and policy
    #[arg(long, value_name = "PROXIES")]
    pub seen_by: Option<usize>,
    /// Instead: changes of endpoints, so many a second
    #[arg(long, value_name = "PER_SECOND")]
    pub rate: Option<f64>,
    /// For how many seconds
    #[arg(long, default_value_t = 60.0, requires = "rate")]
    pub seconds: f64,
    /// Instead: so many changes of endpoints at once, --changes times
    #[arg(long, value_name = "CHANGES", conflicts_with_all = ["rate", "soak"])]
    pub burst: Option<usize>,
    /// Instead: so many changes of endpoints, as fast as they are acknowledged, for the memory
    #[arg(long, value_name = "CHANGES", conflicts_with = "rate")]
    pub soak: Option<usize>,
    /// Instead: the root of the mesh is exchanged; needs --api-server
    #[arg(long, requires = "api_server", conflicts_with_all = ["rate", "burst", "soak"])]
    pub exchange_root: bool,
    /// How many seconds after they are told of it proxies have another root in their files
    #[arg(long, default_value_t = 2.0)]
    pub files_after: f64,
    /// How many times everything is measured, each time with a new controller
    #[arg(long, default_value_t = 1)]
    pub runs: usize,
    /// What the proxies speak
    #[arg(long, value_enum, default_value_t = DialectKind::Delta)]
    pub dialect: DialectKind,
    /// How many seconds nothing happens after the storm, before memory is read again
    #[arg(long, default_value_t = 3.0)]
    pub idle: f64,
    /// A file for the figures
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// Instead of files: an API server of its own, with the programs etcd and kube-apiserver of
    /// this folder
    #[arg(long, value_name = "PROGRAMS")]
    pub api_server: Option<PathBuf>,
    /// The controller; beside this program where nothing is said
    #[arg(long, value_name = "PROGRAM", env = "OSM_CONTROLLER")]
    pub controller: Option<PathBuf>,
}

/// Whether policy counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Mode {
    /// Everyone may reach everyone.
    Permissive,
    /// TrafficTargets decide.
    Policy,
}

/// What is changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ChangeKind {
    /// A service loses its last endpoint, or gets it back.
    Endpoint,
    /// The HTTPRouteGroup that all TrafficTargets name, or that of the one service,
    /// gets another path.
    Route,
    /// The split of a service gets another weight.
    Split,
    /// A TrafficTarget loses one of its sources, or gets it back.
    Policy,
}

/// What proxies speak.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum DialectKind {
    /// The incremental dialect.
    Delta,
    /// State of the world.
    Sotw,
}

/// What happens after the storm.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Course {
    /// One change after the other.
    Single,
    /// So many changes a second, for so many seconds.
    Steady(f64, f64),
    /// So many changes at once, again and again.
    Burst(usize),
    /// So many changes, as fast as they are acknowledged.
    Soak(usize),
    /// The root of the mesh is exchanged.
    Exchange,
}

impl FleetOptions {
    /// What happens after the storm.
    #[must_use]
    pub fn course(&self) -> Course {
        match (self.rate, self.burst, self.soak) {
            (Some(rate), ..) => Course::Steady(rate, self.seconds),
            (_, Some(changes), _) => Course::Burst(changes),
            (_, _, Some(changes)) => Course::Soak(changes),
            _ if self.exchange_root => Course::Exchange,
            _ => Course::Single,
        }
    }
}
