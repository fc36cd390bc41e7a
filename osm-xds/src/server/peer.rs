//! One connection as its streams and its own task see it.
//!
//! A connection is a stranger's until a stream of it is admitted, and again when
//! the last of them has ended. Streams note here what the transport has not taken
//! yet; the connection's task looks after all of it (`watch`).

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use osm_core::identity::ProxyId;
use parking_lot::Mutex;
use rustls_pki_types::CertificateDer;

use super::admission::{Admission, Admitted};
use super::farewell::{Farewell, Reason};
use super::strangers::{Stranger, Strangers};

/// Whose connection it is.
#[derive(Debug)]
pub(super) struct Peer {
    pub(super) address: SocketAddr,
    /// The verified chain, leaf first.
    pub(super) certificates: Vec<CertificateDer<'static>>,
    /// By what this server proved itself to it, leaf first.
    pub(super) server: Arc<[CertificateDer<'static>]>,
    pub(super) farewell: Farewell,
    strangers: Arc<Strangers>,
    idle_timeout: Duration,
    presence: Mutex<Presence>,
}

#[derive(Debug, Default)]
struct Presence {
    /// Its places among the strangers, while no stream is admitted.
    strangers: Vec<Stranger>,
    /// How long it may go on so.
    until: Option<Instant>,
    /// The streams that are admitted, and since when the transport has not taken
    /// what they have sent.
    streams: Vec<(u64, Option<Instant>)>,
}

impl Peer {
    /// A connection with places among the strangers, which it may keep until then.
    pub(super) fn new(
        address: SocketAddr,
        (server, certificates): (Arc<[CertificateDer<'static>]>, Vec<CertificateDer<'static>>),
        (strangers, places): (Arc<Strangers>, Vec<Stranger>),
        until: Instant,
        idle_timeout: Duration,
    ) -> Self {
        let presence = Presence { strangers: places, until: Some(until), streams: Vec::new() };
        let farewell = Farewell::default();
        Self {
            address,
            certificates,
            server,
            farewell,
            strangers,
            idle_timeout,
            presence: Mutex::new(presence),
        }
    }

    /// Admits a stream of a proxy that has proved itself, if there is a place for
    /// it. Where another replica may have one, a connection of which nothing else
    /// is used is ended.
    pub(super) fn admit(
        self: &Arc<Self>,
        admission: &Arc<Admission>,
        proxy: &ProxyId,
        now: Instant,
    ) -> Result<Stay, Reason> {
        let admitted = admission.admit(proxy, self.address.ip(), now);
        let mut presence = self.presence.lock();
        match admitted {
            Ok(admitted) => {
                presence.strangers.clear();
                presence.until = None;
                presence.streams.push((admitted.number(), None));
                Ok(Stay { peer: Arc::clone(self), admitted })
            }
            Err(reason) => {
                if reason.is_of_this_replica() && presence.streams.is_empty() {
                    self.farewell.say(reason);
                }
                Err(reason)
            }
        }
    }

    /// Why the connection has to end, if it has; else when to look again.
    pub(super) fn look(&self, now: Instant, stall_timeout: Duration) -> Result<Option<Instant>, Reason> {
        let presence = self.presence.lock();
        if presence.until.is_some_and(|until| until <= now) {
            return Err(Reason::Idle);
        }
        let stalled = presence.streams.iter().filter_map(|(_, since)| *since).min();
        let stalled_until = stalled.and_then(|since| since.checked_add(stall_timeout));
        if stalled_until.is_some_and(|until| until <= now) {
            return Err(Reason::Stalled);
        }
        Ok(presence.until.into_iter().chain(stalled_until).min())
    }

    /// Waits until one of the places among the strangers that it has now was given
    /// to somebody else. Cancel safe.
    pub(super) async fn displaced(&self) {
        let tokens: Vec<_> = self.presence.lock().strangers.iter().map(Stranger::token).collect();
        match tokens.as_slice() {
            [] => std::future::pending().await,
            [only] => only.cancelled().await,
            [one, other, ..] => tokio::select! {
                () = one.cancelled() => {}
                () = other.cancelled() => {}
            },
        }
    }
}

/// An admitted stream's stay on its connection; dropping it ends it.
#[derive(Debug)]
pub(super) struct Stay {
    peer: Arc<Peer>,
    pub(super) admitted: Admitted,
}

impl Stay {
    /// Notes that the transport was given something to send, or, with `None`, that
    /// it has taken it.
    pub(super) fn gives(&self, since: Option<Instant>) {
        let number = self.admitted.number();
        let mut presence = self.peer.presence.lock();
        if let Some(stream) = presence.streams.iter_mut().find(|stream| stream.0 == number) {
            stream.1 = since;
        }
    }

    /// Why the stream has to end, if it has.
    pub(super) fn reason(&self) -> Option<Reason> {
        self.peer.farewell.reason().or_else(|| self.admitted.is_displaced().then_some(Reason::Displaced))
    }

    /// Waits until the stream has to end. Cancel safe.
    pub(super) async fn ends(&self) -> Reason {
        tokio::select! {
            biased;
            reason = self.peer.farewell.said() => reason,
            () = self.admitted.displaced() => Reason::Displaced,
        }
    }
}

impl Drop for Stay {
    fn drop(&mut self) {
        let number = self.admitted.number();
        let mut presence = self.peer.presence.lock();
        presence.streams.retain(|stream| stream.0 != number);
        if presence.streams.is_empty() {
            presence.until = tokio::time::Instant::now().into_std().checked_add(self.peer.idle_timeout);
            match self.peer.strangers.enter(self.peer.address.ip()) {
                Some(stranger) => presence.strangers.push(stranger),
                None => self.peer.farewell.say(Reason::TooManyStrangers),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::ServerOptions;
    use super::*;

    const STALL: Duration = Duration::from_secs(60);
    const IDLE: Duration = Duration::from_secs(30);

    #[tokio::test]
    async fn a_connection_is_a_strangers_until_a_stream_is_admitted_and_after_the_last() {
        let strangers = Strangers::new(1);
        let address: SocketAddr = ([10, 0, 0, 1], 1).into();
        let place = strangers.enter(address.ip()).expect("a place");
        let start = tokio::time::Instant::now().into_std();
        let until = start + Duration::from_secs(15);
        let peer = Arc::new(Peer::new(
            address,
            (Arc::new([]), vec![]),
            (Arc::clone(&strangers), vec![place]),
            until,
            IDLE,
        ));
        assert_eq!(peer.look(start, STALL), Ok(Some(until)));
        assert_eq!(peer.look(until, STALL), Err(Reason::Idle));

        let admission = Admission::new(&ServerOptions::default());
        let proxy = ProxyId::new("p".parse().expect("a UUID"), "shop/till".parse().expect("an identity"));
        let stay = peer.admit(&admission, &proxy, start).expect("a place");
        assert_eq!(peer.look(until, STALL), Ok(None));
        assert!(strangers.enter(address.ip()).is_some(), "its place is free");

        // What is given is to be taken in time; then nothing is waited for.
        stay.gives(Some(until));
        assert_eq!(peer.look(until, STALL), Ok(Some(until + STALL)));
        assert_eq!(peer.look(until + STALL, STALL), Err(Reason::Stalled));
        stay.gives(None);
        assert_eq!(peer.look(until + STALL, STALL), Ok(None));

        drop(stay);
        assert!(strangers.enter(address.ip()).is_none(), "it has its place again");
        let idle = peer.look(start, STALL).expect("it may stay a while").expect("until then");
        assert!(idle >= start + IDLE);
        assert_eq!(peer.look(idle, STALL), Err(Reason::Idle));
    }
}
