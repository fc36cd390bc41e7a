//! Everybody who makes requests, and what they counted from one moment to another.

use std::time::Duration;

use anyhow::{Result, ensure};

use super::bookstore::{ALL_TO_V2, allow_by_policy, deploy};
use super::client::{Client, Counts};
use super::members;
use crate::kubectl::apply;

/// Deploys the bookstore and the members, with a policy by which the thief may nothing, and waits until each sees what it is to see.
/// Who makes a new connection for each request waits so long between two of them.
///
/// # Errors
/// When that does not come about.
pub fn everybody_calls(pause: Duration) -> Result<String> {
    let pods = deploy()?;
    allow_by_policy()?;
    apply(ALL_TO_V2)?;
    members::deploy()?;
    members::call(pause)?;
    Client::Thief.until(20, |seen| seen.successes == 0)?;
    Client::Buyer.until(100, |seen| seen.failures() == 0)?;
    Client::Caller.until(20, |seen| seen.failures() == 0)?;
    Ok(pods)
}

/// What all clients counted at one moment.
#[derive(Debug)]
pub struct Seen([Counts; 3]);

impl Seen {
    /// Now.
    ///
    /// # Errors
    /// When a client can't be asked.
    pub fn now() -> Result<Self> {
        Ok(Self([Client::Buyer.counts()?, Client::Caller.counts()?, Client::Thief.counts()?]))
    }

    /// How many requests were made on a new connection each since then.
    ///
    /// # Errors
    /// When nobody tells.
    pub fn new_connections(&self) -> Result<u64> {
        Ok(Client::Caller.counts()?.since(&self.0[1]).requests)
    }

    /// Tells of all requests since then, some of which are made from now on: those who may succeeded, and the thief, who made
    /// some, never did.
    ///
    /// # Errors
    /// When that is not so.
    pub fn all_went_well(self) -> Result<String> {
        Client::Caller.until(20, |seen| seen.failures() == 0)?;
        let Self([buyer, caller, thief]) = self;
        let buyer = Client::Buyer.counts()?.since(&buyer).without_failure()?;
        let caller = Client::Caller.counts()?.since(&caller).without_failure()?;
        let thief = Client::Thief.counts()?.since(&thief);
        ensure!(thief.successes == 0 && thief.requests > 0, "the thief: {thief}");
        Ok(format!("buyer: {buyer}; new connections: {caller}; thief: {thief}"))
    }
}
