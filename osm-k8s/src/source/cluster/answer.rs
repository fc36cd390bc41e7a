//! Answers of the API server: a whole one, or a stream of lines.
//!
//! An answer that is none of what was asked for is a refusal with its status, whatever
//! its body is: a server that does not know a path does not even answer in JSON.

use std::error::Error;
use std::future::Future;
use std::time::Duration;

use http_body_util::BodyExt;
use kube::client::Body;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use tokio::time::timeout;

use super::cursor::{Event, Failure, Refusal};
use super::object::Object;

/// How long an answer may take to begin, and a page to come.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);
/// The longest line of a stream. The largest object is a tenth of that.
const MAX_LINE: usize = 32 << 20;
/// The longest reason that is looked at.
const MAX_REASON: usize = 1_000;

/// What is sent to an API server.
type Request = Result<http::Request<Vec<u8>>, kube::core::request::Error>;

/// Asks for something whole.
pub(super) async fn whole<T: DeserializeOwned>(
    client: &kube::Client,
    request: Request,
) -> Result<T, Failure> {
    in_time(async {
        let body = send(client, request).await?;
        let bytes = body.collect_bytes().await.map_err(broken)?;
        serde_json::from_slice(&bytes).map_err(broken)
    })
    .await
}

/// Asks for a stream of events.
pub(super) async fn events(client: &kube::Client, request: Request) -> Result<Events, Failure> {
    let body = in_time(send(client, request)).await?;
    Ok(Events { body, bytes: Vec::new(), searched: 0 })
}

async fn send(client: &kube::Client, request: Request) -> Result<Body, Failure> {
    let request = request.map_err(broken)?;
    let answer = client.send(request.map(Body::from)).await.map_err(broken)?;
    let status = answer.status();
    if status.is_success() {
        return Ok(answer.into_body());
    }
    let bytes = answer.into_body().collect_bytes().await.map_err(broken)?;
    let refusal = serde_json::from_slice(&bytes).unwrap_or_else(|_| Refusal {
        message: String::from_utf8_lossy(&bytes).trim().chars().take(MAX_REASON).collect(),
        ..Refusal::default()
    });
    Err(Failure::Refused(Refusal { code: status.as_u16(), ..refusal }))
}

async fn in_time<T>(asked: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    let late = || Failure::Broken("the server does not answer".to_owned());
    timeout(ANSWER_TIMEOUT, asked).await.unwrap_or_else(|_| Err(late()))
}

/// A stream of events, one on a line.
pub(super) struct Events {
    body: Body,
    bytes: Vec<u8>,
    /// How many of the bytes are known to hold no end of a line.
    searched: usize,
}

impl Events {
    /// The next event; `None` at the end. Not to be dropped halfway.
    pub(super) async fn next(&mut self) -> Option<Result<Event, Failure>> {
        loop {
            if let Some(line) = self.line() {
                return Some(event(&line));
            }
            match self.body.frame().await? {
                Ok(frame) => self.bytes.extend_from_slice(frame.data_ref().map_or(&[], |data| data)),
                Err(error) => return Some(Err(broken(error))),
            }
            if self.bytes.len() > MAX_LINE {
                return Some(Err(Failure::Broken("the server sends a line without end".to_owned())));
            }
        }
    }

    /// The first whole line of what has come.
    fn line(&mut self) -> Option<Vec<u8>> {
        let Some(end) = self.bytes[self.searched..].iter().position(|byte| *byte == b'\n') else {
            self.searched = self.bytes.len();
            return None;
        };
        let rest = self.bytes.split_off(self.searched + end + 1);
        self.searched = 0;
        Some(std::mem::replace(&mut self.bytes, rest))
    }
}

/// An event as the server writes it.
#[derive(Deserialize)]
#[serde(tag = "type", content = "object", rename_all = "UPPERCASE")]
enum Written {
    Added(Object),
    Modified(Object),
    Deleted(Object),
    Bookmark(Object),
    Error(Refusal),
}

fn event(line: &[u8]) -> Result<Event, Failure> {
    Ok(match serde_json::from_slice(line).map_err(broken)? {
        Written::Added(object) | Written::Modified(object) => Event::Applied(object),
        Written::Deleted(object) => Event::Deleted(object),
        Written::Bookmark(object) => Event::Bookmark {
            version: object.resource_version().unwrap_or_default().to_owned(),
            is_list_told: object.ends_list(),
        },
        Written::Error(refusal) => Event::Error(refusal),
    })
}

/// An error with all its causes: the first alone seldom says anything.
fn broken(error: impl Error) -> Failure {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        cause = error.source();
    }
    Failure::Broken(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn read(text: &str) -> Vec<Result<Event, Failure>> {
        let body = Body::from(text.as_bytes().to_vec());
        let mut events = Events { body, bytes: Vec::new(), searched: 0 };
        let mut all = Vec::new();
        while let Some(event) = events.next().await {
            all.push(event);
        }
        all
    }

    #[tokio::test]
    async fn each_line_is_an_event_and_half_a_line_at_the_end_is_none() {
        let events = read(concat!(
            r#"{"type": "ADDED", "object": {"metadata": {"name": "a"}}}"#,
            "\n",
            r#"{"type": "DELETED", "object": {"metadata": {"name": "a"}}}"#,
            "\n",
            r#"{"type": "BOOKMARK", "object": {"metadata": {"resourceVersion": "7", "annotations": {"k8s.io/initial-events-end": "true"}}}}"#,
            "\n",
            r#"{"type": "ERROR", "object": {"code": 410, "reason": "Expired", "message": "too old", "kind": "Status"}}"#,
            "\n",
            r#"{"type": "MODIFIED", "obj"#,
        ))
        .await;
        assert!(matches!(events[0], Ok(Event::Applied(_))) && matches!(events[1], Ok(Event::Deleted(_))));
        assert_eq!(events[2], Ok(Event::Bookmark { version: "7".to_owned(), is_list_told: true }));
        assert!(matches!(&events[3], Ok(Event::Error(Refusal { code: 410, .. }))), "{:?}", events[3]);
        assert_eq!(events.len(), 4);
    }

    #[tokio::test]
    async fn a_line_that_is_no_event_breaks_the_stream() {
        for line in ["404 page not found\n", "{}\n", "{\"type\": \"NEW\", \"object\": {}}\n"] {
            assert!(matches!(read(line).await[..], [Err(Failure::Broken(_))]), "{line}");
        }
    }
}
