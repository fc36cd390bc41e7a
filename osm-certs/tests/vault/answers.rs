//! Answers that no server of the kind gives, as something in between could: none is believed, and
//! none takes more memory or time than it may.

use std::time::Duration;

use osm_certs::enrolment::Enrolment;
use osm_certs::issuer::{Issuer, IssuerError};
use osm_certs::vault::{Login, Secret, SecretSource, VaultIssuer, VaultOptions};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use crate::mesh::till;

/// How long the issuer waits.
const PATIENCE: Duration = Duration::from_secs(2);

/// What a made-up server sends after each request.
#[derive(Debug, Clone)]
enum Answer {
    /// This, with its length.
    Whole(u16, &'static str),
    /// So many bytes.
    Bytes(usize),
    /// A byte now and then, for ever.
    Drip,
    /// An error that quotes the request.
    Quote(u16),
}

/// What is said when a made-up server answers like this.
async fn said(answer: Answer) -> IssuerError {
    said_to(Login::token("s.token"), answer).await
}

async fn said_to(login: Login, answer: Answer) -> IssuerError {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let mut serving = JoinSet::new();
    serving.spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut buffer = [0; 16 * 1024];
            while let Ok(read @ 1..) = stream.read(&mut buffer).await {
                send(&mut stream, &answer, &buffer[..read]).await;
            }
        }
    });
    let mut options = VaultOptions::new(format!("http://{address}"), "mesh", login);
    options.patience = PATIENCE;
    let issuer = VaultIssuer::new(options).expect("of use");
    let made = Enrolment::new(till(), Duration::from_secs(60)).expect("a request");
    let began = Instant::now();
    let error = issuer.sign(&made.request).await.expect_err("it is no certificate");
    // A login and a request.
    assert!(began.elapsed() < 3 * PATIENCE, "it took {:?}", began.elapsed());
    error
}

async fn send(stream: &mut tokio::net::TcpStream, answer: &Answer, asked: &[u8]) {
    let head =
        |status: u16, length: usize| format!("HTTP/1.1 {status} X\r\nContent-Length: {length}\r\n\r\n");
    match answer {
        Answer::Whole(status, text) => {
            stream.write_all(format!("{}{text}", head(*status, text.len())).as_bytes()).await.ok();
        }
        Answer::Quote(status) => {
            let text = json!({"errors": [String::from_utf8_lossy(asked)]}).to_string();
            stream.write_all(format!("{}{text}", head(*status, text.len())).as_bytes()).await.ok();
        }
        Answer::Bytes(length) => {
            stream.write_all(head(200, *length).as_bytes()).await.ok();
            stream.write_all(&vec![b' '; *length]).await.ok();
        }
        Answer::Drip => {
            stream.write_all(head(200, 1_000_000).as_bytes()).await.ok();
            // Until the other side has had enough.
            while stream.write_all(b" ").await.is_ok() {
                sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

#[tokio::test]
async fn an_answer_that_is_none_is_told_by_who_can_act() {
    for (answer, said_so) in [
        (Answer::Whole(200, "<html>welcome</html>"), "cannot be read"),
        (Answer::Whole(200, "{}"), "an empty answer"),
        (Answer::Whole(502, "<html>bad gateway</html>"), "answered 502"),
        (Answer::Whole(307, ""), "answered 307"),
        (Answer::Whole(429, "{\"errors\":[\"slow down\"]}"), "slow down"),
        (Answer::Bytes(2 * 1024 * 1024), "is too large"),
        (Answer::Drip, "no answer within 2 s"),
    ] {
        let error = said(answer.clone()).await;
        assert!(matches!(error, IssuerError::Unavailable { .. }), "{answer:?}: {error}");
        assert!(error.to_string().contains(said_so), "{answer:?}: {error}");
    }
    let refused = said(Answer::Whole(404, "{\"errors\":[\"no handler for route\"]}")).await;
    assert!(matches!(refused, IssuerError::Refused { .. }), "{refused}");
}

#[tokio::test]
async fn what_an_answer_holds_is_not_quoted_when_it_cannot_be_read() {
    let text =
        "{\"data\":{\"certificate\":7,\"private_key\":\"c2VjcmV0\"},\"auth\":{\"client_token\":\"c2VjcmV0\"";
    let error = said(Answer::Whole(200, text)).await;
    assert!(!format!("{error} {error:?}").contains("c2VjcmV0"), "{error:?}");
}

/// I11: no error has what the server was told in confidence.
#[tokio::test]
async fn i11_what_a_server_quotes_of_a_request_does_not_show() {
    let app_role = || Login::app_role("mesh", SecretSource::Given(Secret::new("c2VjcmV0")));
    for status in [400, 403, 429, 500] {
        for login in [Login::token("c2VjcmV0"), app_role()] {
            let error = said_to(login, Answer::Quote(status)).await;
            let shown = format!("{error} {error:?}");
            assert!(!shown.contains("c2VjcmV0"), "{shown}");
            assert!(status == 403 || shown.contains("(elided)"), "it was quoted: {shown}");
        }
    }
}
