//! Tests of sessions: transcripts, and random streams of a modelled Envoy.

mod bounds;
mod cost;
mod hostile;
mod order;
mod random;
mod refuse;
mod resume;
mod secrets;
mod sotw;
mod subscribe;
mod whole;
mod without_secrets;
