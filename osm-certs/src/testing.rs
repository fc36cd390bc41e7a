//! What tests of this and other crates need: an issuer that misbehaves as told,
//! a clock that follows simulated time, and the kit that checks an issuer.

mod clock;
pub mod conformance;
mod fake_issuer;

pub use clock::SimulatedClock;
pub use fake_issuer::{Behaviour, FakeIssuer};
