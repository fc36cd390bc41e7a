//! Why a client is refused or sent away, and what it is told.

use std::sync::OnceLock;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tonic::metadata::MetadataValue;
use tonic::{Code, Status};

/// The trailer in which a gRPC server says when to try again (gRFC A6).
const PUSHBACK: &str = "grpc-retry-pushback-ms";

/// Why a connection or stream is refused or ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reason {
    /// No room for another client that has not proved who it is.
    TooManyStrangers,
    /// Its room was needed for one from an address that has fewer.
    StrangerDisplaced,
    /// It did not prove itself in time, or had no stream for a while.
    Idle,
    /// As many proxies are connected as may be.
    TooManyProxies(usize),
    /// As many streams of this proxy are open as may be, from as many addresses.
    TooManyStreams(usize),
    /// A newer stream of the same proxy took its place.
    Displaced,
    /// As many proxies are being configured as may be at once.
    Overloaded,
    /// It has not taken what it was sent.
    Stalled,
    /// Its certificate has expired.
    Expired,
    /// The root of its certificate is trusted no longer.
    Distrusted,
    /// The server is to have a certificate of another root, and it is not known whether this client believes it.
    Recalled,
}

impl Reason {
    /// The word for it in metrics; `None` where nothing is wrong.
    pub(super) fn word(self) -> Option<&'static str> {
        Some(match self {
            Self::TooManyStrangers => "too_many_strangers",
            Self::StrangerDisplaced => "stranger_displaced",
            Self::Idle | Self::Recalled => return None,
            Self::TooManyProxies(_) => "too_many_proxies",
            Self::TooManyStreams(_) => "too_many_streams",
            Self::Displaced => "displaced",
            Self::Overloaded => "overloaded",
            Self::Stalled => "stalled",
            Self::Expired => "expired",
            Self::Distrusted => "distrusted",
        })
    }

    /// Whether another replica may do better, so that the connection is ended with
    /// the stream.
    pub(super) fn is_of_this_replica(self) -> bool {
        matches!(self, Self::TooManyProxies(_) | Self::Overloaded)
    }

    /// After which time it is worth trying again.
    fn retry_after(self) -> Option<Duration> {
        match self {
            Self::Overloaded => Some(Duration::from_secs(1)),
            Self::TooManyStreams(_) | Self::Displaced => Some(Duration::from_secs(10)),
            Self::TooManyProxies(_) => Some(Duration::from_secs(30)),
            _ => None,
        }
    }

    /// What the client is told. Clients with different numbers are told to try
    /// again at different times, so that they do not all come back at once.
    pub(super) fn status(self, number: u64) -> Status {
        let mut status = Status::new(self.code(), self.text());
        if let Some(after) = self.retry_after() {
            let after = after + spread(number, after);
            let text = after.as_millis().to_string();
            let value = MetadataValue::try_from(text).expect("digits are a header's value");
            status.metadata_mut().insert(PUSHBACK, value);
        }
        status
    }

    fn code(self) -> Code {
        match self {
            Self::TooManyProxies(_) | Self::TooManyStreams(_) | Self::Displaced | Self::Stalled => {
                Code::ResourceExhausted
            }
            Self::TooManyStrangers | Self::StrangerDisplaced | Self::Overloaded | Self::Recalled => {
                Code::Unavailable
            }
            Self::Idle => Code::DeadlineExceeded,
            Self::Expired | Self::Distrusted => Code::Unauthenticated,
        }
    }

    fn text(self) -> String {
        match self {
            Self::TooManyStrangers | Self::StrangerDisplaced => {
                "too many clients that have not proved who they are".into()
            }
            Self::Idle => "no stream of this connection proved in time who it is".into(),
            Self::TooManyProxies(limit) => {
                format!("{limit} proxies are connected to this replica, and no more are allowed; connect to another one")
            }
            Self::TooManyStreams(limit) => {
                format!("{limit} streams of this proxy are open, and no more are allowed")
            }
            Self::Displaced => "a newer stream of this proxy took the place of this one".into(),
            Self::Overloaded => "too many proxies are being configured at once; try again later".into(),
            Self::Stalled => "what is sent is not taken".into(),
            Self::Expired => {
                "the client certificate has expired; connect anew with the renewed one".into()
            }
            Self::Recalled => "this server is given a certificate of another root; connect anew".into(),
            Self::Distrusted => {
                "the root of the client certificate is no longer trusted; connect anew with a certificate of a \
                 trusted one"
                    .into()
            }
        }
    }
}

/// A part of a span, another one for each number: evenly spread over all of it.
pub(super) fn spread(number: u64, span: Duration) -> Duration {
    // Multiples of the golden ratio, without their whole part (Knuth, volume 3, 6.4).
    let part = (number as u32).wrapping_mul(0x9E37_79B9);
    span.mul_f64(f64::from(part) / f64::from(u32::MAX))
}

/// Tells the tasks of one connection that it is to end, and why. The first reason
/// counts.
#[derive(Debug, Default)]
pub(super) struct Farewell {
    said: CancellationToken,
    reason: OnceLock<Reason>,
}

impl Farewell {
    pub(super) fn say(&self, reason: Reason) {
        if self.reason.set(reason).is_ok() {
            self.said.cancel();
        }
    }

    /// The reason, if it was said.
    pub(super) fn reason(&self) -> Option<Reason> {
        self.reason.get().copied()
    }

    /// Waits until it is said. Cancel safe.
    pub(super) async fn said(&self) -> Reason {
        self.said.cancelled().await;
        self.reason.get().copied().unwrap_or(Reason::Idle)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_help_later_says_when() {
        for (reason, least, most) in
            [(Reason::Overloaded, 1000, 2000), (Reason::TooManyProxies(5), 30_000, 60_000)]
        {
            let hints: Vec<u64> = (0..100)
                .map(|number| {
                    let status = reason.status(number);
                    let hint = status.metadata().get(PUSHBACK).expect("a hint").to_str().expect("text");
                    hint.parse().expect("milliseconds")
                })
                .collect();
            assert!(hints.iter().all(|hint| (least..=most).contains(hint)), "{hints:?}");
            let half = hints.iter().filter(|hint| **hint < least + (most - least) / 2).count();
            assert!((40..=60).contains(&half), "they are spread evenly: {hints:?}");
        }
        assert!(Reason::Expired.status(1).metadata().is_empty());
    }

    #[tokio::test]
    async fn the_first_reason_counts() {
        let farewell = Farewell::default();
        assert_eq!(farewell.reason(), None);
        farewell.say(Reason::Stalled);
        farewell.say(Reason::Expired);
        assert_eq!((farewell.reason(), farewell.said().await), (Some(Reason::Stalled), Reason::Stalled));
    }
}
