//! What tests of the whole need: scenarios and their goldens, resources as
//! readable JSON, the verdict of a real Envoy on them, and a fleet of simulated proxies.

pub mod api_server;
pub mod cluster;
pub mod control_plane;
pub mod descriptors;
pub mod envoy;
pub mod fleet;
pub mod fuzzing;
pub mod golden;
pub mod grpc;
pub mod ir_text;
pub mod kubectl;
pub mod meshes;
pub mod pem;
pub mod provenance;
pub mod reading;
pub mod scenario;
pub mod signing;
pub mod traffic;
pub mod validate;
