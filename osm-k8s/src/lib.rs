//! Kubernetes manifests as mesh facts, and the sources that read them.
//!
//! - [`manifest`]: a struct for each kind that the mesh understands, and its
//!   one conversion to the facts of `osm_core::model`. Whoever reads manifests,
//!   from files or from an API server, goes through these.
//! - [`crds`]: the definitions of the mesh's own kinds, made from those structs.
//! - [`document`]: the documents of a YAML or JSON file, each with its line.
//! - [`source::files`]: a file or a folder tree as a source, watched.
//! - [`status`]: what a policy object says of itself.
//! - `client`, `source::cluster`, `lease` (feature `client`): an API server, the same as
//!   a source, watched, and a lease that one of several replicas holds.
//! - [`injector`]: which pods get a proxy, and (feature `client`) what is added to them.
//! - `webhook`, `trust_bundle`, `token_review` (feature `client`): what admits pods and
//!   policies, what their proxies verify the control plane by, and how they prove themselves to it.
//! - `pod_secrets` (feature `client`): the Secrets by which they do so instead, where that is set.
//! - `cert_manager` (feature `client`): certificates that cert-manager signs.
//! - `reconcile` (feature `client`): objects of the installation, kept as they were installed.
//! - [`yaml`]: YAML of any kind as values, and back.
//! - `objects`, `forward` (feature `client`): objects of any kind, applied and waited for; ports of pods.
//!
//! What a program does with files is three lines:
//!
//! ```no_run
//! use osm_k8s::FileSource;
//!
//! # async fn example() {
//! let mut watch = FileSource::new("manifests").watch();
//! loop {
//!     println!("{} objects", watch.next().await.entries.len());
//! }
//! # }
//! ```
//!
//! Given to a catalog instead, a [`FileSource`] is a `ConfigSource`.
//!
//! This crate decides nothing about who may talk to whom, and knows nothing of
//! Envoy.

#[cfg(feature = "client")]
pub mod authority;
#[cfg(feature = "client")]
pub mod cert_manager;
#[cfg(feature = "client")]
pub mod client;
pub mod crds;
pub mod document;
#[cfg(feature = "client")]
mod event;
#[cfg(feature = "client")]
pub mod forward;
pub mod injector;
#[cfg(feature = "client")]
pub mod lease;
pub mod manifest;
#[cfg(feature = "client")]
pub mod metrics;
#[cfg(feature = "client")]
pub mod namespaces;
#[cfg(feature = "client")]
pub mod objects;
#[cfg(feature = "client")]
mod pace;
#[cfg(feature = "client")]
pub mod pod_events;
#[cfg(feature = "client")]
pub mod pod_secrets;
#[cfg(feature = "client")]
pub mod reconcile;
#[cfg(feature = "client")]
pub mod replicas;
#[cfg(feature = "client")]
pub mod root_stage;
#[cfg(feature = "client")]
pub mod secret_value;
pub mod source;
pub mod status;
#[cfg(all(test, feature = "client"))]
mod testing;
#[cfg(feature = "client")]
pub mod token_review;
#[cfg(feature = "client")]
pub mod trust_bundle;
#[cfg(feature = "client")]
pub mod webhook;
pub mod yaml;

#[cfg(feature = "client")]
pub use client::{ApiClient, NoApiServer};
pub use manifest::{Conversion, Manifest, ManifestKind, ManifestRef};
#[cfg(feature = "client")]
pub use source::cluster::{Freshness, KubernetesSource};
pub use source::files::{Entry, FileSource, ManifestStore, ManifestWatch, Manifests};
