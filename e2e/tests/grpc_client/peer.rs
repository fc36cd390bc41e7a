//! The processes that speak gRPC: servers with a certificate, and callers with a bootstrap.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

/// How long something may take to come true.
const PATIENCE: Duration = Duration::from_secs(40);
/// Calls that are made to see who answers.
const CALLS: usize = 20;

/// The files by which a program proves who it is.
#[derive(Debug, Clone)]
pub(crate) struct Files {
    pub(crate) chain: PathBuf,
    pub(crate) key: PathBuf,
    pub(crate) roots: PathBuf,
}

/// Who answered how often, and which status came how often instead.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Answers {
    pub(crate) answers: BTreeMap<String, u64>,
    pub(crate) refusals: BTreeMap<String, u64>,
}

/// A server; it ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Server {
    _process: Process,
}

/// A client; it ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Caller {
    process: Process,
}

#[derive(Debug)]
struct Process {
    child: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
}

/// A port that is free on all these addresses.
pub(crate) fn free_port(addresses: &[&str]) -> u16 {
    let is_free = |port: u16| addresses.iter().all(|address| TcpListener::bind((*address, port)).is_ok());
    let mut tries = (0..100).map(|_| {
        let listener = TcpListener::bind((addresses[0], 0)).expect("a port");
        listener.local_addr().expect("its number").port()
    });
    tries.find(|port| is_free(*port)).expect("a port that is free everywhere")
}

impl Answers {
    pub(crate) fn of(answers: &[(&str, u64)]) -> Self {
        let answers = answers.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect();
        Self { answers, refusals: BTreeMap::new() }
    }

    fn read(line: &str) -> Self {
        let value: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{line:?}: {error}"));
        let counts = |name: &str| {
            let counts = value[name].as_object().expect("an object").iter();
            counts.map(|(name, count)| (name.clone(), count.as_u64().expect("a number"))).collect()
        };
        Self { answers: counts("answers"), refusals: counts("refusals") }
    }
}

impl Server {
    pub(crate) fn start(files: &Files, name: &str, address: &str, port: u16) -> Self {
        let mut command = python();
        command.args(["serve", "--name", name, "--address", &format!("{address}:{port}")]);
        command.arg("--chain").arg(&files.chain).arg("--key").arg(&files.key);
        command.arg("--roots").arg(&files.roots);
        Self { _process: Process::start(&mut command) }
    }

    /// One that speaks plaintext, as an application beside a sidecar does.
    pub(crate) fn plaintext(name: &str, address: &str, port: u16) -> Self {
        let mut command = python();
        command.args(["serve", "--name", name, "--address", &format!("{address}:{port}")]);
        Self { _process: Process::start(&mut command) }
    }
}

impl Caller {
    pub(crate) fn start(bootstrap: &Path) -> Self {
        Self { process: Process::start(python().arg("call").env("GRPC_XDS_BOOTSTRAP", bootstrap)) }
    }

    pub(crate) fn call(&mut self, target: &str, count: usize) -> Answers {
        let input = self.process.input.as_mut().expect("it is open until the end");
        writeln!(input, "{target} {count}").and_then(|()| input.flush()).expect("the caller listens");
        Answers::read(&self.process.line())
    }

    /// Calls again and again until what is seen fits.
    pub(crate) fn until(&mut self, target: &str, fits: impl Fn(&Answers) -> bool) -> Answers {
        let started = Instant::now();
        loop {
            let seen = self.call(target, CALLS);
            if fits(&seen) {
                return seen;
            }
            assert!(started.elapsed() < PATIENCE, "{target} still gives {seen:?} after {PATIENCE:?}");
        }
    }
}

impl Process {
    fn start(command: &mut Command) -> Self {
        let mut child =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("python3 can be run");
        let input = child.stdin.take();
        let output = BufReader::new(child.stdout.take().expect("it is piped"));
        let mut process = Self { child, input, output };
        assert_eq!(process.line(), "ready");
        process
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.output.read_line(&mut line).expect("text");
        line.trim_end().to_owned()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        drop(self.input.take());
        // It may have ended by itself.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn python() -> Command {
    let library = osm_e2e::grpc::find().expect("gRPC for Python");
    let mut command = Command::new("python3");
    command.env("PYTHONPATH", library).env("PYTHONDONTWRITEBYTECODE", "1");
    // It reports each handshake with a name that a certificate does not have as an error.
    command.env("GRPC_VERBOSITY", "NONE");
    command.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("grpc/peer.py"));
    command
}
