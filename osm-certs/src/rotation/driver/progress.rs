//! What keeps a mesh at its stage, for people.

use std::fmt;

use osm_core::identity::ProxyUuid;

use super::super::Waiting;

/// What keeps a mesh at its stage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Progress {
    /// Nothing is known yet.
    Starting,
    /// It is as it is wished.
    Settled,
    /// People have asked for a pause.
    Paused,
    /// Others are waited for.
    Waiting(Waiting),
    /// The stage can't be read or written.
    Trouble(String),
}

impl Progress {
    /// The text with names of proxies that people know, where there are any: those of their pods.
    pub fn named<'a>(
        &'a self,
        name: &'a dyn Fn(&ProxyUuid) -> Option<String>,
    ) -> impl fmt::Display + use<'a> {
        fmt::from_fn(move |f| match self {
            Self::Starting => f.write_str("what is wanted is not known yet"),
            Self::Settled => f.write_str("all is as it is wanted"),
            Self::Paused => f.write_str("paused"),
            Self::Waiting(waiting) => write!(f, "waiting {}", waiting.named(name)),
            Self::Trouble(why) => f.write_str(why),
        })
    }
}

impl fmt::Display for Progress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.named(&|_| None).fmt(f)
    }
}
