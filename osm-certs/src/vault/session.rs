//! Who asks: a token, kept fresh.
//!
//! One that is good serves whatever else happens. There is one login at a time, and others wait
//! for what comes of it. A login that failed is not made again before its time, unless what it is
//! proven by has changed: many failures lock an account. [`tend`](Session::tend), beside the
//! requests, renews the token at two thirds of its life, gets another when it can't be renewed any
//! more, and gives back those that were replaced.

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Mutex as Turn;
use tokio::time::Instant;

use super::client::{Client, Denied};
use super::failed::Failed;
use super::login::{self, Lease};
use super::options::{Login, VaultOptions};
use crate::given_file::{self, Stamp};
use crate::issuer::IssuerError;
use crate::manager::Backoff;
use crate::secret::Secret;

/// For so long after a login, another one would change nothing.
const FRESH: Duration = Duration::from_secs(10);
/// How long after a failed renewal the next one is tried, at most.
const AGAIN: Duration = Duration::from_secs(10);
/// How often it is looked whether there is something to do, at least.
const LOOK: Duration = Duration::from_secs(30);
/// How often that is after a failure: what proves who asks may have changed.
const LOOK_AGAIN: Duration = Duration::from_secs(5);
/// How often that is, at most.
const REST: Duration = Duration::from_millis(100);
/// How many replaced tokens are kept until they are given back.
const MOST_REPLACED: usize = 16;

/// A login, and the token that came of it.
pub(super) struct Session {
    login: Login,
    soon: Backoff,
    rarely: Backoff,
    /// Its own in each process, so that replicas do not come back together.
    seed: u64,
    state: Mutex<State>,
    /// Of who logs in or renews. Requests with a token that is good do not need it.
    turn: Turn<()>,
}

#[derive(Default)]
struct State {
    held: Option<Held>,
    failed: Option<Failed>,
    /// In a row: those that were refused, and those that got no answer.
    refused: u32,
    unanswered: u32,
    /// Tokens of logins that nobody asks with any more.
    replaced: Vec<Secret>,
}

struct Held {
    token: Secret,
    /// Of the file that it was read from.
    stamp: Option<Stamp>,
    since: Instant,
    /// `None` if it lives for ever, or nobody says for how long.
    lease: Option<Lease>,
}

impl State {
    /// The token, if it is good as far as is known.
    fn serving(&self) -> Option<&Held> {
        let now = Instant::now();
        self.held.as_ref().filter(|held| held.lease.is_none_or(|lease| now < lease.ends))
    }

    /// Whether a failed login is not to be tried again yet.
    fn waits(&self) -> bool {
        self.failed.as_ref().is_some_and(|failed| Instant::now() < failed.until)
    }
}

impl Session {
    pub(super) fn new(options: &VaultOptions) -> Self {
        Self {
            login: options.login.clone(),
            soon: options.soon,
            rarely: options.rarely,
            seed: RandomState::new().hash_one(0),
            state: Mutex::default(),
            turn: Turn::default(),
        }
    }

    pub(super) fn login(&self) -> &Login {
        &self.login
    }

    /// The token to ask with: the one that is held while it is good, else after a login.
    pub(super) async fn token(&self, client: &Client) -> Result<Secret, IssuerError> {
        if let Some(known) = self.known().await {
            return known;
        }
        let _turn = self.turn.lock().await;
        // Whoever had the turn before may have seen to it.
        if let Some(known) = self.known().await {
            return known;
        }
        let outcome = self.log_in(client).await;
        outcome.or_else(|error| self.state.lock().serving().map(|held| held.token.clone()).ok_or(error))
    }

    /// The token or the failure that needs no login; `None` if one is due.
    async fn known(&self) -> Option<Result<Secret, IssuerError>> {
        if self.login.gets_tokens()
            && let Some(held) = self.state.lock().serving()
        {
            return Some(Ok(held.token.clone()));
        }
        let stamp = self.stamp().await;
        let state = self.state.lock();
        let held = state.serving();
        // A file that is gone for a moment is about to be written.
        let is_latest = |held: &&Held| self.login.gets_tokens() || stamp.is_none() || held.stamp == stamp;
        if let Some(held) = held.filter(is_latest) {
            return Some(Ok(held.token.clone()));
        }
        let failed = state.failed.as_ref().filter(|failed| state.waits() && failed.stamp == stamp)?;
        Some(held.map(|held| held.token.clone()).ok_or_else(|| failed.error()))
    }

    async fn stamp(&self) -> Option<Stamp> {
        given_file::stamp_later(self.login.file()?.to_owned()).await.ok()
    }

    /// Another token than one that was not taken; `None` if there is none to be had, or it would be
    /// no better, since it is new.
    pub(super) async fn another(
        &self,
        client: &Client,
        refused: &Secret,
    ) -> Result<Option<Secret>, IssuerError> {
        if !self.login.gets_tokens() {
            return Ok(None);
        }
        let _turn = self.turn.lock().await;
        let since = match &self.state.lock().held {
            Some(held) if held.token != *refused => return Ok(Some(held.token.clone())),
            held => held.as_ref().map(|held| held.since),
        };
        if since.is_some_and(|since| since.elapsed() < FRESH) {
            return Ok(None);
        }
        match login::own(client, refused).await {
            // It is good, and may not do what was asked. Another login is allowed more where the
            // method's role was changed, which is rarely so.
            Ok(_) if since.is_some_and(|since| since.elapsed() < self.rarely.first) => return Ok(None),
            Ok(_) => {}
            Err(Denied::Forbidden(_)) => self.state.lock().held = None,
            Err(Denied::Failed(error)) => return Err(error),
        }
        self.log_in(client).await.map(Some)
    }

    /// Remembers that the token, which nobody here can replace, is none.
    pub(super) fn condemn(&self, token: &Secret, error: IssuerError) -> IssuerError {
        let held = self.state.lock().held.take_if(|held| held.token == *token);
        match held {
            Some(Held { stamp, token, .. }) => self.fail(stamp, Some(token), error),
            None => error,
        }
    }

    /// Remembers that a request was served.
    pub(super) fn worked(&self) {
        let mut state = self.state.lock();
        (state.refused, state.unanswered) = (0, 0);
    }

    /// Does what is due for the token: a login, a renewal, giving back.
    pub(super) async fn tend(&self, client: &Client) {
        // Why there is none was said, and is remembered.
        self.token(client).await.ok();
        self.renew(client).await;
        let replaced = std::mem::take(&mut self.state.lock().replaced);
        for token in replaced {
            login::revoke(client, &token).await;
        }
    }

    /// When there is something to do for the token.
    pub(super) fn pause(&self) -> Duration {
        let state = self.state.lock();
        let now = Instant::now();
        let lease = state.held.as_ref().and_then(|held| held.lease);
        let next = match &state.failed {
            Some(failed) if now < failed.until => failed.until.min(now + LOOK_AGAIN),
            _ => lease.map_or(now + LOOK, |lease| lease.renew),
        };
        next.saturating_duration_since(now).clamp(REST, LOOK)
    }

    /// Gives back what logins got.
    pub(super) async fn end(&self, client: &Client) {
        let _turn = self.turn.lock().await;
        let tokens = {
            let mut state = self.state.lock();
            let mut tokens = std::mem::take(&mut state.replaced);
            if self.login.gets_tokens() {
                tokens.extend(state.held.take().map(|held| held.token));
            }
            tokens
        };
        for token in tokens {
            login::revoke(client, &token).await;
        }
    }

    /// Logs in, unless that has just failed with the same proof. For who has the turn.
    async fn log_in(&self, client: &Client) -> Result<Secret, IssuerError> {
        let (stamp, proof) = match login::proof(&self.login).await {
            Ok(found) => found,
            Err(error) => return Err(self.fail(self.stamp().await, None, error)),
        };
        if let State { failed: Some(failed), .. } = &mut *self.state.lock()
            && failed.until > Instant::now()
            && failed.proof.as_ref() == Some(&proof)
        {
            // Who writes the file has written the same again.
            failed.stamp = stamp;
            return Err(failed.error());
        }
        match login::token(client, &self.login, &proof).await {
            Ok((token, lease)) => {
                self.hold(Held { token: token.clone(), stamp, since: Instant::now(), lease });
                Ok(token)
            }
            Err(error) => Err(self.fail(stamp, Some(proof), error)),
        }
    }

    fn hold(&self, held: Held) {
        let mut state = self.state.lock();
        state.failed = None;
        let before = state.held.replace(held).filter(|_| self.login.gets_tokens());
        state.replaced.extend(before.map(|before| before.token));
        if state.replaced.len() > MOST_REPLACED {
            state.replaced.remove(0);
        }
    }

    /// Remembers a failure; gives the error that says when it is tried again.
    fn fail(&self, stamp: Option<Stamp>, proof: Option<Secret>, error: IssuerError) -> IssuerError {
        let mut state = self.state.lock();
        if state.failed.as_ref().is_some_and(|before| before.proof != proof) {
            (state.refused, state.unanswered) = (0, 0);
        }
        let (row, backoff) = match &error {
            IssuerError::Refused { .. } => (&mut state.refused, self.rarely),
            IssuerError::Unavailable { .. } => (&mut state.unanswered, self.soon),
        };
        *row = row.saturating_add(1);
        let failures = *row;
        let until = Instant::now() + backoff.delay(failures, self.seed);
        let file = self.login.file();
        let failed = state.failed.insert(Failed::new(error, until, file, stamp, proof));
        if failures.is_power_of_two() {
            tracing::warn!(error = %failed.text(), failures, "there is no token for Vault");
        }
        failed.error()
    }

    /// The token and its lease, if that is to be renewed.
    fn due(&self) -> Option<(Secret, Lease)> {
        let state = self.state.lock();
        let Held { token, lease, .. } = state.serving().filter(|_| !state.waits())?;
        let lease = (*lease).filter(|lease| lease.renew <= Instant::now())?;
        Some((token.clone(), lease))
    }

    /// Renews the token if that is due, and makes the best of it when that fails.
    async fn renew(&self, client: &Client) {
        let _turn = self.turn.lock().await;
        let Some((token, lease)) = self.due() else { return };
        let can_log_in = self.login.gets_tokens();
        let outcome = if lease.renewable { login::renew(client, &token).await } else { Ok(None) };
        let now = Instant::now();
        let lease = match outcome {
            // A lease that does not grow back has come to its last.
            Ok(Some(renewed)) if !can_log_in || renewed.ends - now > lease.term / 2 => {
                Some(Lease { term: lease.term, ..renewed })
            }
            Ok(_) if !can_log_in => None,
            Err(Denied::Failed(error))
                if now < lease.ends && matches!(error, IssuerError::Unavailable { .. }) =>
            {
                tracing::warn!(%error, "the token for Vault could not be renewed yet");
                let wait = AGAIN.min((lease.ends - now) / 4).max(REST);
                Some(Lease { renew: now + wait, ..lease })
            }
            Err(error) if !can_log_in => {
                let error = error.into_error("renewing the token");
                tracing::warn!(%error, "the token for Vault cannot be renewed");
                None
            }
            // Why there is no other was said, and is remembered; until its end this one serves.
            Ok(_) | Err(_) => return drop(self.log_in(client).await),
        };
        if let Some(held) = self.state.lock().held.as_mut().filter(|held| held.token == token) {
            held.lease = lease;
        }
    }
}
