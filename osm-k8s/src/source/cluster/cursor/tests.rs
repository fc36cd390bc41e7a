//! What a watch asks next, answer by answer.

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
    for failure in [Failure::Broken("reset".to_owned()), refused(500, "etcd"), refused(403, "no rights")] {
        let (seen, again) = cursor.on_failure(&failure);
        assert!(matches!(seen, Some(Seen::Lost(_))) && again == Again::Soon);
        assert_eq!(cursor.ask(), &Ask::Changes("5".to_owned()));
    }
}

#[test]
fn a_server_that_says_nothing_twice_is_asked_for_a_list_which_it_owes() {
    let mut cursor = listed();
    assert_eq!((cursor.on_silence(), cursor.ask()), (Ok(()), &Ask::Changes("5".to_owned())));
    assert_eq!((cursor.on_silence(), cursor.ask()), (Ok(()), &Ask::Stream));
    assert!(matches!(cursor.on_silence(), Err(Failure::Broken(_))));
    assert_eq!(cursor.on_event(bookmark("6", true)), Ok(Seen::Done));
    assert_eq!(cursor.on_silence(), Ok(()));
    assert_eq!(cursor.on_event(bookmark("7", false)), Ok(Seen::InTouch));
    assert_eq!((cursor.on_silence(), cursor.ask()), (Ok(()), &Ask::Changes("7".to_owned())), "the first");
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
