//! Measures what a mesh of a size costs the controller.

use anyhow::{Context, Result};
use clap::Parser;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use osm_e2e::fleet::{self, FleetOptions};

/// Threads for all simulated proxies: the rest of the machine is the controller's.
const THREADS: usize = 1;

fn main() -> Result<()> {
    let options = FleetOptions::parse();
    let json = options.json.clone();
    allow_connections()?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(THREADS)
        .enable_all()
        .build()
        .context("starting")?;
    let runs = runtime.block_on(fleet::run(options))?;
    println!("{}", fleet::table(&runs));
    if let Some(path) = json {
        let text = serde_json::to_string_pretty(&fleet::to_json(&runs)).context("writing JSON")?;
        std::fs::write(&path, text + "\n").with_context(|| format!("writing {}", path.display()))?;
    }
    Ok(())
}

/// Lets this process, and the controller that it starts, have as many
/// connections as the system allows.
fn allow_connections() -> Result<()> {
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE).context("the limit of open files")?;
    setrlimit(Resource::RLIMIT_NOFILE, most, most).context("raising the limit of open files")
}
