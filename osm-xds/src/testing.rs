//! For tests of this and other crates (feature `testing`): a model of an Envoy,
//! small resources, and transcripts that can be read aloud.
//!
//! [`FakeEnvoy`] does what Envoy does on an ADS stream, as far as a control plane
//! can tell. [`Transcript`] plays a script of requests, views and expected
//! responses. [`resources`] makes messages that both Envoy and the model
//! understand. [`simulation`] runs a whole control plane with many proxies under
//! faults, in no time.
//!
//! Nothing here does I/O: what goes in and comes out are messages.

mod envoy;
mod references;
pub mod resources;
mod script;
pub mod simulation;
mod transcript;

pub use envoy::{FakeEnvoy, Request, Violation};
pub use references::{References, references};
pub use transcript::Transcript;
