//! One process: how it is started, where its output goes, how it is stopped.

mod log;

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context, Result};
use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;
use tokio::net::unix::pipe;
use tokio::process::{Child, Command};

pub use log::LogFile;

/// What is to be started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Launch {
    /// The program and its arguments. It starts as root, with an empty environment:
    /// what leads into a pod gives the program there its user and its variables.
    pub command: Vec<String>,
    /// The file that its output goes to.
    pub log: PathBuf,
}

/// A process that was started, the leader of a process group of its own.
#[derive(Debug)]
pub struct Running {
    child: Child,
    id: u32,
}

impl Launch {
    /// Starts it.
    ///
    /// # Errors
    /// When the log can't be written or the program not started.
    pub fn start(&self) -> Result<Running> {
        let log = LogFile::open(&self.log)?;
        let (program, arguments) = self.command.split_first().context("the command is empty")?;
        let (output, input) = io::pipe().context("making a pipe for the output")?;
        let both = input.try_clone().context("making a pipe for the output")?;
        let child = Command::new(program)
            .args(arguments)
            .env_clear()
            .current_dir("/")
            .stdin(Stdio::null())
            .stdout(input)
            .stderr(both)
            .process_group(0)
            .spawn()
            .with_context(|| format!("starting {program}"))?;
        let output = pipe::Receiver::from_owned_fd(OwnedFd::from(output)).context("reading the output")?;
        tokio::spawn(log.take_all(output));
        let id = child.id().context("a process that was just started has a number")?;
        Ok(Running { child, id })
    }
}

impl Running {
    /// Its number.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.id
    }

    /// Waits until it ends, and ends what it left behind. Cancel safe.
    pub async fn ended(&mut self) -> String {
        let how = match self.child.wait().await {
            Ok(status) => describe(status),
            Err(error) => format!("lost: {error}"),
        };
        self.end_group();
        how
    }

    /// Asks it to end, and after a while makes it. Returns how it ended.
    pub async fn stop(&mut self, grace: Duration) -> String {
        self.signal(Signal::SIGTERM);
        match tokio::time::timeout(grace, self.ended()).await {
            Ok(how) => how,
            Err(_) => {
                self.end_group();
                self.ended().await
            }
        }
    }

    /// Ends it at once.
    pub async fn kill(&mut self) -> String {
        self.end_group();
        self.ended().await
    }

    fn signal(&self, signal: Signal) {
        if let (Some(_), Ok(id)) = (self.child.id(), i32::try_from(self.id)) {
            // It may have ended meanwhile.
            kill(Pid::from_raw(id), signal).ok();
        }
    }

    fn end_group(&self) {
        if let Ok(id) = i32::try_from(self.id) {
            // The group keeps its number while any member is left; without one there is nothing to do.
            killpg(Pid::from_raw(id), Signal::SIGKILL).ok();
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if self.child.id().is_some() {
            self.end_group();
        }
    }
}

fn describe(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit status {code}"),
        (None, Some(number)) => {
            Signal::try_from(number).map_or_else(|_| format!("signal {number}"), |signal| signal.to_string())
        }
        (None, None) => "an unknown end".to_owned(),
    }
}

/// How long to wait before a process that keeps ending is started again.
#[derive(Debug, Clone, Default)]
pub struct Backoff {
    ends: u32,
}

impl Backoff {
    /// The longest wait.
    pub const LONGEST: Duration = Duration::from_secs(60);
    /// A process that ran for so long has a clean record again.
    pub const FORGIVEN_AFTER: Duration = Duration::from_secs(30);

    /// The wait after a process ended that had run for so long: 1 s, then twice as
    /// long each time.
    pub fn after(&mut self, ran: Duration) -> Duration {
        if ran >= Self::FORGIVEN_AFTER {
            self.ends = 0;
        }
        let wait = Duration::from_secs(1 << self.ends.min(6)).min(Self::LONGEST);
        self.ends += 1;
        wait
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str, folder: &std::path::Path) -> Launch {
        Launch {
            command: vec!["/bin/sh".to_owned(), "-c".to_owned(), script.to_owned()],
            log: folder.join("logs/p.log"),
        }
    }

    async fn until(what: &str, mut is_so: impl FnMut() -> bool) {
        let deadline = tokio::time::Instant::now() + Duration::from_secs(10);
        while !is_so() {
            assert!(tokio::time::Instant::now() < deadline, "{what}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    #[test]
    fn waits_double_up_to_a_minute_and_begin_anew_after_a_good_run() {
        let mut backoff = Backoff::default();
        let waits: Vec<u64> = (0..8).map(|_| backoff.after(Duration::ZERO).as_secs()).collect();
        assert_eq!(waits, [1, 2, 4, 8, 16, 32, 60, 60]);
        assert_eq!(backoff.after(Backoff::FORGIVEN_AFTER).as_secs(), 1);
    }

    #[tokio::test]
    async fn a_process_starts_without_any_environment_and_its_output_is_kept() {
        let folder = tempfile::tempdir().expect("a folder");
        let launch =
            shell("/usr/bin/env | grep -v -e ^PWD= -e ^_= -e ^SHLVL=; echo oops >&2; exit 3", folder.path());
        let mut running = launch.start().expect("started");
        assert_eq!(running.ended().await, "exit status 3");
        let read = || std::fs::read_to_string(&launch.log).unwrap_or_default();
        until("the output is there", || read() == "oops\n").await;
    }

    #[tokio::test]
    async fn a_process_that_does_not_want_to_end_is_ended_with_all_its_children() {
        let folder = tempfile::tempdir().expect("a folder");
        let launch = shell("trap '' TERM; sleep 1000 & echo $!; wait; wait", folder.path());
        let mut running = launch.start().expect("started");
        let read = || std::fs::read_to_string(&launch.log).unwrap_or_default();
        until("the child is there", || read().ends_with('\n')).await;
        let child: i32 = read().trim().parse().expect("a process number");
        assert_eq!(running.stop(Duration::from_millis(20)).await, "SIGKILL");
        let gone = || {
            let state = std::fs::read_to_string(format!("/proc/{child}/stat")).unwrap_or_default();
            state.is_empty() || state.contains(") Z ")
        };
        until("the child is gone", gone).await;
    }
}
