//! An Envoy beside a server, in a network namespace of the test.

use std::path::Path;
use std::process::{Child, Command};

use nix::sched::{CloneFlags, unshare};
use tokio::runtime::Runtime;

/// The port at which a sidecar takes connections of others.
pub(crate) const INBOUND: u16 = 15003;

/// An Envoy; it ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Envoy(Child);

/// Runs a test in a network namespace that has nothing but loopback, and that
/// goes with its last process.
pub(crate) fn in_own_network<T: Future<Output = ()>>(test: impl FnOnce() -> T + Send + 'static) {
    // Threads and processes that this thread starts are in the namespace too.
    let thread = std::thread::spawn(|| {
        unshare(CloneFlags::CLONE_NEWNET).expect("root may make a network namespace");
        run("ip", &["link", "set", "lo", "up"]);
        Runtime::new().expect("a runtime").block_on(test());
    });
    if let Err(panic) = thread.join() {
        std::panic::resume_unwind(panic);
    }
}

/// Leads connections to an address and port through this port of a sidecar.
pub(crate) fn intercept(address: &str, port: u16, through: u16) {
    let (port, through) = (port.to_string(), through.to_string());
    let tool = if address.contains(':') { "ip6tables" } else { "iptables" };
    let rule = ["-t", "nat", "-A", "OUTPUT", "-p", "tcp", "-d", address, "--dport", &port];
    run(tool, &[&rule[..], &["-j", "REDIRECT", "--to-ports", &through]].concat());
}

impl Envoy {
    pub(crate) fn start(bootstrap: &Path) -> Self {
        let mut command = osm_e2e::envoy::command(bootstrap).expect("an Envoy");
        Self(command.spawn().expect("Envoy can be run"))
    }
}

impl Drop for Envoy {
    fn drop(&mut self) {
        // It may have ended by itself.
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

pub(crate) fn run(program: &str, arguments: &[&str]) {
    let output =
        Command::new(program).args(arguments).output().unwrap_or_else(|error| panic!("{program}: {error}"));
    assert!(output.status.success(), "{program} {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
}
