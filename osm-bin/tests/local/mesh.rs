//! A mesh for a test: started, looked at, and gone with the test.

use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use osm_bin::local::api::{FetchRequest, Happening};
use osm_bin::local::client::Client;

use crate::user::OrdinaryUser;
use crate::within::within;
use crate::{LIMIT, PAUSE};

pub(crate) const PROGRAM: &str = env!("CARGO_BIN_EXE_osm");

/// A folder with manifests, and one for the state of a mesh.
pub(crate) struct TestFolder<'a> {
    folder: tempfile::TempDir,
    /// Whose mesh it is, if not root's.
    user: Option<&'a OrdinaryUser>,
}

impl<'a> TestFolder<'a> {
    pub(crate) fn new(files: &[(&str, &str)]) -> Self {
        let open = std::fs::Permissions::from_mode(0o755);
        let folder = tempfile::Builder::new().permissions(open).tempdir().expect("a folder");
        std::fs::create_dir(folder.path().join("manifests")).expect("a folder");
        let this = Self { folder, user: None };
        files.iter().for_each(|(name, text)| this.write(name, text));
        this
    }

    /// One for a mesh that an ordinary user runs, with its state where theirs is.
    pub(crate) fn of(user: &'a OrdinaryUser, files: &[(&str, &str)]) -> Self {
        Self { user: Some(user), ..Self::new(files) }
    }

    pub(crate) fn write(&self, name: &str, text: &str) {
        std::fs::write(self.manifests().join(name), text).expect("written");
    }

    pub(crate) fn remove(&self, name: &str) {
        std::fs::remove_file(self.manifests().join(name)).expect("removed");
    }

    pub(crate) fn manifests(&self) -> PathBuf {
        self.folder.path().join("manifests")
    }

    pub(crate) fn state(&self) -> PathBuf {
        match self.user {
            Some(user) => user.home.join(".local/state/osm/local"),
            None => self.folder.path().join("state"),
        }
    }

    /// `osm local`, for this folder's mesh.
    fn osm(&self) -> Command {
        if let Some(user) = self.user {
            return user.osm();
        }
        let mut command = Command::new(PROGRAM);
        command.args(["local", "--state"]).arg(self.state());
        command
    }
}

/// A mesh, and the command that runs it.
pub(crate) struct Mesh<'a> {
    folder: &'a TestFolder<'a>,
    pub(crate) client: Client,
    command: Option<Child>,
    seen: AtomicU64,
}

impl<'a> Mesh<'a> {
    /// A mesh that does not run.
    pub(crate) fn prepare(folder: &'a TestFolder<'a>) -> Self {
        let client = Client::new(folder.state().join("osm/control.sock"));
        Self { folder, client, command: None, seen: AtomicU64::new(0) }
    }

    /// A mesh that is up.
    pub(crate) async fn up(folder: &'a TestFolder<'a>) -> Self {
        Self::up_saying(folder, "info").await
    }

    /// One that says so much in its log.
    pub(crate) async fn up_saying(folder: &'a TestFolder<'a>, log: &str) -> Self {
        let mut mesh = Self::prepare(folder);
        let applications = Path::new(PROGRAM).parent().expect("a folder").join("bookstore-app");
        assert!(
            applications.is_file(),
            "{} is missing: run `cargo build --workspace`",
            applications.display()
        );
        let mut command = mesh.command(&["up", "-f"]);
        command.env("OSM_LOG", log);
        command.arg(folder.manifests()).stdout(Stdio::null()).stdin(Stdio::null());
        mesh.command = Some(command.spawn().expect("the command starts"));
        let up = async || mesh.client.is_up().await;
        mesh.until("the mesh answers", up).await;
        mesh.event(|what| matches!(what, Happening::Up { .. }).then_some(())).await;
        mesh.seen.store(0, Ordering::Relaxed);
        mesh
    }

    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = self.folder.osm();
        command.args(arguments);
        command
    }

    /// Runs a command of `osm local` to its end.
    pub(crate) fn osm(&self, arguments: &[&str]) -> Output {
        self.command(arguments).stdin(Stdio::null()).output().expect("the command runs")
    }

    /// Ends the mesh, and checks that it ends well.
    pub(crate) async fn down(mut self) {
        let down = self.osm(&["down"]);
        assert!(down.status.success(), "{down:?}");
        let status = self.command.take().map(|mut command| command.wait().expect("it ended"));
        assert!(status.is_some_and(|status| status.success()), "{status:?}");
    }

    /// Ends the command as nothing else can.
    pub(crate) fn kill(&mut self) {
        if let Some(mut command) = self.command.take() {
            command.kill().expect("killed");
            command.wait().expect("gone");
        }
    }

    /// Ends the mesh as Ctrl-C does, and checks that it ends well.
    pub(crate) fn interrupt(mut self) {
        let mut command = self.command.take().expect("it runs");
        let process = nix::unistd::Pid::from_raw(command.id().try_into().expect("a process number"));
        nix::sys::signal::kill(process, nix::sys::signal::Signal::SIGINT).expect("it lives");
        let status = command.wait().expect("it ended");
        assert!(status.success(), "{status:?}");
    }

    /// Waits until something is so.
    pub(crate) async fn until(&self, what: &str, is_so: impl AsyncFn() -> bool) {
        let log = || std::fmt::from_fn(|f| write!(f, "\n{}", self.said()));
        within(LIMIT, PAUSE, what, async || if is_so().await { Ok(()) } else { Err(log()) }).await;
    }

    /// Waits for an event of a kind, the next one that was not given yet.
    pub(crate) async fn event<T>(&self, mut wanted: impl FnMut(&Happening) -> Option<T>) -> T {
        let deadline = Instant::now() + LIMIT;
        loop {
            let after = self.seen.load(Ordering::Relaxed);
            let events = self.client.events(after, Duration::from_secs(1)).await.expect("events");
            for event in &events.events {
                self.seen.store(event.number, Ordering::Relaxed);
                if let Some(found) = wanted(&event.what) {
                    return found;
                }
            }
            assert!(Instant::now() < deadline, "no such event within {LIMIT:?}\n{}", self.said());
        }
    }

    /// A counter of an application.
    pub(crate) async fn counter(&self, pod: &str, name: &str) -> u64 {
        let request = FetchRequest {
            pod: pod.to_owned(),
            port: 14001,
            path: "/raw".to_owned(),
            ..FetchRequest::default()
        };
        let answer = self.client.fetch(&request).await.expect("counters");
        let counters: serde_json::Value = serde_json::from_str(&answer.body).expect("JSON");
        counters[name].as_u64().expect("a counter")
    }

    /// The process of a container or Envoy, as the mesh numbers it.
    pub(crate) async fn pid(&self, pod: &str, process: &str) -> u32 {
        let status = self.client.status().await.expect("a status");
        let pod = status.pods.into_iter().find(|one| one.pod == pod).expect("a pod");
        let proxy = pod.proxy.map(|proxy| proxy.process);
        let found = pod.containers.into_iter().chain(proxy).find(|one| one.name == process);
        found.and_then(|process| process.pid).expect("a process that runs")
    }

    /// Kills a process that the mesh numbers so.
    pub(crate) async fn kill_inside(&self, pid: u32) {
        self.signal_inside(pid, "KILL").await;
    }

    /// Sends a signal to a process that the mesh numbers so.
    pub(crate) async fn signal_inside(&self, pid: u32, signal: &str) {
        let mesh = self.client.process().await.expect("a process").to_string();
        let kill = format!("kill -{signal} {pid}");
        let sent = Command::new("nsenter")
            .args(["--target", &mesh, "--pid", "--mount", "--", "sh", "-c", &kill])
            .status();
        assert!(sent.expect("nsenter runs").success());
    }

    /// All processes of the mesh, as this process numbers them.
    pub(crate) fn processes(&self) -> BTreeSet<u32> {
        let command = self.command.as_ref().expect("it runs").id();
        let mut found = BTreeSet::new();
        let mut look_at = vec![command];
        while let Some(process) = look_at.pop() {
            let children = std::fs::read_to_string(format!("/proc/{process}/task/{process}/children"));
            let children: Vec<u32> = match children {
                Ok(text) => text.split_whitespace().filter_map(|id| id.parse().ok()).collect(),
                Err(_) => Vec::new(),
            };
            // Threads have children as well.
            let threads = std::fs::read_dir(format!("/proc/{process}/task")).into_iter().flatten().flatten();
            let of_threads = threads.flat_map(|thread| {
                let text = std::fs::read_to_string(thread.path().join("children")).unwrap_or_default();
                text.split_whitespace().filter_map(|id| id.parse().ok()).collect::<Vec<u32>>()
            });
            look_at.extend(children.into_iter().chain(of_threads).filter(|id| found.insert(*id)));
        }
        found
    }

    /// What the mesh has logged.
    pub(crate) fn said(&self) -> String {
        std::fs::read_to_string(self.folder.state().join("osm/mesh.log")).unwrap_or_default()
    }
}

impl Drop for Mesh<'_> {
    fn drop(&mut self) {
        if let Some(mut command) = self.command.take() {
            command.kill().ok();
            command.wait().ok();
        }
    }
}

/// Whether a process lives.
pub(crate) fn lives(process: u32) -> bool {
    Path::new(&format!("/proc/{process}")).exists()
}

/// What a mesh has made on this machine outside of its own namespaces: mounts,
/// interfaces, namespaces and rules with names that meshes give.
pub(crate) fn traces() -> Vec<String> {
    let run = |program: &str, arguments: &[&str]| {
        let output = Command::new(program).args(arguments).output().expect("the tool runs");
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    let mounts = std::fs::read_to_string("/proc/self/mounts").expect("mounts");
    let all =
        [mounts, run("ip", &["-brief", "link"]), run("ip", &["netns", "list"]), run("iptables-save", &[])];
    let marks = ["osm-local", "/run/osm", "osm0", "pod0-", "shop_", "OSM_"];
    let lines = all.iter().flat_map(|text| text.lines());
    lines.filter(|line| marks.iter().any(|mark| line.contains(mark))).map(str::to_owned).collect()
}
