//! `osm local exec`: a program inside a pod.

use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};

use anyhow::{Context, Result};
use clap::Args;

use crate::local::client::Client;
use crate::local::requirements::{Tools, search_path};

/// Which program, in which pod.
#[derive(Debug, Clone, Args)]
pub struct ExecArgs {
    /// The pod: `namespace/name`, or `name` where only one is called so
    pub pod: String,
    /// The program and its arguments
    #[arg(last = true, required = true, value_name = "CMD")]
    pub command: Vec<String>,
}

/// Becomes the program. Returns only when it can't.
pub(super) async fn run(args: &ExecArgs, client: &Client) -> Result<ExitCode> {
    let (program, arguments) = args.command.split_first().context("no program is named")?;
    let entry = client.enter(&args.pod, program).await?;
    let mesh = client.process().await?;
    let tools = Tools::find(&search_path())?;
    let terminal = std::env::var("TERM").ok().map(|terminal| ("TERM".to_owned(), terminal));
    let error = Command::new(&tools.nsenter)
        .args(["--target", &mesh.to_string(), "--mount", "--pid", "--net", "--ipc", "--uts", "--"])
        .args(&entry.prefix)
        .args(arguments)
        .env_clear()
        .envs(terminal)
        .envs(&entry.environment)
        .exec();
    Err(error).with_context(|| format!("starting {}", tools.nsenter.display()))
}
