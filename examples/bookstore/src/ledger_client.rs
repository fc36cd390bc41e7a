//! The client of the ledger: waits for the greeting before it says anything.
//!
//! A command that was sent is never repeated: it may have counted.

use std::time::Duration;

use tokio::io::{AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

use crate::ledger::{self, GREETING};

/// Why the ledger gave no result.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    /// No connection, or it broke.
    #[error("the connection to the ledger: {0}")]
    Io(#[from] std::io::Error),
    /// The server closed before it spoke.
    #[error("the ledger closed the connection without a word")]
    Silent,
    /// Nothing within the time limit.
    #[error("the ledger did not answer in time")]
    Timeout,
    /// The other side is not a ledger.
    #[error("not a ledger's greeting: {0:?}")]
    Greeting(String),
    /// The ledger refused the command.
    #[error("the ledger answered {0:?}")]
    Refused(String),
}

/// One connection to a ledger, after its greeting.
#[derive(Debug)]
pub struct LedgerConnection {
    stream: BufReader<TcpStream>,
    greeting: String,
    limit: Duration,
}

impl LedgerConnection {
    /// Connects to `authority` (`host:port`) and waits for the greeting, both within `limit`.
    ///
    /// # Errors
    /// When there is no connection, no greeting, or another one.
    pub async fn open(authority: &str, limit: Duration) -> Result<Self, LedgerError> {
        tokio::time::timeout(limit, async {
            let stream = TcpStream::connect(authority).await?;
            stream.set_nodelay(true)?;
            let mut stream = BufReader::new(stream);
            let greeting = ledger::read_line(&mut stream).await?.ok_or(LedgerError::Silent)?;
            if !greeting.starts_with(GREETING) {
                return Err(LedgerError::Greeting(greeting));
            }
            Ok(Self { stream, greeting, limit })
        })
        .await
        .unwrap_or(Err(LedgerError::Timeout))
    }

    /// Returns the line with which the server opened.
    pub fn greeting(&self) -> &str {
        &self.greeting
    }

    /// Sends one command and returns the line that answers it.
    ///
    /// # Errors
    /// When the connection breaks or the time limit passes; the connection is then of no more use.
    pub async fn ask(&mut self, command: &str) -> Result<String, LedgerError> {
        let exchange = async {
            self.stream.get_mut().write_all(format!("{command}\n").as_bytes()).await?;
            ledger::read_line(&mut self.stream).await?.ok_or(LedgerError::Silent)
        };
        tokio::time::timeout(self.limit, exchange).await.unwrap_or(Err(LedgerError::Timeout))
    }

    /// Adds `books` and returns the new total.
    ///
    /// # Errors
    /// As [`LedgerConnection::ask`], and when the ledger refuses.
    pub async fn add(&mut self, books: u64) -> Result<u64, LedgerError> {
        let answer = self.ask(&format!("ADD {books}")).await?;
        answer.strip_prefix("OK ").and_then(|total| total.parse().ok()).ok_or(LedgerError::Refused(answer))
    }

    /// Asks whether the connection still works.
    pub async fn is_alive(&mut self) -> bool {
        self.ask("PING").await.is_ok_and(|answer| answer == "PONG")
    }
}
