//! Traffic of every kind that a mesh carries, for tests with real proxies.
//!
//! One program serves it, another makes calls and tells in a word each what came
//! of them: who answered, in which protocol, or how it was refused. The same calls
//! can be asked of the representation alone, which must say the same.

mod call;
mod grpc;
mod make;
mod predict;
mod repeat;
mod serve;
mod table;
mod web;

use anyhow::{Context, Result};
use clap::Parser;

pub use call::{Call, What};
pub use predict::outcome;
pub use table::{Row, read};

/// What the program does.
#[derive(Debug, Parser)]
#[command(about = "Serves and makes traffic of every kind, for tests of a mesh.")]
pub enum Command {
    /// Serves until it is ended.
    Serve(ServeOptions),
    /// Makes calls, one after the other, and prints an outcome for each as a JSON list.
    Call {
        /// The calls, such as `GET host:port/path header=value` or `TCP host:port`.
        calls: Vec<Call>,
    },
    /// Makes calls on and on, each on a connection of its own, and prints each second how often what came of them, as a
    /// JSON object.
    Repeat(RepeatOptions),
}

/// What is served.
#[derive(Debug, clap::Args)]
pub struct ServeOptions {
    /// The name that answers carry.
    #[arg(long)]
    pub name: String,
    /// Ports of HTTP/1.1, HTTP/2, gRPC and WebSockets.
    #[arg(long)]
    pub http: Vec<u16>,
    /// Ports of the same over TLS, with a certificate that nobody vouches for.
    #[arg(long)]
    pub https: Vec<u16>,
    /// Ports at which a line is answered with the name and the line.
    #[arg(long)]
    pub tcp: Vec<u16>,
    /// Ports at which the name is said before anything was asked.
    #[arg(long)]
    pub server_first: Vec<u16>,
}

/// What is called on and on.
#[derive(Debug, clap::Args)]
pub struct RepeatOptions {
    /// How many milliseconds are between the end of a call and the next one.
    #[arg(long, default_value_t = 20)]
    pub pause: u64,
    /// The calls, in turn.
    #[arg(required = true)]
    pub calls: Vec<Call>,
}

/// Does it.
///
/// # Errors
/// When a port can't be had, or outcomes can't be written.
pub async fn run(command: Command) -> Result<()> {
    match command {
        Command::Serve(options) => serve::serve(options).await,
        Command::Repeat(options) => repeat::repeat(&options).await,
        Command::Call { calls } => {
            let outcomes = make::calls(&calls).await;
            println!("{}", serde_json::to_string(&outcomes).context("writing outcomes")?);
            Ok(())
        }
    }
}
