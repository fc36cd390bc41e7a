//! The commands of `osm` against a real cluster: each test has a mesh and namespaces of its own, and leaves none.

mod events;
mod helm;
mod install;
mod looks;
mod namespaces;
mod osm;
mod restore;
#[path = "../../../osm-k8s/tests/support/within.rs"]
mod within;
