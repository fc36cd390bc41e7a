//! An API server as a source, on a real one: whatever `KUBECONFIG` names.
//!
//! Each test is a mesh of its own with namespaces of its own, and leaves nothing
//! behind but the definitions of kinds.
#![allow(clippy::disallowed_methods, reason = "the tests are told by the environment where the cluster is")]

mod changes;
mod cluster;
mod definitions;
#[path = "../support/eventually.rs"]
mod eventually;
mod faults;
mod hostile;
mod outage;
mod relay;
mod statuses;
