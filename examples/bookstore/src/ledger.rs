//! The ledger: one total behind a TCP protocol in which the server speaks first.
//!
//! Lines of ASCII end in `\n`. The server opens with `LEDGER 1 <identity>`. It answers `ADD n` and `TOTAL` with
//! `OK <total>`, `PING` with `PONG`, `QUIT` by closing, and anything else with `ERR <reason>`. The total lives in memory.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use parking_lot::Mutex;
use tokio::io::{self, AsyncBufRead, AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// Longest line of either side, in bytes, with its end.
pub const LINE_LIMIT: u64 = 256;
/// First word of the greeting, with the protocol's version.
pub const GREETING: &str = "LEDGER 1";
/// Connections at the same time; further ones wait to be accepted.
const CONNECTIONS: usize = 512;
/// How long a connection may be silent.
const IDLE: Duration = Duration::from_secs(300);

/// Keeps the total on `listener` until `stop`.
///
/// # Errors
/// When the identity does not fit in a line.
pub async fn run(listener: TcpListener, identity: String, stop: CancellationToken) -> anyhow::Result<()> {
    let fits = identity.len() < 200 && !identity.contains(char::is_control);
    anyhow::ensure!(fits, "IDENTITY {identity:?} does not fit in a line of the ledger's greeting");
    let (total, greeting) =
        (Arc::new(Mutex::new(0_u64)), Arc::<str>::from(format!("{GREETING} {identity}\n")));
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    let mut connections = JoinSet::new();
    loop {
        let accepted = async {
            let place = Arc::clone(&places).acquire_owned().await.context("the semaphore is never closed")?;
            anyhow::Ok((place, listener.accept().await?))
        };
        tokio::select! {
            () = stop.cancelled() => break,
            Some(_) = connections.join_next() => {}
            accepted = accepted => match accepted {
                Ok((place, (stream, _))) => {
                    let (total, greeting) = (Arc::clone(&total), Arc::clone(&greeting));
                    connections.spawn(async move {
                        let _place = place;
                        // A connection that breaks concerns only its client.
                        converse(stream, &greeting, &total).await.ok();
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            },
        }
    }
    connections.shutdown().await;
    tracing::info!(total = *total.lock(), "ledger closed");
    Ok(())
}

/// Reads one line of at most [`LINE_LIMIT`] bytes, without its end; `None` at the end of the stream.
///
/// # Errors
/// On a longer line, a line without its end, or one that is not UTF-8.
pub async fn read_line(reader: &mut (impl AsyncBufRead + Unpin)) -> io::Result<Option<String>> {
    let mut line = Vec::new();
    let read = (&mut *reader).take(LINE_LIMIT).read_until(b'\n', &mut line).await?;
    if read == 0 {
        return Ok(None);
    }
    if line.pop() != Some(b'\n') {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "a line is too long or has no end"));
    }
    if line.last() == Some(&b'\r') {
        line.pop();
    }
    String::from_utf8(line).map(Some).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
}

async fn converse(stream: TcpStream, greeting: &str, total: &Mutex<u64>) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut stream = BufReader::new(stream);
    stream.get_mut().write_all(greeting.as_bytes()).await?;
    while let Some(line) = tokio::time::timeout(IDLE, read_line(&mut stream)).await?? {
        let Some(answer) = answer(&line, total) else { break };
        stream.get_mut().write_all(answer.as_bytes()).await?;
    }
    stream.get_mut().shutdown().await
}

/// Carries out one command; `None` ends the connection.
fn answer(line: &str, total: &Mutex<u64>) -> Option<String> {
    let mut words = line.split_ascii_whitespace();
    let answer = match (words.next(), words.next(), words.next()) {
        (Some("PING"), None, _) => "PONG\n".to_owned(),
        (Some("QUIT"), None, _) => return None,
        (Some("TOTAL"), None, _) => format!("OK {}\n", *total.lock()),
        (Some("ADD"), Some(number), None) => add(number, total),
        _ => "ERR commands are ADD n, TOTAL, PING and QUIT\n".to_owned(),
    };
    Some(answer)
}

fn add(number: &str, total: &Mutex<u64>) -> String {
    let Ok(number) = number.parse::<u64>() else { return "ERR ADD takes one number\n".to_owned() };
    let mut total = total.lock();
    match total.checked_add(number) {
        Some(sum) => {
            *total = sum;
            format!("OK {sum}\n")
        }
        None => "ERR the total would not fit\n".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_add_up_and_the_rest_is_refused() {
        let total = Mutex::new(0);
        for (line, expected) in [
            ("ADD 2", "OK 2\n"),
            ("ADD 40 ", "OK 42\n"),
            ("TOTAL", "OK 42\n"),
            ("PING", "PONG\n"),
            ("ADD -1", "ERR ADD takes one number\n"),
            ("ADD 18446744073709551615", "ERR the total would not fit\n"),
            ("ADD", "ERR commands are ADD n, TOTAL, PING and QUIT\n"),
            ("", "ERR commands are ADD n, TOTAL, PING and QUIT\n"),
            ("GET / HTTP/1.1", "ERR commands are ADD n, TOTAL, PING and QUIT\n"),
            ("TOTAL", "OK 42\n"),
        ] {
            assert_eq!(answer(line, &total).as_deref(), Some(expected), "{line}");
        }
        assert_eq!(answer("QUIT", &total), None);
    }

    #[tokio::test]
    async fn a_line_is_bounded_and_needs_its_end() {
        let long = [b'x'; 10_000];
        assert!(read_line(&mut &long[..]).await.is_err());
        assert!(read_line(&mut &b"PING"[..]).await.is_err());
        assert!(read_line(&mut &b"\xff\xfe\n"[..]).await.is_err());
        assert_eq!(read_line(&mut &b"PING\r\nmore"[..]).await.expect("a line"), Some("PING".to_owned()));
        assert_eq!(read_line(&mut &b""[..]).await.expect("an end"), None);
    }
}
