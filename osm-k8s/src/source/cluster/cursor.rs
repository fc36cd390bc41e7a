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
    /// Which versions of the API may be asked, the newest first, and which one is.
    versions: &'static [&'static str],
    version: usize,
}

impl Cursor {
    /// A watch that has not begun, on the newest of these versions of an API.
    pub(super) fn new(versions: &'static [&'static str]) -> Self {
        Self { ask: Ask::Stream, listed_at: String::new(), can_stream: true, versions, version: 0 }
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
mod tests {
    use super::*;

    fn pod(version: &str) -> Object {
        Object::new(serde_json::json!({ "metadata": { "name": "a", "resourceVersion": version } }))
    }

    fn bookmark(version: &str, is_list_told: bool) -> Event {
        Event::Bookmark { version: version.to_owned(), is_list_told }
    }

    fn refused(code: u16, message: &str) -> Failure {
        Failure::Refused(Refusal { code, reason: String::new(), message: message.to_owned() })
    }

    fn page(version: &str, more: Option<&str>) -> Page {
        let json = serde_json::json!({
            "metadata": { "resourceVersion": version, "continue": more },
            "items": [{ "metadata": { "name": "a" } }],
        });
        serde_json::from_value(json).expect("a page")
    }

    /// A watch that has listed everything at version 5.
    fn listed() -> Cursor {
        let mut cursor = Cursor::new(&["v1"]);
        cursor.on_event(bookmark("5", true)).expect("no end");
        cursor
    }

    #[test]
    fn a_stream_lists_and_goes_on_with_changes() {
        let mut cursor = Cursor::new(&["v1"]);
        assert_eq!((cursor.ask(), cursor.on_open()), (&Ask::Stream, vec![Seen::InTouch, Seen::Begin]));
        assert!(matches!(cursor.on_event(Event::Applied(pod("3"))), Ok(Seen::Listed(_))));
        assert_eq!(cursor.on_event(bookmark("4", false)), Ok(Seen::InTouch));
        assert_eq!(cursor.ask(), &Ask::Stream, "a list that is cut off here is listed again");
        assert_eq!(cursor.on_event(bookmark("5", true)), Ok(Seen::Done));
        assert!(matches!(cursor.on_event(Event::Applied(pod("6"))), Ok(Seen::Applied(_))));
        assert!(matches!(cursor.on_event(Event::Deleted(pod("8"))), Ok(Seen::Deleted(_))));
        assert_eq!(cursor.ask(), &Ask::Changes("8".to_owned()));
        assert_eq!(cursor.on_event(bookmark("9", false)), Ok(Seen::InTouch));
        assert_eq!((cursor.ask(), cursor.on_open()), (&Ask::Changes("9".to_owned()), vec![Seen::InTouch]));
    }

    #[test]
    fn a_server_without_streams_is_asked_page_by_page() {
        let mut cursor = Cursor::new(&["v1"]);
        let failure = refused(422, "sendInitialEvents: Forbidden: is disabled by a feature gate");
        assert_eq!(cursor.on_failure(&failure), (None, Again::AtOnce));
        assert_eq!(cursor.ask(), &Ask::Page(None));
        let seen = cursor.on_page(page("7", Some("next")));
        assert!(matches!(seen[..], [Seen::InTouch, Seen::Begin, Seen::Listed(_)]), "{seen:?}");
        assert_eq!(cursor.ask(), &Ask::Page(Some("next".to_owned())));
        let seen = cursor.on_page(page("7", None));
        assert!(matches!(seen[..], [Seen::InTouch, Seen::Listed(_), Seen::Done]), "{seen:?}");
        assert_eq!(cursor.ask(), &Ask::Changes("7".to_owned()));
        assert_eq!(cursor.on_failure(&refused(410, "too old")), (None, Again::AtOnce));
        assert_eq!(cursor.ask(), &Ask::Page(None), "it is remembered that there are no streams");
    }

    #[test]
    fn a_watch_that_breaks_goes_on_where_it_was() {
        let mut cursor = listed();
        for failure in [Failure::Broken("reset".to_owned()), refused(500, "etcd"), refused(403, "no rights")]
        {
            let (seen, again) = cursor.on_failure(&failure);
            assert!(matches!(seen, Some(Seen::Lost(_))) && again == Again::Soon);
            assert_eq!(cursor.ask(), &Ask::Changes("5".to_owned()));
        }
    }

    #[test]
    fn what_the_server_has_forgotten_is_listed_again() {
        let expired = Refusal { reason: "Expired".to_owned(), ..Refusal::default() };
        let mut cursor = listed();
        let failure = cursor.on_event(Event::Error(expired)).expect_err("the end");
        assert_eq!(cursor.on_failure(&failure), (None, Again::AtOnce));
        assert_eq!(cursor.ask(), &Ask::Stream);
    }

    #[test]
    fn a_list_that_is_cut_off_is_read_from_its_start() {
        let mut cursor = Cursor::new(&["v1"]);
        cursor.on_failure(&refused(400, "unknown sendInitialEvents"));
        cursor.on_page(page("7", Some("next")));
        cursor.on_failure(&Failure::Broken("reset".to_owned()));
        assert_eq!(cursor.ask(), &Ask::Page(None));
    }

    #[test]
    fn older_versions_of_an_api_are_tried_before_a_kind_is_absent() {
        let mut cursor = Cursor::new(&["split/v3", "split/v2"]);
        assert_eq!(cursor.on_failure(&refused(404, "")), (None, Again::AtOnce));
        assert_eq!(cursor.api_version(), "split/v2");
        assert_eq!(cursor.on_failure(&refused(404, "")), (Some(Seen::Absent), Again::NowAndThen));
        assert_eq!((cursor.api_version(), cursor.ask()), ("split/v3", &Ask::Stream));
    }

    #[test]
    fn i9_a_kind_that_every_server_has_is_never_absent() {
        for version in [&["v1"], &["discovery.k8s.io/v1"]] {
            let seen = Cursor::new(version).on_failure(&refused(404, "no backend"));
            assert_eq!(seen, (Some(Seen::Lost("no backend (404)".to_owned())), Again::Soon));
        }
    }
}
