//! Envoy resources from mesh policy, and the xDS server that delivers them.
//!
//! Three rooms: [`resource`] holds encoded resources and how they depend on
//! each other; `generate` writes them from the intermediate representation of
//! `osm-core`; `session` and `server` deliver them over ADS. Generation makes
//! no policy choices, and only `server` touches the network.

pub mod bootstrap;
pub mod encode;
pub mod generate;
pub mod resource;
pub mod view;
