//! The driver of a change of roots: what it waits for, what it does at each stage, and what it does in trouble.

mod around;
mod domains;
mod exchange;
mod issuers;
#[path = "../support/log.rs"]
mod log;
mod mesh;
mod said;
mod trouble;
