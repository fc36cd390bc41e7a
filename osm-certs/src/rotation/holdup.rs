//! Why a step is not taken yet: who is waited for.

use std::fmt;
use std::time::Duration;

use osm_core::identity::ProxyUuid;
use osm_core::name::ObjectName;

use super::fleet::Replica;

/// What is waited for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Step {
    /// Every replica is to have the certificate of this root, before anybody is told to trust it.
    Learn(ObjectName),
    /// Everybody is to trust this root, before it signs.
    Trust(ObjectName),
    /// Every proxy is to believe servers that have a certificate of this root.
    Believe(ObjectName),
    /// Every certificate of this root is to be replaced, before it is withdrawn.
    Replace(ObjectName),
}

/// What is missing in a proxy.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Missing {
    /// It is connected to no replica.
    Connection,
    /// It is not known to trust the root.
    Trust,
    /// It is not known to believe the control plane by a certificate of the root.
    Belief,
    /// It may present a certificate of the root, for so much longer at most.
    Renewal(Option<Duration>),
}

/// Somebody who is waited for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Holdup {
    /// A replica that has said nothing yet.
    Silent(Replica),
    /// A replica that does things by another stage.
    Behind(Replica, u64),
    /// A replica that does not have the certificate of the root.
    Unknown(Replica),
    /// A replica for which the root signs nothing, and why.
    Issuer(Replica, String),
    /// A replica that still gives out a certificate of the root, or serves with it.
    Keeps(Replica),
    /// As many roots are trusted as may be: some have to be withdrawn first, by another wish.
    Full(usize),
    /// A proxy.
    Proxy(ProxyUuid, Missing),
}

impl Holdup {
    /// Whether a bound of time may end the waiting. What replicas do is never skipped: new proxies would be told what is not so.
    pub(super) fn may_be_skipped(&self) -> bool {
        matches!(self, Self::Proxy(..))
    }

    /// The text with the name of a proxy that people know, where there is one.
    pub fn named<'a>(
        &'a self,
        name: &'a dyn Fn(&ProxyUuid) -> Option<String>,
    ) -> impl fmt::Display + use<'a> {
        fmt::from_fn(move |f| match self {
            Self::Proxy(proxy, missing) => match name(proxy) {
                Some(name) => write!(f, "{name} {missing}"),
                None => write!(f, "proxy {proxy} {missing}"),
            },
            Self::Full(count) => {
                write!(
                    f,
                    "{count} roots are trusted, and no more may be: wish for one of them until the others are withdrawn"
                )
            }
            Self::Silent(replica) => write!(f, "replica {replica} has said nothing"),
            Self::Behind(replica, stage) => write!(f, "replica {replica} is at stage {stage}"),
            Self::Unknown(replica) => write!(f, "replica {replica} has no certificate of it"),
            Self::Issuer(replica, why) => write!(f, "replica {replica} gets nothing signed: {why}"),
            Self::Keeps(replica) => write!(f, "replica {replica} has not replaced its own"),
        })
    }
}

/// Why there is no next stage yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Waiting {
    /// What for.
    pub step: Step,
    /// How long the stage has lasted.
    pub lasted: Duration,
    /// Whom for, in order: replicas first.
    pub holdups: Vec<Holdup>,
}

/// How many are named; the others are counted.
const NAMED: usize = 5;

impl Waiting {
    /// The text with names of proxies that people know, where there are any: those of their pods.
    pub fn named<'a>(
        &'a self,
        name: &'a dyn Fn(&ProxyUuid) -> Option<String>,
    ) -> impl fmt::Display + use<'a> {
        fmt::from_fn(move |f| {
            write!(f, "for {} s ", self.lasted.as_secs())?;
            write!(f, "{}", self.steady(name))
        })
    }

    /// The same without the time: what stays as long as nobody comes further.
    pub fn steady<'a>(
        &'a self,
        name: &'a dyn Fn(&ProxyUuid) -> Option<String>,
    ) -> impl fmt::Display + use<'a> {
        let Self { step, lasted: _, holdups } = self;
        fmt::from_fn(move |f| {
            write!(f, "{step}: ")?;
            for (position, holdup) in holdups.iter().take(NAMED).enumerate() {
                let comma = if position > 0 { ", " } else { "" };
                write!(f, "{comma}{}", holdup.named(name))?;
            }
            match holdups.len().saturating_sub(NAMED) {
                0 => Ok(()),
                more => write!(f, " and {more} more"),
            }
        })
    }
}

impl fmt::Display for Waiting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.named(&|_| None).fmt(f)
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Learn(root) => write!(f, "until all replicas know {root}"),
            Self::Trust(root) => write!(f, "until all trust {root}"),
            Self::Believe(root) => write!(f, "until all proxies believe servers by {root}"),
            Self::Replace(root) => write!(f, "until all certificates of {root} are replaced"),
        }
    }
}

impl fmt::Display for Holdup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.named(&|_| None).fmt(f)
    }
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connection => f.write_str("is not connected"),
            Self::Trust => f.write_str("has not acknowledged it"),
            Self::Belief => f.write_str("has not connected to a server by it"),
            Self::Renewal(None) => f.write_str("has not acknowledged another one"),
            Self::Renewal(Some(left)) => {
                write!(f, "has not acknowledged another one, and this lives for {} s more", left.as_secs())
            }
        }
    }
}
