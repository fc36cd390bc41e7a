//! Pure mesh logic: facts in, a linked snapshot, policy decisions out.
//!
//! This crate holds the model of a service mesh (services, workloads, access
//! and split policy), the [`snapshot`] that links those facts, the [`policy`]
//! that decides for each proxy who may talk to whom, and the intermediate
//! representation ([`ir`]) that a data-plane generator turns into
//! configuration.
//!
//! It is not the place for anything that does I/O or knows a dialect: no
//! Kubernetes, no Envoy, no files, no clock.
//!
//! ```
//! use osm_core::identity::{ServiceIdentity, TrustDomain};
//!
//! let shop: TrustDomain = "cluster.local".parse()?;
//! let buyer = ServiceIdentity::new("bookbuyer".parse()?, "bookbuyer".parse()?);
//! assert_eq!(buyer.principal(&shop).to_string(), "spiffe://cluster.local/bookbuyer/bookbuyer");
//! # Ok::<(), osm_core::name::InvalidName>(())
//! ```

pub mod catalog;
pub mod diagnostic;
pub mod identity;
pub mod interception;
pub mod ir;
pub mod model;
pub mod name;
pub mod policy;
pub mod probe;
pub mod re2;
pub mod snapshot;
pub mod source;

#[cfg(feature = "test-util")]
pub mod testing;
