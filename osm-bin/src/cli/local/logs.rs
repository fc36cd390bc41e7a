//! `osm local logs`: what a process of a pod has written.

use std::fs::File;
use std::io::{Read, Write};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::Args;

use crate::local::api::{PodStatus, ProcessStatus};
use crate::local::choose;
use crate::local::client::Client;

/// How often it is looked whether there is more.
const LOOK: Duration = Duration::from_millis(100);

/// Whose output, and for how long.
#[derive(Debug, Clone, Args)]
pub struct LogsArgs {
    /// The pod: `namespace/name`, or `name` where only one is called so
    pub pod: String,
    /// The container, or `envoy`; needed where there is more than one
    #[arg(short, long, value_name = "NAME")]
    pub container: Option<String>,
    /// Go on as more is written
    #[arg(short, long)]
    pub follow: bool,
}

pub(super) async fn run(args: &LogsArgs, client: &Client) -> Result<ExitCode> {
    let status = client.status().await?;
    let name = choose(&args.pod, status.pods.iter().map(|pod| pod.pod.as_str()))?;
    let pod = status.pods.iter().find(|pod| pod.pod == name).context("there is no such pod any more")?;
    let process = process(pod, args.container.as_deref())?;
    let mut reader = Follower::open(&process.log);
    loop {
        if !reader.copy()? || !args.follow {
            return Ok(ExitCode::SUCCESS);
        }
        tokio::time::sleep(LOOK).await;
    }
}

fn process<'a>(pod: &'a PodStatus, wanted: Option<&str>) -> Result<&'a ProcessStatus> {
    let all = pod.containers.iter().chain(pod.proxy.iter().map(|proxy| &proxy.process));
    let names: Vec<&str> = all.clone().map(|process| process.name.as_str()).collect();
    let Some(wanted) = wanted else {
        return match pod.containers.as_slice() {
            [only] => Ok(only),
            _ => bail!("pod {} has several containers; say which with -c: {}", pod.pod, names.join(", ")),
        };
    };
    let found = all.into_iter().find(|process| process.name == wanted);
    found.with_context(|| format!("pod {} has no container {wanted:?}; it has {}", pod.pod, names.join(", ")))
}

/// Reads a log that may be set aside for a new one while it is read.
struct Follower<'a> {
    path: &'a Path,
    file: Option<File>,
}

impl<'a> Follower<'a> {
    fn open(path: &'a Path) -> Self {
        Self { path, file: File::open(path).ok() }
    }

    /// Prints what is new. Returns whether anybody still reads it.
    fn copy(&mut self) -> Result<bool> {
        loop {
            if let Some(file) = &mut self.file
                && !copy(file)?
            {
                return Ok(false);
            }
            if self.is_newest() {
                return Ok(true);
            }
            self.file = File::open(self.path).ok();
            if self.file.is_none() {
                return Ok(true);
            }
        }
    }

    fn is_newest(&self) -> bool {
        let open = self.file.as_ref().and_then(|file| file.metadata().ok());
        let there = self.path.metadata().ok();
        open.map(|metadata| metadata.ino()) == there.map(|metadata| metadata.ino())
    }
}

fn copy(file: &mut File) -> Result<bool> {
    let mut buffer = vec![0; 64 * 1024];
    let mut output = std::io::stdout().lock();
    loop {
        let count = file.read(&mut buffer).context("reading the log")?;
        if count == 0 {
            return Ok(output.flush().is_ok());
        }
        if let Err(error) = output.write_all(&buffer[..count]) {
            return if error.kind() == std::io::ErrorKind::BrokenPipe {
                Ok(false)
            } else {
                Err(error.into())
            };
        }
    }
}
