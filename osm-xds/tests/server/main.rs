//! The discovery server over real TLS on loopback.

mod delivery;
mod fixture;
mod identity;
mod lifecycle;
