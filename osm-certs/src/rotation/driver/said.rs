//! What was said of trouble that lasts, so that it is said once and not at every look.

use std::collections::BTreeMap;
use std::time::Duration;

use osm_core::name::ObjectName;
use tokio::time::Instant;

/// How long nothing more is said of a trouble, if it has another reason every time that it is looked at.
const SAID_AGAIN: Duration = Duration::from_secs(60);

/// Something that lasts, and is looked at again and again.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Trouble {
    /// The stage can't be read or written.
    Store,
    /// The certificates of this root can't be had.
    Root(ObjectName),
}

/// What was said last of each trouble, and when.
#[derive(Debug, Default)]
pub(super) struct Said(BTreeMap<Trouble, (String, Instant)>);

impl Said {
    /// Whether nothing was said of this trouble yet, or something else some time ago.
    pub(super) fn is_news(&mut self, trouble: Trouble, text: String) -> bool {
        let now = Instant::now();
        let is_known =
            |(last, said): &(String, Instant)| *last == text || now.duration_since(*said) < SAID_AGAIN;
        let is_news = !self.0.get(&trouble).is_some_and(is_known);
        if is_news {
            self.0.insert(trouble, (text, now));
        }
        is_news
    }

    /// Only these last.
    pub(super) fn keep(&mut self, lasts: impl Fn(&Trouble) -> bool) {
        self.0.retain(|trouble, _| lasts(trouble));
    }
}
