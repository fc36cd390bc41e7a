//! Admission, trust and tokens with a real API server.
//!
//! The webhooks of this process are asked by that server, so it must be able to reach the address
//! by which this machine reaches it. Everything is in namespaces of the test's own, and gone after it.
#![allow(clippy::disallowed_methods, reason = "a test is told by its environment where the cluster is")]

mod admission;
#[path = "../support/eventually.rs"]
mod eventually;
mod mesh;
mod restore;
mod roots;
mod tokens;
