//! The workspace's own tasks, as functions. The command line is in `main.rs`; the
//! rules about source text and dependencies (`tidy`) also run under plain
//! `cargo test`. Not for anything that a user of the mesh needs.

pub mod artifacts;
pub mod bench;
pub mod cert_manager;
pub mod check;
pub mod cluster;
pub mod demo;
pub mod e2e;
pub mod envoy;
pub mod fuzz;
pub mod go;
pub mod goldens;
pub mod grpc;
pub mod helm;
pub mod images;
pub mod openbao;
pub mod packages;
pub mod suite;
pub mod tidy;
pub mod workspace;
