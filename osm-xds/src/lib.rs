//! Envoy resources from mesh policy, and the xDS server that delivers them.
//!
//! From left to right: [`generate`] writes [`resource`]s from the intermediate
//! representation of `osm-core`; [`push`] keeps the [`view`] of every connected
//! proxy up to date, redoing only what a change concerns; [`session`] decides
//! what is sent when; [`server`] sends it over ADS. Generation makes no policy
//! choices, and only `server` touches the network.

pub mod bootstrap;
pub mod client;
pub mod credential;
pub mod encode;
pub mod generate;
pub mod metrics;
pub mod push;
pub mod resource;
pub mod server;
pub mod session;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
pub mod view;
