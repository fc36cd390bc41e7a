//! What everything that runs a mesh shares, and how a program gets into a pod.

use std::fs::{self, DirBuilder, File};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use anyhow::{Context as _, Result, ensure};
use arc_swap::ArcSwap;
use nix::mount::{MsFlags, mount};
use nix::unistd::{Uid, User};
use osm_core::interception::PROXY_UID;
use osm_k8s::manifest::Container;
use serde::{Deserialize, Serialize};

use super::board::Board;
use super::command;
use super::control::Control;
use super::environment::{self, Variables};
use super::events::EventLog;
use super::network::Network;
use super::plan::{Plan, PodPlan};
use super::process::Launch;
use super::requirements::Tools;
use super::state::StateFolder;
use super::user_namespace::UserNamespace;
use super::{hosts, netns};

/// Where a running mesh keeps what goes with it; in memory, seen by it alone.
const RUN: &str = "/run/osm";
/// The user that applications run as, or the next lower one without an account.
const APPLICATION_UID: u32 = 64999;

/// Enters a pod's own view of `/etc/hosts` and of its host name, which only the
/// machine's own root may write to the file.
const ENTER: &str = r#"set -e
hosts=$1 mount=$2 name=$3
shift 3
"$mount" --bind "$hosts" /etc/hosts
echo "$name" 2>/dev/null >/proc/sys/kernel/hostname || hostname "$name" 2>/dev/null || :
exec "$@""#;

/// What `osm local up` tells the process that runs the mesh.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settings {
    /// The name of the mesh on this machine.
    pub name: String,
    /// The folder of the state folders.
    pub state: PathBuf,
    /// The files and folders of manifests.
    pub manifests: Vec<PathBuf>,
    /// The name of the mesh, as namespaces are labelled with it.
    pub mesh_name: String,
    /// Envoy.
    pub envoy: PathBuf,
    /// Where the programs of containers are looked for.
    pub search_path: Vec<PathBuf>,
    /// The programs of the system.
    pub tools: Tools,
    /// The user that applications run as.
    pub application_uid: u32,
    /// What lets an ordinary user do all this.
    pub user_namespace: Option<UserNamespace>,
}

/// What everything that runs a mesh shares.
#[derive(Debug)]
pub struct Context {
    /// What the user asked for.
    pub settings: Settings,
    /// What outlives the mesh.
    pub state: StateFolder,
    /// The network.
    pub network: Network,
    /// What every pod is doing.
    pub board: Board,
    /// What happened.
    pub events: EventLog,
    /// The control plane.
    pub control: Control,
    /// What is to run.
    pub plan: ArcSwap<Plan>,
}

/// Covers the machine's `/run` with one of the mesh's own.
///
/// # Errors
/// When it can't: this process must be in a mount namespace of its own.
pub fn cover_run_folder() -> Result<()> {
    let nothing = None::<&str>;
    mount(
        Some("osm-local"),
        "/run",
        Some("tmpfs"),
        MsFlags::MS_NOSUID | MsFlags::MS_NODEV,
        Some("mode=0755"),
    )
    .context("covering /run")?;
    fs::create_dir("/run/netns").context("making /run/netns")?;
    mount(Some("/run/netns"), "/run/netns", nothing, MsFlags::MS_BIND, nothing)
        .context("binding /run/netns")?;
    mount(nothing, "/run/netns", nothing, MsFlags::MS_SHARED, nothing).context("sharing /run/netns")?;
    open_folder(Path::new(RUN), 0o711)
}

/// A user that is nobody's account.
#[must_use]
pub fn application_uid() -> u32 {
    let is_free = |uid: &u32| !matches!(User::from_uid(Uid::from_raw(*uid)), Ok(Some(_)));
    (PROXY_UID + 1..=APPLICATION_UID).rev().find(is_free).unwrap_or(APPLICATION_UID)
}

impl Context {
    /// The folder of a pod's files while it runs.
    #[must_use]
    pub fn folder(&self, pod: &PodPlan) -> PathBuf {
        Path::new(RUN).join("pods").join(pod.file_name())
    }

    /// Makes a pod's folder, with its hosts file and its folder for temporary files.
    ///
    /// # Errors
    /// When something can't be written.
    pub fn prepare_folder(&self, pod: &PodPlan) -> Result<()> {
        let folder = self.folder(pod);
        open_folder(&folder, 0o711)?;
        let temporary = folder.join("tmp");
        open_folder(&temporary, 0o700)?;
        let application = Some(self.settings.application_uid);
        chown(&temporary, application, application)?;
        self.write_hosts(pod)
    }

    /// Writes a pod's hosts file. It stays the same file: it is mounted in places.
    ///
    /// # Errors
    /// When it can't be written.
    pub fn write_hosts(&self, pod: &PodPlan) -> Result<()> {
        let path = self.folder(pod).join("hosts");
        let text = hosts::text(pod, &self.plan.load());
        if fs::read_to_string(&path).is_ok_and(|old| old == text) {
            return Ok(());
        }
        fs::write(&path, text).with_context(|| format!("writing {}", path.display()))
    }

    /// What stands before a program to run it in a pod as its application's user,
    /// in a folder, with this environment and no other.
    ///
    /// # Errors
    /// When a variable can't be one.
    pub fn enter(
        &self,
        pod: &PodPlan,
        working_dir: &str,
        environment: &Variables,
    ) -> Result<Vec<String>, String> {
        let mut words = self.enter_as(self.settings.application_uid, pod);
        words.push(self.settings.tools.env.display().to_string());
        words.extend(["--ignore-environment".to_owned(), format!("--chdir={working_dir}"), "--".to_owned()]);
        for (name, value) in environment {
            if name.is_empty() || name.contains(['=', '\0']) || value.contains('\0') {
                return Err(format!("`{}` is no name of an environment variable", name.escape_debug()));
            }
            words.push(format!("{name}={value}"));
        }
        Ok(words)
    }

    /// What stands before Envoy to run it in a pod as its own user.
    #[must_use]
    pub fn enter_as_proxy(&self, pod: &PodPlan) -> Vec<String> {
        self.enter_as(PROXY_UID, pod)
    }

    /// The words that lead from the node into a pod, as a user without any power.
    /// Until that user is taken on, programs of the system run as root: they see
    /// nothing of what a manifest says but names that were checked.
    fn enter_as(&self, uid: u32, pod: &PodPlan) -> Vec<String> {
        let Tools { nsenter, unshare, setpriv, mount, sh, .. } = &self.settings.tools;
        let text = |path: &Path| path.display().to_string();
        let net = format!("--net={}", netns::file(&pod.file_name()).display());
        let hosts = self.folder(pod).join("hosts");
        let mut words = vec![text(nsenter), net, "--".to_owned(), text(unshare)];
        // What the node unmounts, such as the namespace of a pod that went, goes here as well.
        words.extend(["--mount", "--uts", "--propagation=slave", "--"].map(str::to_owned));
        words.extend([text(sh), "-c".to_owned(), ENTER.to_owned(), "sh".to_owned()]);
        words.extend([text(&hosts), text(mount), pod.name.name.to_string(), text(setpriv)]);
        words.extend([format!("--reuid={uid}"), format!("--regid={uid}"), "--clear-groups".to_owned()]);
        words.extend(["--inh-caps=-all", "--bounding-set=-all", "--no-new-privs", "--"].map(str::to_owned));
        words
    }

    /// The environment of every container, before its own.
    #[must_use]
    pub fn base_environment(&self, pod: &PodPlan) -> Variables {
        let path = self.settings.search_path.iter().map(|folder| folder.display().to_string());
        let temporary = self.folder(pod).join("tmp").display().to_string();
        [
            ("PATH", path.collect::<Vec<_>>().join(":")),
            ("HOME", temporary.clone()),
            ("TMPDIR", temporary),
            ("HOSTNAME", pod.name.name.to_string()),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .into()
    }

    /// How a container's own program is started in its pod, and how many words
    /// stand before that program.
    ///
    /// # Errors
    /// When it can't be: the text says what to do.
    pub fn launch(&self, pod: &PodPlan, container: &Container) -> Result<(Launch, usize), String> {
        let environment = environment::variables(container, pod, &self.base_environment(pod))?;
        let words = container.command.iter().chain(&container.args);
        let words: Vec<String> = words.map(|word| environment::expand(word, &environment)).collect();
        let working_dir = container.working_dir.as_deref().unwrap_or("/");
        if container.command.is_empty() {
            return Err(
                "it has no `command`, and here is no image to take one from: write the command".to_owned()
            );
        }
        if !Path::new(working_dir).is_dir() {
            return Err(format!("its working directory `{working_dir}` is not on this machine"));
        }
        let program = self.program(&words[0], working_dir, container)?;
        let mut command = self.enter(pod, working_dir, &environment)?;
        let prefix = command.len();
        command.push(program.display().to_string());
        command.extend_from_slice(&words[1..]);
        let log = self.state.log(&pod.file_name(), &container.name);
        Ok((Launch { command, log }, prefix))
    }

    /// Finds a container's program in a form that its user can run.
    fn program(&self, name: &str, working_dir: &str, container: &Container) -> Result<PathBuf, String> {
        let own = container.env.iter().rfind(|variable| variable.name == "PATH");
        let own = own.and_then(|variable| variable.value.as_deref()).unwrap_or_default();
        let mut search_path: Vec<PathBuf> =
            std::env::split_paths(own).filter(|path| path.is_absolute()).collect();
        search_path.extend_from_slice(&self.settings.search_path);
        let program = command::find(name, Path::new(working_dir), &search_path)?;
        let program = executable(&program).map_err(|error| format!("{error:#}"))?;
        if program.as_os_str().as_encoded_bytes().contains(&b'=') {
            return Err(format!(
                "the path of `{}` has a `=`, which `env` takes for a variable",
                program.display()
            ));
        }
        Ok(program)
    }

    /// What stands before the arguments of a program that a user starts in a pod;
    /// its environment is that of the pod's first container, and these variables.
    ///
    /// # Errors
    /// When there is no such program.
    pub fn launch_by_hand(&self, pod: &PodPlan, program: &str, more: Variables) -> Result<Vec<String>> {
        let base = self.base_environment(pod);
        let container = pod.pod.spec.containers.first().context("the pod has no container")?;
        let mut environment = environment::variables(container, pod, &base).unwrap_or(base);
        environment.extend(more);
        let problem = |problem: String| anyhow::anyhow!(problem);
        let program = self.program(program, "/", container).map_err(problem)?;
        let mut prefix = self.enter(pod, "/", &environment).map_err(problem)?;
        prefix.push(program.display().to_string());
        Ok(prefix)
    }

    /// How a pod's Envoy is started.
    ///
    /// # Errors
    /// When no other user can be let run it.
    pub fn launch_proxy(&self, pod: &PodPlan, arguments: Vec<String>) -> Result<Launch> {
        let mut command = self.enter_as_proxy(pod);
        command.push(executable(&self.settings.envoy)?.display().to_string());
        command.extend(arguments);
        let log = self.state.log(&pod.file_name(), "envoy");
        Ok(Launch { command, log })
    }
}

/// A path by which every user can run a program: its own, or one where it is
/// mounted for the mesh alone, since folders above it are closed to others. A
/// program that is itself closed to others stays so.
fn executable(program: &Path) -> Result<PathBuf> {
    /// Two pods that start at once must not both make the same mount point.
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _one = ONE_AT_A_TIME.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    if command::is_for_everybody(program) {
        return Ok(program.to_owned());
    }
    let opening = || format!("letting other users run {}", program.display());
    let metadata = program.metadata().with_context(opening)?;
    let name = program.file_name().context("a program has a name")?;
    // A program that was built anew is another file.
    let version = format!("{}-{}-{}", metadata.dev(), metadata.ino(), metadata.mtime());
    let folder = Path::new(RUN).join("bin").join(version);
    let path = folder.join(name);
    if path.exists() {
        return Ok(path);
    }
    ensure!(
        metadata.permissions().mode() & 0o005 == 0o005,
        "{} may be read and run by its owner and group only, and applications run as nobody's user: \
         `chmod o+rx` it if everybody may see it",
        program.display()
    );
    open_folder(&folder, 0o711)?;
    // Never one that is there: behind it would be the program itself.
    File::options().write(true).create_new(true).open(&path).with_context(opening)?;
    mount(Some(program), &path, None::<&str>, MsFlags::MS_BIND, None::<&str>).with_context(opening)?;
    Ok(path)
}

fn open_folder(path: &Path, mode: u32) -> Result<()> {
    let made = DirBuilder::new().recursive(true).mode(mode).create(path);
    made.with_context(|| format!("making the folder {}", path.display()))
}
