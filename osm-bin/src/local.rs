//! Local mode: a mesh from manifests on one Linux machine.
//!
//! Each pod is a network namespace with its containers' processes and a real
//! Envoy. Everything lives in namespaces of the mesh's own, whose end takes
//! everything with it.
//!
//! - [`plan`] decides what is to run, without looking at the machine.
//! - `mesh` follows the manifests and carries the plan out; `pod`, `sidecar` and
//!   `container` each run one thing; [`board`] is where they write what it does.
//! - [`init`] makes the namespaces, and sees to it that nothing outlives them;
//!   [`user_namespace`] lets an ordinary user do that.
//! - [`api`] is what a running mesh tells and is told; [`client`] speaks it.

pub mod address_book;
pub mod api;
pub mod board;
pub mod client;
pub mod command;
mod container;
pub mod context;
pub mod control;
mod dial;
pub mod environment;
pub mod envoy;
pub mod events;
pub mod hosts;
mod http;
pub mod init;
pub mod mesh;
mod netns;
pub mod network;
pub mod plan;
mod pod;
pub mod probe;
pub mod process;
pub mod requirements;
mod roots;
mod server;
mod sidecar;
pub mod state;
mod status;
pub mod user_namespace;

pub use server::choose;
