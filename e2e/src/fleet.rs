//! A fleet: the real controller as a process of its own, a generated mesh in files or in a
//! real API server, and
//! simulated proxies that ask and acknowledge as Envoy does.
//!
//! It measures what a mesh of a size costs: the storm when all proxies connect,
//! and then changes: one after the other, each until the last proxy that it
//! concerns has acknowledged it; or so many a second, many at once, or for long; or the exchange of the mesh's root. Proxies share one process here and are kept
//! cheap; what is measured is the controller's.

mod admission;
mod api;
mod beliefs;
mod board;
mod controller;
mod credentials;
mod exchange;
mod figures;
mod manifests;
mod many;
mod options;
mod plan;
mod proxy;
mod references;
mod report;
mod run;
mod single;
mod stream;
mod wire;
mod world;

pub use admission::{AdmissionCourse, AdmissionFigures, AdmissionOptions, admit};
pub use figures::{
    BurstFigures, ChangeFigures, CourseFigures, ExchangeFigures, Figures, Percentiles, Pushes, SoakFigures,
    StartFigures, SteadyFigures, StormFigures,
};
pub use manifests::{documents, of_object};
pub use options::{ChangeKind, Course, DialectKind, FleetOptions, Mode};
pub use plan::{Plan, PlannedChange};
pub use report::{Spread, table, to_json};
pub use run::run;
