//! The applications of the bookstore demo: buyer, thief, store, warehouse and ledger.
//!
//! They know nothing of a mesh: they call each other by service name, in plain HTTP and TCP, and count what happens.
//! Whether a call arrives is decided by the sidecars around them.
//!
//! Each application is one `run` that takes a bound listener, its settings and a token that stops it.

pub mod http_client;
pub mod ledger;
pub mod ledger_client;
pub mod settings;
pub mod shopper;
pub mod store;
pub mod tally;
pub mod warehouse;
pub mod web;
