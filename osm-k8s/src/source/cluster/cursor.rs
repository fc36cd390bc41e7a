//! Where one watch stands: what to ask next, given what came. Pure.
//!
//! Objects are listed, in one stream where the server can do that and page by page
//! where it can't, and then their changes are followed from that point on. A watch
//! that breaks goes on where it was, without listing anything again, unless the
//! server has forgotten what happened since (410, "expired").

use serde::Deserialize;

use super::object::Object;

/// What to ask next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Ask {
    /// All objects, as the start of a stream that goes on with their changes.
    Stream,
    /// A page of all objects; the first one, or the one after this token.
    Page(Option<String>),
    /// The changes since a version.
    Changes(String),
}

/// What a watch has seen.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Seen {
    /// All objects follow.
    Begin,
    /// One of them.
    Listed(Object),
    /// Those were all.
    Done,
    /// An object is new or has changed.
    Applied(Object),
    /// An object is gone.
    Deleted(Object),
    /// The server answers, so what is known is what there is.
    InTouch,
    /// The server can't be asked at present, for this reason.
    Lost(String),
    /// The server has no such kind.
    Absent,
}

/// What the server says in a stream.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Event {
    /// An object that is new or has changed.
    Applied(Object),
    /// An object that is gone, as it was last.
    Deleted(Object),
    /// How far the stream has come.
    Bookmark {
        /// The version of what it has told.
        version: String,
        /// Whether it has told everything that there was at its start.
        is_list_told: bool,
    },
    /// Why it ends.
    Error(Refusal),
}

/// A page of a list.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Page {
    metadata: PageMetadata,
    #[serde(default)]
    items: Option<Vec<Object>>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct PageMetadata {
    #[serde(default)]
    resource_version: String,
    #[serde(default, rename = "continue")]
    more: Option<String>,
}

impl Page {
    /// The objects, and the token for the next page if there is one.
    pub(super) fn into_parts(self) -> (Vec<Object>, Option<String>) {
        (self.items.unwrap_or_default(), self.metadata.more.filter(|token| !token.is_empty()))
    }
}

/// What the server says when it does not do what was asked.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub(super) struct Refusal {
    /// The HTTP status.
    pub(super) code: u16,
    /// A word for the reason.
    pub(super) reason: String,
    /// The reason.
    pub(super) message: String,
}

impl Refusal {
    fn is_expired(&self) -> bool {
        self.code == 410 || matches!(self.reason.as_str(), "Expired" | "Gone")
    }

    /// Whether the server can't list in a stream. It calls the parameter forbidden,
    /// in an answer that is not that of missing rights.
    fn is_without_streams(&self) -> bool {
        matches!(self.code, 400 | 422) && self.message.contains("sendInitialEvents")
    }
}

/// Why nothing came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Failure {
    /// The server said so.
    Refused(Refusal),
    /// It did not answer.
    Broken(String),
}

/// When to ask again after a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Again {
    /// At once: what will be asked is something else.
    AtOnce,
    /// Soon, and later with each failure.
    Soon,
    /// Now and then: it is not expected to change.
    NowAndThen,
}

/// Where one watch stands.
#[derive(Debug, Clone)]
pub(super) struct Cursor {
    ask: Ask,
    /// The version of the list whose pages are being read.
    listed_at: String,
    can_stream: bool,
    /// Whether nothing came on the last stream of changes.
    is_silent: bool,
    /// Which versions of the API may be asked, the newest first, and which one is.
    versions: &'static [&'static str],
    version: usize,
}

impl Cursor {
    /// A watch that has not begun, on the newest of these versions of an API.
    pub(super) fn new(versions: &'static [&'static str]) -> Self {
        let (listed_at, can_stream, is_silent) = (String::new(), true, false);
        Self { ask: Ask::Stream, listed_at, can_stream, is_silent, versions, version: 0 }
    }

    /// What to ask next.
    pub(super) fn ask(&self) -> &Ask {
        &self.ask
    }

    /// The version of the API to ask.
    pub(super) fn api_version(&self) -> &'static str {
        self.versions[self.version]
    }

    /// Takes in that the server has begun to answer with a stream.
    pub(super) fn on_open(&self) -> Vec<Seen> {
        match self.ask {
            Ask::Stream => vec![Seen::InTouch, Seen::Begin],
            Ask::Page(_) | Ask::Changes(_) => vec![Seen::InTouch],
        }
    }

    /// Takes in a page of a list.
    pub(super) fn on_page(&mut self, page: Page) -> Vec<Seen> {
        let mut seen = vec![Seen::InTouch];
        if self.ask == Ask::Page(None) {
            seen.push(Seen::Begin);
        }
        // Each page has the version of the first, and that is where changes begin.
        self.listed_at.clone_from(&page.metadata.resource_version);
        let (objects, more) = page.into_parts();
        seen.extend(objects.into_iter().map(Seen::Listed));
        self.ask = match more {
            Some(token) => Ask::Page(Some(token)),
            None => {
                seen.push(Seen::Done);
                Ask::Changes(std::mem::take(&mut self.listed_at))
            }
        };
        seen
    }

    /// Takes in an event of a stream.
    ///
    /// # Errors
    /// When the event says that the stream ends.
    pub(super) fn on_event(&mut self, event: Event) -> Result<Seen, Failure> {
        let is_list = self.ask == Ask::Stream;
        self.is_silent = false;
        Ok(match event {
            Event::Applied(object) if is_list => Seen::Listed(object),
            Event::Applied(object) => {
                self.move_on(&object);
                Seen::Applied(object)
            }
            Event::Deleted(object) => {
                self.move_on(&object);
                Seen::Deleted(object)
            }
            Event::Bookmark { is_list_told: false, .. } if is_list => Seen::InTouch,
            Event::Bookmark { version, .. } => {
                self.ask = Ask::Changes(version);
                if is_list { Seen::Done } else { Seen::InTouch }
            }
            Event::Error(refusal) => return Err(Failure::Refused(refusal)),
        })
    }

    /// Takes in that nothing came for long on a stream that the server had begun. Of changes there
    /// may be none: where nothing came twice, a list tells whether it is so.
    ///
    /// # Errors
    /// When it was a list, which always has an end.
    pub(super) fn on_silence(&mut self) -> Result<(), Failure> {
        if !matches!(self.ask, Ask::Changes(_)) {
            return Err(Failure::Broken("the server lists nothing".to_owned()));
        }
        if std::mem::replace(&mut self.is_silent, true) {
            self.is_silent = false;
            self.ask = self.list();
        }
        Ok(())
    }

    fn move_on(&mut self, object: &Object) {
        if let (Ask::Changes(version), Some(now)) = (&mut self.ask, object.resource_version()) {
            now.clone_into(version);
        }
    }

    /// Takes in a failure: what it means for what is known, and when to ask again.
    pub(super) fn on_failure(&mut self, failure: &Failure) -> (Option<Seen>, Again) {
        let Failure::Refused(refusal) = failure else {
            self.begin_list_anew();
            return (Some(lost(failure)), Again::Soon);
        };
        if refusal.is_expired() {
            self.ask = self.list();
            return (None, Again::AtOnce);
        }
        if self.ask == Ask::Stream && refusal.is_without_streams() {
            self.can_stream = false;
            self.ask = self.list();
            return (None, Again::AtOnce);
        }
        if refusal.code == 404 && !self.is_always_there() {
            self.ask = self.list();
            self.version = (self.version + 1) % self.versions.len();
            let is_any_left = self.version != 0;
            return if is_any_left { (None, Again::AtOnce) } else { (Some(Seen::Absent), Again::NowAndThen) };
        }
        self.begin_list_anew();
        (Some(lost(failure)), Again::Soon)
    }

    /// Whether every API server has the kind. One that says otherwise is no API server, or
    /// not yet: something in front of it answers.
    fn is_always_there(&self) -> bool {
        matches!(self.api_version(), "v1" | "discovery.k8s.io/v1")
    }

    fn list(&self) -> Ask {
        if self.can_stream { Ask::Stream } else { Ask::Page(None) }
    }

    /// A list that was cut off is worth nothing; changes go on where they were.
    fn begin_list_anew(&mut self) {
        if !matches!(self.ask, Ask::Changes(_)) {
            self.ask = self.list();
        }
    }
}

fn lost(failure: &Failure) -> Seen {
    Seen::Lost(match failure {
        Failure::Refused(Refusal { code, message, .. }) => format!("{message} ({code})"),
        Failure::Broken(reason) => reason.clone(),
    })
}

#[cfg(test)]
mod tests;
