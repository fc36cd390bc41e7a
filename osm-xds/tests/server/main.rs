//! The discovery server over real TLS on loopback.

mod admission;
mod churn;
mod delivery;
mod fixture;
mod flood;
mod hostile;
mod identity;
mod lifecycle;
mod names;
mod slow;
mod strangers;
mod trials;
mod trust;
