//! One watch that never ends: asks the server, waits, and asks again.
//!
//! What is asked next and what an answer means is decided in `cursor`. This and `answer`
//! are all that touches the network.

use std::collections::VecDeque;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::time::Duration;

use futures::stream::{self, Stream};
use kube::api::{ListParams, Request, WatchParams};
use tokio::time::{Instant, sleep, timeout};

use super::answer::{self, Events};
use super::cursor::{Again, Ask, Cursor, Failure, Page, Refusal, Seen};
use super::object::Object;
use super::target::Target;
use crate::manifest::ManifestKind;

/// A stream that says nothing for so long is not waited for any more: where nothing happens,
/// the server says every minute how far it has come. Not so one that has just started, of a kind
/// that nobody has changed since: so it is asked anew before it counts as lost.
const SILENCE: Duration = Duration::from_secs(90);
/// The first and the longest wait after a failure.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));
/// How often a kind is looked for that the server does not have.
const LOOK_AGAIN: Duration = Duration::from_secs(5);
/// A stream that ends so soon is a failure, or it would be asked for without end.
const SHORT_STREAM: Duration = Duration::from_secs(1);
/// How many objects a page has.
const PAGE: u32 = 500;

/// What a watch on one kind has seen, with the version of the API that it is read in.
pub(super) type Sight = (ManifestKind, &'static str, Seen);

/// Follows the objects of a target for ever.
pub(super) fn follow(client: kube::Client, target: Target) -> impl Stream<Item = Sight> + Send + 'static {
    let follower = Follower {
        cursor: Cursor::new(target.kind.api_versions()),
        client,
        target,
        events: None,
        seen: VecDeque::new(),
        failures: 0,
        wait: None,
    };
    stream::unfold(follower, |mut follower| async move {
        let seen = follower.next().await;
        Some(((follower.target.kind, follower.cursor.api_version(), seen), follower))
    })
}

struct Follower {
    client: kube::Client,
    target: Target,
    cursor: Cursor,
    /// The stream that is open, and since when.
    events: Option<(Events, Instant)>,
    seen: VecDeque<Seen>,
    failures: u32,
    /// How long to wait before the next question.
    wait: Option<Duration>,
}

impl Follower {
    async fn next(&mut self) -> Seen {
        loop {
            if let Some(seen) = self.seen.pop_front() {
                return seen;
            }
            if let Some(wait) = self.wait.take() {
                sleep(wait).await;
            }
            let failure = match &mut self.events {
                None => self.ask().await.err(),
                Some((events, since)) => match timeout(SILENCE, events.next()).await {
                    Ok(Some(Ok(event))) => match self.cursor.on_event(event) {
                        Ok(seen) => {
                            self.failures = 0;
                            return seen;
                        }
                        Err(failure) => Some(failure),
                    },
                    Ok(Some(Err(failure))) => Some(failure),
                    Ok(None) if since.elapsed() < SHORT_STREAM => {
                        Some(Failure::Broken("the server ended the watch".to_owned()))
                    }
                    // The server ends each watch after some minutes.
                    Ok(None) => {
                        self.events = None;
                        None
                    }
                    Err(_) => {
                        self.events = None;
                        self.cursor.on_silence().err()
                    }
                },
            };
            if let Some(failure) = failure {
                self.on_failure(&failure);
            }
        }
    }

    fn on_failure(&mut self, failure: &Failure) {
        self.events = None;
        let (seen, again) = self.cursor.on_failure(failure);
        self.seen.extend(seen);
        self.wait = match again {
            Again::AtOnce => None,
            Again::NowAndThen => Some(jittered(LOOK_AGAIN)),
            Again::Soon => Some(backoff(self.failures)),
        };
        self.failures = self.failures.saturating_add(1);
    }

    /// Asks what is to be asked next.
    async fn ask(&mut self) -> Result<(), Failure> {
        let (ask, api_version) = (self.cursor.ask().clone(), self.cursor.api_version());
        match ask {
            Ask::Page(token) => {
                let page = page(&self.client, &self.target, api_version, token).await?;
                self.failures = 0;
                self.seen.extend(self.cursor.on_page(page));
            }
            Ask::Stream => self.open(&WatchParams::default().initial_events(), "").await?,
            Ask::Changes(version) => self.open(&WatchParams::default(), &version).await?,
        }
        Ok(())
    }

    async fn open(&mut self, params: &WatchParams, version: &str) -> Result<(), Failure> {
        let mut params = params.clone();
        params.label_selector.clone_from(&self.target.labels);
        params.field_selector = self.target.fields.map(str::to_owned);
        let request = Request::new(self.target.path(self.cursor.api_version()));
        let request = match self.target.only_metadata {
            true => request.watch_metadata(&params, version),
            false => request.watch(&params, version),
        };
        let events = answer::events(&self.client, request).await?;
        self.events = Some((events, Instant::now()));
        self.seen.extend(self.cursor.on_open());
        Ok(())
    }
}

/// All objects of a target at one moment, with the version of the API that they are
/// read in. A kind that the server does not have has none.
pub(super) async fn list(
    client: &kube::Client,
    target: &Target,
) -> Result<(Vec<Object>, &'static str), Failure> {
    for api_version in target.kind.api_versions() {
        match list_version(client, target, api_version).await {
            Ok(objects) => return Ok((objects, api_version)),
            Err(Failure::Refused(Refusal { code: 404, .. })) => {}
            Err(failure) => return Err(failure),
        }
    }
    Ok((Vec::new(), target.kind.api_version()))
}

async fn list_version(
    client: &kube::Client,
    target: &Target,
    api_version: &str,
) -> Result<Vec<Object>, Failure> {
    let (mut objects, mut token) = (Vec::new(), None);
    loop {
        let (more, next) = page(client, target, api_version, token).await?.into_parts();
        objects.extend(more);
        token = next;
        if token.is_none() {
            return Ok(objects);
        }
    }
}

async fn page(
    client: &kube::Client,
    target: &Target,
    api_version: &str,
    token: Option<String>,
) -> Result<Page, Failure> {
    let params = ListParams {
        label_selector: target.labels.clone(),
        field_selector: target.fields.map(str::to_owned),
        limit: Some(PAGE),
        continue_token: token,
        ..ListParams::default()
    };
    let request = Request::new(target.path(api_version));
    let request = match target.only_metadata {
        true => request.list_metadata(&params),
        false => request.list(&params),
    };
    answer::whole(client, request).await
}

/// How long to wait after so many failures in a row: about twice as long each time.
pub(super) fn backoff(failures: u32) -> Duration {
    let (first, longest) = BACKOFF;
    jittered(first.saturating_mul(1 << failures.min(10)).min(longest))
}

/// About as long: from half to one and a half. Many that were cut off at one moment
/// must not all come back at one moment.
fn jittered(wait: Duration) -> Duration {
    let random = RandomState::new().build_hasher().finish() % 1000;
    wait.mul_f64(0.5 + random as f64 / 1000.0)
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::pin::pin;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};

    use futures::StreamExt;
    use http_body_util::StreamBody;
    use hyper::body::{Bytes, Frame};

    use super::super::target;
    use super::*;

    type Line = Result<Frame<Bytes>, Infallible>;

    /// How long it takes until a server counts as lost that begins its answers with these lines and
    /// then says nothing, and is gone after so many questions; and how many it was asked.
    async fn lost(first: &'static str, questions: u32) -> (Duration, u32) {
        let asked = Arc::new(AtomicU32::new(0));
        let count = Arc::clone(&asked);
        let server = tower::service_fn(move |_: http::Request<kube::client::Body>| {
            let number = count.fetch_add(1, Ordering::Relaxed);
            let line =
                (number == 0 && !first.is_empty()).then(|| Ok(Frame::data(Bytes::from(first))) as Line);
            let body = StreamBody::new(stream::iter(line).chain(stream::pending()));
            let answer = if number < questions { Ok(http::Response::new(body)) } else { Err("it is gone") };
            async move { answer.map_err(std::io::Error::other) }
        });
        let client = kube::Client::new(server, "default");
        let target = target::all("osm", &"osm-system".parse().expect("a name")).remove(0);
        let mut sights = pin!(follow(client, target));
        let begun = Instant::now();
        while !matches!(sights.next().await, Some((_, _, Seen::Lost(_)))) {}
        (begun.elapsed(), asked.load(Ordering::Relaxed))
    }

    /// That a list has come to its end.
    const LISTED: &str = concat!(
        r#"{"type":"BOOKMARK","object":{"metadata":{"resourceVersion":"5","#,
        r#""annotations":{"k8s.io/initial-events-end":"true"}}}}"#,
        "\n"
    );

    #[tokio::test(start_paused = true)]
    async fn a_server_that_has_gone_silent_is_asked_anew_before_it_counts_as_lost() {
        assert_eq!(lost(LISTED, 1).await, (SILENCE, 2));
        assert_eq!(lost(LISTED, 2).await, (SILENCE * 2, 3));
    }

    #[tokio::test(start_paused = true)]
    async fn a_server_that_takes_questions_and_says_nothing_counts_as_lost() {
        assert_eq!(lost("", u32::MAX).await, (SILENCE, 1));
        assert_eq!(lost(LISTED, u32::MAX).await, (SILENCE * 3, 3));
    }

    #[test]
    fn waits_grow_to_a_bound_and_differ() {
        let bounds = |failures| {
            let waits: Vec<_> = (0..100).map(|_| backoff(failures).as_millis()).collect();
            (*waits.iter().min().expect("waits"), *waits.iter().max().expect("waits"))
        };
        let ((first, most), (late, latest)) = (bounds(0), bounds(100));
        assert!(first >= 50 && most <= 150 && first < most, "{first} {most}");
        assert!(late >= 2_500 && latest <= 7_500 && late < latest, "{late} {latest}");
    }
}
