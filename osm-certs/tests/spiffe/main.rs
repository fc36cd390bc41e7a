//! Certificates from a SPIFFE agent: what it gives is shown at once, what is not to be believed is told and
//! changes nothing, and no fault of the agent takes away what serves.

mod agent;
mod documents;
#[path = "../../../osm-k8s/tests/support/eventually.rs"]
mod eventually;
mod faults;
mod mesh;
mod serving;
