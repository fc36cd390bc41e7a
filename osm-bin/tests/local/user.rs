//! An ordinary user for a test: an account of this machine that goes with the test.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, User};
use osm_bin::local::requirements::{ENVOY_VERSION, find_envoy, search_path};
use osm_bin::local::user_namespace::ranges::Lent;

use crate::mesh::PROGRAM;

/// The account, whose home is closed to others and has `osm` and Envoy in it.
pub(crate) struct OrdinaryUser {
    pub(crate) name: String,
    pub(crate) uid: u32,
    pub(crate) home: PathBuf,
    _folder: tempfile::TempDir,
}

impl OrdinaryUser {
    /// One as others are.
    pub(crate) fn create() -> Self {
        Self::with(&[])
    }

    /// One who may not lend any numbers.
    pub(crate) fn without_numbers() -> Self {
        Self::with(&["--system"])
    }

    fn with(options: &[&str]) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("osm-t{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let open = fs::Permissions::from_mode(0o755);
        let folder = tempfile::Builder::new().permissions(open).tempdir().expect("a folder");
        let home = folder.path().join("home");
        let mut useradd = Command::new("useradd");
        useradd.args(options).args(["--create-home", "--shell", "/bin/sh", "--home-dir"]).arg(&home);
        assert!(useradd.arg(&name).status().expect("useradd runs").success());
        let mut user = Self { name, uid: 0, home, _folder: folder };
        let account = User::from_name(&user.name).expect("accounts can be read").expect("it was made");
        user.uid = account.uid.as_raw();
        user.install();
        user
    }

    fn install(&self) {
        let envoy = find_envoy(None, &search_path()).expect("an Envoy");
        let programs = Path::new(PROGRAM).parent().expect("a folder");
        let cache = [".cache/osm/envoy-", ENVOY_VERSION, "/envoy"].concat();
        for (from, to) in [
            (Path::new(PROGRAM), "bin/osm"),
            (&programs.join("bookstore-app"), "bin/bookstore-app"),
            (&envoy, &cache),
        ] {
            let to = self.home.join(to);
            fs::create_dir_all(to.parent().expect("a folder")).expect("a folder");
            fs::copy(from, to).unwrap_or_else(|error| panic!("copying {}: {error}", from.display()));
        }
        let owner = format!("{}:", self.name);
        let owned = Command::new("chown").args(["--recursive", &owner]).arg(&self.home).status();
        assert!(owned.expect("chown runs").success());
        fs::set_permissions(&self.home, fs::Permissions::from_mode(0o700)).expect("closed");
    }

    /// What runs a program as this user would after a login.
    pub(crate) fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new("setpriv");
        let id = format!("--reuid={}", self.name);
        command.args([&id, &format!("--regid={}", self.name), "--init-groups", "--reset-env", "--"]);
        command.arg(program).current_dir(&self.home);
        command
    }

    /// What runs `osm local` as this user.
    pub(crate) fn osm(&self) -> Command {
        let mut command = self.command(self.home.join("bin/osm"));
        command.arg("local");
        command
    }

    /// Every process of this user, and of those whose numbers they lend.
    pub(crate) fn processes(&self) -> Vec<u32> {
        let lent = Lent::of(&self.name, self.uid).map(|lent| lent.users.to_vec()).unwrap_or_default();
        let is_own = |process: &u32| uid(*process).is_some_and(|uid| uid == self.uid || lent.contains(&uid));
        let entries = fs::read_dir("/proc").expect("processes").flatten();
        let ids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
        ids.filter(is_own).collect()
    }

    /// What lies in the home but is not this user's.
    pub(crate) fn foreign_files(&self) -> String {
        let mut find = Command::new("find");
        let found = find.arg(&self.home).args(["-not", "-user", &self.name]).output().expect("find runs");
        String::from_utf8_lossy(&found.stdout).into_owned()
    }
}

/// Whose a process is; nobody's when it has ended, even if its parent has not noticed yet.
pub(crate) fn uid(process: u32) -> Option<u32> {
    let status = fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let field =
        |name: &str| status.lines().find_map(|line| line.strip_prefix(name)?.split_whitespace().next());
    if field("State:") == Some("Z") { None } else { field("Uid:")?.parse().ok() }
}

impl Drop for OrdinaryUser {
    fn drop(&mut self) {
        // Only after a test that failed is there any left.
        for process in self.processes() {
            kill(Pid::from_raw(process.try_into().expect("a process number")), Signal::SIGKILL).ok();
        }
        let removed = Command::new("userdel").args(["--force", &self.name]).output();
        if !removed.as_ref().is_ok_and(|output| output.status.success()) {
            eprintln!("the user {} is left: {removed:?}", self.name);
        }
    }
}
