//! What is written, how often and in which order, on a server that takes it or does not.

use std::collections::BTreeSet;
use std::sync::Mutex;

use http::StatusCode;
use osm_core::diagnostic::Severity;
use osm_core::name::Kind;
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::time::timeout;

use super::super::failures::LEFT_ALONE;
use super::*;
use crate::manifest::ManifestKind;
use crate::testing::{Answer, Log, server};

fn reference(name: &str) -> ObjectRef {
    ObjectRef::namespaced(Kind::TcpRoute, &format!("shop/{name}").parse().expect("a name"))
}

fn object(status: PolicyStatus) -> Arc<PolicyObject> {
    Arc::new(PolicyObject {
        kind: ManifestKind::TcpRoute,
        api_version: ManifestKind::TcpRoute.api_version(),
        uid: "u".to_owned(),
        generation: 1,
        status,
        fact: None,
    })
}

fn objects(names: &[&str]) -> PolicyObjects {
    names.iter().map(|name| (reference(name), object(PolicyStatus::default()))).collect()
}

/// The same of each: that it is as it should be.
fn good(objects: &PolicyObjects) -> Arc<Outlooks> {
    Arc::new(objects.keys().map(|name| (name.clone(), Outlook::default())).collect())
}

/// A cluster whose objects have these names and no status yet.
struct Cluster {
    writer: StatusWriter,
    shown: watch::Sender<Arc<PolicyObjects>>,
    log: Log,
    /// What was written last.
    statuses: Arc<Mutex<BTreeMap<String, Value>>>,
}

impl Cluster {
    /// A server that refuses the statuses of objects whose names begin so.
    fn refusing(beginning: &'static str, code: StatusCode, names: &[&str]) -> Self {
        let statuses = Arc::<Mutex<BTreeMap<String, Value>>>::default();
        let noted = Arc::clone(&statuses);
        let (server, log) = server(move |asked| {
            let name = asked.path.rsplit('/').nth(1).unwrap_or_default().to_owned();
            if !beginning.is_empty() && name.starts_with(beginning) {
                return Answer::refusal(code);
            }
            noted.lock().expect("nobody panicked").insert(name, asked.body["status"].clone());
            Answer::ok(json!({}))
        });
        let (shown, policies) = Policies::new();
        shown.send_replace(Arc::new(objects(names)));
        let writer = StatusWriter::new(server, policies, LeaseWatch::of_holder(), "replica");
        Self { writer, shown, log, statuses }
    }

    /// Writes for so long.
    async fn during(self, time: Duration) -> (Log, BTreeSet<String>) {
        timeout(time, self.writer.run(|objects| good(objects))).await.expect_err("it goes on for ever");
        (self.log, self.statuses.lock().expect("nobody panicked").keys().cloned().collect())
    }
}

const PATCH: &str = "PATCH /apis/specs.smi-spec.io/";

#[tokio::test(start_paused = true)]
async fn a_status_is_written_once_and_again_only_when_something_is_new() {
    let Cluster { mut writer, shown, log, statuses } = Cluster::refusing("", StatusCode::OK, &["a"]);
    let seen = |shown: &watch::Sender<_>| Arc::clone(&shown.borrow());
    let round = seen(&shown);
    writer.round(Arc::clone(&round), good(&round)).await;
    writer.round(Arc::clone(&round), good(&round)).await;
    assert_eq!(log.count(), 1, "the watch has not told yet");
    let written = statuses.lock().expect("nobody panicked")["a"].clone();
    let status: PolicyStatus = serde_json::from_value(written).expect("a status");
    shown.send_replace(Arc::new([(reference("a"), object(status))].into()));
    let round = seen(&shown);
    tokio::time::advance(BELIEVED).await;
    writer.round(Arc::clone(&round), good(&round)).await;
    assert_eq!(log.count(), 1, "it stands there");
    let programmed = Outlook { programmed: Some(Programmed::new(1, 2)), ..Outlook::default() };
    writer.round(round, Arc::new([(reference("a"), programmed)].into())).await;
    assert_eq!(log.count(), 2);
}

#[tokio::test(start_paused = true)]
async fn nothing_is_looked_at_again_while_nothing_changes() {
    let (mut writer, objects) = (Cluster::refusing("", StatusCode::OK, &[]).writer, Arc::default());
    let outlooks = Arc::default();
    writer.round(Arc::clone(&objects), Arc::clone(&outlooks)).await;
    assert!(writer.settled.is_some());
    let mut waiting = Cluster::refusing("", StatusCode::OK, &["a"]);
    let objects = waiting.writer.policies.current();
    waiting.writer.round(Arc::clone(&objects), good(&objects)).await;
    assert!(waiting.writer.settled.is_none(), "what was written may turn out not to stand there");
}

#[tokio::test(start_paused = true)]
async fn no_more_is_written_at_once_than_a_server_bears_and_all_have_their_turn() {
    let names: Vec<String> = (0..MAX_WRITES * 2 + 1).map(|number| format!("r{number:04}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let cluster = Cluster::refusing("", StatusCode::OK, &names);
    let (log, written) = cluster.during(INTERVAL * 2 + Duration::from_millis(1)).await;
    assert_eq!((log.count(), written.len()), (names.len(), names.len()));
    let first = log.times(PATCH)[0];
    assert_eq!(log.times(PATCH).iter().filter(|at| **at == first).count(), MAX_WRITES);
}

#[tokio::test(start_paused = true)]
async fn statuses_that_are_refused_neither_starve_others_nor_are_tried_all_the_time() {
    let refused: Vec<String> = (0..MAX_WRITES * 2).map(|number| format!("bad{number:04}")).collect();
    let names: Vec<&str> = refused.iter().map(String::as_str).chain(["good"]).collect();
    let cluster = Cluster::refusing("bad", StatusCode::FORBIDDEN, &names);
    let (log, written) = cluster.during(LEFT_ALONE - INTERVAL).await;
    assert_eq!(written, ["good".to_owned()].into());
    assert_eq!(log.times(&format!("{PATCH}v1alpha4/namespaces/shop/tcproutes/bad")).len(), refused.len());
    let cluster = Cluster::refusing("bad", StatusCode::FORBIDDEN, &["bad"]);
    let (log, _) = cluster.during(LEFT_ALONE * 3).await;
    assert_eq!(log.count(), 3, "once a minute");
}

#[tokio::test(start_paused = true)]
async fn a_kind_that_has_no_status_is_told_of_once_and_what_is_gone_is_not() {
    let mut failures = Failures::default();
    let (all, none) = (objects(&["a", "b"]), PolicyObjects::new());
    let fail = |failures: &mut Failures| {
        for name in ["a", "b"] {
            failures.on_failed(reference(name), "u", true, Instant::now());
        }
    };
    let a_while = LEFT_ALONE / 2;
    fail(&mut failures);
    assert!(failures.look(&all, Instant::now()).is_empty(), "the watch may not have told yet");
    assert!(failures.look(&none, Instant::now()).is_empty() && failures.is_empty(), "they are gone");
    fail(&mut failures);
    tokio::time::advance(a_while).await;
    assert_eq!(failures.look(&all, Instant::now()), [ManifestKind::TcpRoute]);
    assert!(failures.look(&all, Instant::now()).is_empty() && failures.has(&reference("a")));
    failures.on_failed(reference("a"), "another", true, Instant::now());
    failures.look(&all, Instant::now());
    assert!(!failures.has(&reference("a")), "it was made anew");
    failures.on_written(ManifestKind::TcpRoute);
    fail(&mut failures);
    tokio::time::advance(a_while).await;
    assert_eq!(failures.look(&all, Instant::now()), [ManifestKind::TcpRoute], "it had one meanwhile");
    tokio::time::advance(a_while).await;
    failures.look(&all, Instant::now());
    assert!(failures.is_empty());
}

#[test]
fn an_event_tells_of_a_refusal_that_is_news() {
    let refused = |generation, message: &str| {
        let finding = Diagnostic::new(Severity::Error, "bad", reference("a"), message);
        let known = Known { generation, findings: &[finding], programmed: None };
        wanted(known, &PolicyStatus::default(), "t")
    };
    let none = PolicyStatus::default();
    assert!(newly_refused(&none, &none).is_none());
    assert!(newly_refused(&none, &refused(1, "x")).is_some());
    assert!(newly_refused(&refused(1, "x"), &refused(1, "x")).is_none());
    assert!(newly_refused(&refused(1, "x"), &refused(2, "x")).is_none(), "as wrong as before");
    assert!(newly_refused(&refused(1, "x"), &refused(2, "y")).is_some(), "it was edited");
    assert!(newly_refused(&refused(1, "x"), &refused(1, "y")).is_none(), "the same in other words");
}
