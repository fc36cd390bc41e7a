//! A client in a pod that makes a connection for each request, and so a handshake between the proxies.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::process::{Child, Stdio};
use std::sync::Arc;

use parking_lot::Mutex;

use crate::mesh::Mesh;

const PROGRAM: &str = r#"
ask() {
  exec 3<>/dev/tcp/store/14003 || return 1
  echo PING >&3
  IFS= read -r -t 10 said <&3 || return 2
  exec 3>&-
}
while :; do
  if ask 2>/dev/null; then echo ok; else echo "failed: $?"; sleep 0.1; fi
done
"#;

/// All requests on one connection, from its start on.
const ON_ONE: &str = r#"
exec 3<>/dev/tcp/store/14003
while echo PING >&3 && IFS= read -r -t 10 said <&3; do echo ok; sleep 0.05; done
echo "failed: closed"
sleep infinity
"#;

/// What comes of the requests of one client.
pub(super) struct Client {
    shell: Child,
    outcomes: Arc<Mutex<BTreeMap<String, u64>>>,
}

impl Client {
    pub(super) fn start(mesh: &Mesh<'_>, pod: &str) -> Self {
        Self::run(mesh, pod, PROGRAM)
    }

    /// One that keeps its connection.
    pub(super) fn start_on_one(mesh: &Mesh<'_>, pod: &str) -> Self {
        Self::run(mesh, pod, ON_ONE)
    }

    fn run(mesh: &Mesh<'_>, pod: &str, program: &str) -> Self {
        let mut command = mesh.command(&["exec", pod, "--", "bash", "-c", program]);
        let mut shell =
            command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().expect("the command runs");
        let output = BufReader::new(shell.stdout.take().expect("a pipe"));
        let outcomes = Arc::new(Mutex::new(BTreeMap::new()));
        let counted = Arc::clone(&outcomes);
        std::thread::spawn(move || {
            for line in output.lines().map_while(Result::ok) {
                *counted.lock().entry(line).or_default() += 1;
            }
        });
        Self { shell, outcomes }
    }

    pub(super) fn requests(&self) -> u64 {
        self.outcomes.lock().values().sum()
    }

    pub(super) fn failures(&self) -> BTreeMap<String, u64> {
        let outcomes = self.outcomes.lock();
        outcomes
            .iter()
            .filter(|(outcome, _)| *outcome != "ok")
            .map(|(what, count)| (what.clone(), *count))
            .collect()
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.shell.kill().ok();
        self.shell.wait().ok();
    }
}
