//! The cluster's programs as they run: started in order, missed when they end by
//! themselves, and away for as long as somebody wants that.
//!
//! Who wants a program away puts a file with its name into a folder ([`Layout::away`]),
//! which is told there that it has ended, and takes the file out again.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use nix::errno::Errno;
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};

use super::commands::Program;
use super::layout::{AWAY, ENDED, INSIDE_STATE};

/// How often is looked who ended, and who is to be away.
const LOOK: Duration = Duration::from_millis(50);

/// The programs that were started.
#[derive(Debug, Default)]
pub(super) struct Running {
    here: Vec<(Child, Program)>,
    away: Vec<Program>,
}

impl Running {
    /// Starts programs, one after the other.
    pub(super) fn start(&mut self, programs: Vec<Program>) -> Result<()> {
        for program in programs {
            self.here.push((start(&program)?, program));
        }
        Ok(())
    }

    /// Buries whoever has ended, and ends and starts whom somebody wants away or back.
    ///
    /// # Errors
    /// When a program has ended by itself.
    pub(super) fn look(&mut self) -> Result<()> {
        loop {
            let (process, how) = match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
                Ok(WaitStatus::Exited(process, code)) => (process, format!("status {code}")),
                Ok(WaitStatus::Signaled(process, signal, _)) => (process, signal.to_string()),
                Ok(WaitStatus::StillAlive) | Err(Errno::ECHILD) => break,
                Ok(_) | Err(Errno::EINTR) => continue,
                Err(error) => return Err(error).context("waiting for the cluster's programs"),
            };
            let is_it = |(child, _): &(Child, Program)| child.id() == process.as_raw().unsigned_abs();
            if let Some(index) = self.here.iter().position(is_it) {
                let (_, program) = self.here.remove(index);
                self.ended(program, &how)?;
            }
        }
        for (child, program) in &mut self.here {
            if wish(program).exists() {
                child.kill().with_context(|| format!("ending {}", program.name()))?;
            }
        }
        let (back, away) =
            std::mem::take(&mut self.away).into_iter().partition(|program| !wish(program).exists());
        self.away = away;
        self.start(back)
    }

    fn ended(&mut self, program: Program, how: &str) -> Result<()> {
        let wish = wish(&program);
        if !wish.exists() {
            bail!("{} ended with {how}", program.name());
        }
        std::fs::write(&wish, ENDED).with_context(|| format!("writing {}", wish.display()))?;
        self.away.push(program);
        Ok(())
    }

    /// Runs until a program ends by itself.
    ///
    /// # Errors
    /// Always, with which one and how.
    pub(super) fn watch(mut self) -> Result<()> {
        loop {
            self.look()?;
            std::thread::sleep(LOOK);
        }
    }
}

/// The file by which somebody wants a program away.
fn wish(program: &Program) -> PathBuf {
    Path::new(INSIDE_STATE).join(AWAY).join(program.name())
}

fn start(program: &Program) -> Result<Child> {
    let log = Path::new("/var/log").join(format!("{}.log", program.name()));
    let log = File::options().create(true).append(true).open(&log);
    let log = log.with_context(|| format!("writing the log of {}", program.name()))?;
    let errors = log.try_clone().context("writing a log")?;
    let child = Command::new(&program.path)
        .args(&program.arguments)
        .env_remove("KUBECONFIG")
        .env("HOME", "/run")
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(log)
        .stderr(errors)
        .spawn();
    child.with_context(|| format!("starting {}", program.path))
}
