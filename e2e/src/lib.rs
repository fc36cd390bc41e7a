//! What tests of the whole need: resources as readable JSON, and the verdict of
//! a real Envoy on them.

pub mod descriptors;
pub mod envoy;
pub mod validate;
