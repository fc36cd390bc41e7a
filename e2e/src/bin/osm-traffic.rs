//! Applications for tests with real proxies: one that serves everything that a
//! mesh carries, and one that makes calls and tells what came of them.

use anyhow::{Context, Result};
use clap::Parser;
use osm_e2e::traffic::{self, Command};

fn main() -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("starting")?;
    runtime.block_on(traffic::run(Command::parse()))
}
