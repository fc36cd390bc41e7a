//! The user namespace of a mesh that an ordinary user runs: inside, that user is
//! root over what the mesh makes, and over nothing else.
//!
//! Applications and Envoys need users of their own, since rules tell their traffic
//! apart by user and neither may read the other's files. An ordinary user lends
//! two numbers of the range that `/etc/subuid` gives them ([`ranges`]); `newuidmap`
//! is the program of the system that may do that. Who may not have a namespace is
//! told which setting to change ([`refusal`]).

pub mod ranges;
pub mod refusal;

use std::convert::Infallible;
use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};
use nix::sched::{CloneFlags, unshare};
use nix::unistd::{User, getgid, getuid};
use osm_core::interception::PROXY_UID;
use serde::{Deserialize, Serialize};

use super::init;
use super::requirements::{Mappers, Tools};
use ranges::Lent;

/// The hidden command of `osm local` that goes into one ([`enter`]).
pub const ENTER: &str = "__in-user-namespace";

/// Lends users and groups to a process that waits for them, once it is told to.
const LEND: &str = r#"read -r go || exit
"$2" "$1" $4 && "$3" "$1" $5"#;

/// A user namespace that is to be made, and who is who in it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UserNamespace {
    mappers: Mappers,
    sh: PathBuf,
    /// The numbers inside, and what they are outside.
    users: Vec<(u32, u32)>,
    groups: Vec<(u32, u32)>,
}

impl UserNamespace {
    /// The one that a mesh of this user needs; none for root. That the machine
    /// allows it has been tried.
    ///
    /// # Errors
    /// When this user can't have one; the text says what to change.
    pub fn of_this_user(tools: &Tools, application: u32) -> Result<Option<Self>> {
        let Some(mappers) = &tools.mappers else {
            check_root(application)?;
            return Ok(None);
        };
        let user = User::from_uid(getuid()).context("looking for this user's name")?;
        let user = user.with_context(|| {
            format!("this user, number {}, has no account, and only accounts can be lent user numbers: run it as one, or as root", getuid())
        })?;
        let lent = Lent::of(&user.name, user.uid.as_raw())?;
        let map = |own: u32, [proxy, app]: [u32; 2]| vec![(0, own), (PROXY_UID, proxy), (application, app)];
        let this = Self {
            mappers: mappers.clone(),
            sh: tools.sh.clone(),
            users: map(getuid().as_raw(), lent.users),
            groups: map(getgid().as_raw(), lent.groups),
        };
        this.try_out(tools)?;
        Ok(Some(this))
    }

    /// The words that run a command in such a namespace, as root of it.
    ///
    /// # Errors
    /// When this program can't be found.
    pub fn words(&self) -> Result<Vec<String>> {
        let own = std::env::current_exe().context("finding this program")?;
        let text = serde_json::to_string(self).context("writing who is who")?;
        Ok(vec![own.display().to_string(), "local".to_owned(), ENTER.to_owned(), text, "--".to_owned()])
    }

    /// Makes all the namespaces of a mesh, for a moment.
    fn try_out(&self, tools: &Tools) -> Result<()> {
        let mut words = self.words()?;
        words.extend(init::namespaces(tools));
        words.extend([tools.sh.display().to_string(), "-c".to_owned(), ":".to_owned()]);
        let output = Command::new(&words[0])
            .args(&words[1..])
            .stdin(Stdio::null())
            .output()
            .context("trying whether namespaces can be made")?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            bail!("{}", refusal::text(&refusal::Kernel::this(), said.trim()));
        }
        Ok(())
    }
}

/// Goes into a user namespace, and becomes a command there. To be called while
/// this process has one thread.
///
/// # Errors
/// When the kernel refuses, or the command can't be started. It does not return otherwise.
pub fn enter(namespace: &str, command: &[String]) -> Result<Infallible> {
    let UserNamespace { mappers, sh, users, groups } =
        serde_json::from_str(namespace).context("reading who is who")?;
    let (program, arguments) = command.split_first().context("no program is named")?;
    // It stays outside, where the numbers are that are lent.
    let mut lender = Command::new(sh)
        .args(["-c", LEND, "sh"])
        .arg(std::process::id().to_string())
        .args([&mappers.newuidmap, &mappers.newgidmap])
        .args([numbers(&users), numbers(&groups)])
        .stdin(Stdio::piped())
        .spawn()
        .context("starting who lends user numbers")?;
    unshare(CloneFlags::CLONE_NEWUSER).context("making a user namespace")?;
    let mut go = lender.stdin.take().context("the lender listens")?;
    go.write_all(b"\n").context("telling the lender")?;
    let status = lender.wait().context("waiting for user numbers")?;
    ensure!(status.success(), "user numbers are not lent: {status}");
    Err(Command::new(program).args(arguments).exec()).with_context(|| format!("starting {program}"))
}

/// As `newuidmap` takes them: inside, outside, how many.
fn numbers(pairs: &[(u32, u32)]) -> String {
    let words = pairs.iter().map(|(inside, outside)| format!("{inside} {outside} 1"));
    words.collect::<Vec<_>>().join(" ")
}

/// Whether a process is in another user namespace than this one.
///
/// # Errors
/// When it is gone, or it is not for this user to know.
pub fn is_another(process: u32) -> Result<bool> {
    let of = |process: &str| {
        let path = Path::new("/proc").join(process).join("ns/user");
        std::fs::read_link(&path).with_context(|| format!("reading {}", path.display()))
    };
    Ok(of(&process.to_string())? != of("self")?)
}

/// Root of a user namespace may be root over itself only.
fn check_root(application: u32) -> Result<()> {
    let map = std::fs::read_to_string("/proc/self/uid_map").context("reading /proc/self/uid_map")?;
    ensure!(
        has_users(&map, &[PROXY_UID, application]),
        "this is root of a user namespace that has no users {PROXY_UID} and {application}, as which Envoys and \
         applications run: run `osm local` outside of it, as an ordinary user"
    );
    Ok(())
}

fn has_users(map: &str, users: &[u32]) -> bool {
    let ranges: Vec<_> = map
        .lines()
        .filter_map(|line| {
            let mut numbers = line.split_whitespace().map(str::parse::<u32>);
            let (first, _, count) = (numbers.next()?.ok()?, numbers.next()?, numbers.next()?.ok()?);
            Some(first..first.saturating_add(count))
        })
        .collect();
    users.iter().all(|user| ranges.iter().any(|range| range.contains(user)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn root_of_a_namespace_without_other_users_is_told_apart() {
        let machine = "         0          0 4294967295\n";
        let container = "         0       1000          1\n         1     100000      65536\n";
        assert!(has_users(machine, &[1500, 64999]) && has_users(container, &[1500, 64999]));
        assert!(!has_users("0 1000 1\n", &[1500, 64999]) && !has_users("0 1000 2000", &[1500, 64999]));
    }

    #[test]
    fn each_user_is_lent_one_number() {
        assert_eq!(numbers(&[(0, 1000), (1500, 165_534)]), "0 1000 1 1500 165534 1");
    }
}
