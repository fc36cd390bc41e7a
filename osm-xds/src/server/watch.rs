//! What ends a connection from this side.
//!
//! The transport does not ask for the next response of a stream whose client takes
//! nothing, so that a stream may not be able to end itself. The connection's task
//! can: it watches over the certificate of the client, the trust in its root, what it
//! is to be shown instead, the time without an admitted stream, and what was not taken.

use std::sync::Arc;
use std::time::{Instant, SystemTime};

use tokio::time::sleep_until;

use super::authenticate::expiry;
use super::farewell::{Reason, spread};
use super::peer::Peer;
use super::shared::Shared;
use super::tls::Trust;

/// Waits until there is a reason to end the connection, which its streams have
/// been told then. Cancel safe.
pub(super) async fn ends(shared: &Shared, peer: &Arc<Peer>, mut trust: Trust) -> Reason {
    let options = &shared.options;
    let tick = options.idle_timeout.min(options.stall_timeout);
    let expires = expires(shared, peer);
    let mut distrusted: Option<Instant> = None;
    let number = u64::from(peer.address.port());
    let grace = spread(number, options.distrust_spread);
    let recall = |trust: &Trust, now: Instant| {
        let earliest = trust.trial(peer.address.ip(), now).unwrap_or(now);
        trust.is_to_be_tried().then(|| earliest.checked_add(grace)).flatten()
    };
    // One that has just come when something began to be tried out may have been shown the other.
    let mut recalled = recall(&trust, now());
    loop {
        let now = now();
        let due = |moment: Option<Instant>| moment.is_some_and(|moment| moment <= now);
        if due(recalled) && trust.trial(peer.address.ip(), now).is_some() {
            // Another client there did not take it meanwhile: this one would not be shown it now.
            recalled = recall(&trust, now);
        }
        let looked = match peer.look(now, options.stall_timeout) {
            _ if due(expires) => Err(Reason::Expired),
            _ if due(distrusted) => Err(Reason::Distrusted),
            _ if due(recalled) => Err(Reason::Recalled),
            looked => looked,
        };
        let next = match looked {
            Ok(next) => next
                .into_iter()
                .chain(expires)
                .chain(distrusted)
                .chain(recalled)
                .chain(now.checked_add(tick))
                .min(),
            Err(reason) => {
                peer.farewell.say(reason);
                None
            }
        };
        tokio::select! {
            biased;
            reason = peer.farewell.said() => return reason,
            () = peer.displaced() => peer.farewell.say(Reason::StrangerDisplaced),
            () = trust.changed() => {
                let is_trusted = trust.vouches_for(&peer.certificates);
                distrusted = if is_trusted { None } else { distrusted.or(now.checked_add(grace)) };
                recalled = recall(&trust, now).map(|moment| recalled.map_or(moment, |known| known.min(moment)));
            }
            () = until(next) => {}
        }
    }
}

/// When the client has to have proved itself anew.
fn expires(shared: &Shared, peer: &Peer) -> Option<Instant> {
    let end = peer.certificates.first().and_then(expiry)?;
    let left = end.duration_since(SystemTime::now()).unwrap_or_default();
    now().checked_add(left.saturating_add(shared.options.certificate_grace))
}

pub(super) fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

pub(super) async fn until(moment: Option<Instant>) {
    match moment {
        Some(moment) => sleep_until(moment.into()).await,
        None => std::future::pending().await,
    }
}
