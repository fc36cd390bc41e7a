//! A fleet: the real controller as a process of its own, a generated mesh, and
//! simulated proxies that ask and acknowledge as Envoy does.
//!
//! It measures what a mesh of a size costs: the storm when all proxies connect,
//! and then changes, one after the other, each until the last proxy that it
//! concerns has acknowledged it. Proxies share one process here and are kept
//! cheap; what is measured is the controller's.

mod board;
mod controller;
mod credentials;
mod manifests;
mod plan;
mod proxy;
mod references;
mod report;
mod run;
mod stream;
mod wire;

pub use manifests::{documents, of_object};
pub use plan::{ChangeKind, DialectKind, FleetOptions, Mode, Plan, PlannedChange};
pub use report::{ChangeFigures, Figures, Percentiles, StormFigures, table};
pub use run::run;
