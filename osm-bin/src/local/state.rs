//! The folder in which a mesh keeps what outlives it: addresses, root key, logs.

use std::fs::{self, DirBuilder, File, TryLockError};
use std::io::{ErrorKind, Read, Seek, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use nix::unistd::{User, geteuid};

use super::address_book::AddressBook;

/// Where the folders of root's meshes are.
const ROOT_BASE: &str = "/var/lib/osm/local";
/// The longest path that a Unix socket can have on Linux.
const MAX_SOCKET_PATH: usize = 107;

/// Where the folders of this user's meshes are, unless they say otherwise.
#[must_use]
pub fn base() -> PathBuf {
    let user = geteuid();
    let set = |name| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let home = || {
        let account = || User::from_uid(user).ok().flatten().map(|account| account.dir);
        set("HOME").or_else(account).map(|home| home.join(".local/state"))
    };
    match set("XDG_STATE_HOME").or_else(home) {
        Some(folder) if !user.is_root() => folder.join("osm/local"),
        _ => ROOT_BASE.into(),
    }
}

/// The folder of one mesh. Only its user, and root, can look into it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StateFolder {
    name: String,
    path: PathBuf,
}

/// Held by the one process that runs a mesh.
#[derive(Debug)]
pub struct Lock(#[expect(dead_code, reason = "it is held, not used")] File);

impl StateFolder {
    /// The folder of the mesh of this name. Nothing is looked at yet.
    ///
    /// # Errors
    /// When the name is none.
    pub fn new(base: &Path, name: &str) -> Result<Self> {
        let is_plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        ensure!(
            !name.is_empty() && name.len() <= 40 && name.bytes().all(is_plain) && !name.starts_with('-'),
            "--name {name:?}: use up to 40 lower case letters, digits and `-`"
        );
        let folder = Self { name: name.to_owned(), path: base.join(name) };
        ensure!(
            folder.socket().as_os_str().len() <= MAX_SOCKET_PATH,
            "the path of the control socket, {}, is too long: use a shorter --state folder",
            folder.socket().display()
        );
        Ok(folder)
    }

    /// The name of the mesh.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The folder.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The control socket.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        self.path.join("control.sock")
    }

    /// The folder of the mesh's root key.
    #[must_use]
    pub fn authority(&self) -> PathBuf {
        self.path.join("ca")
    }

    /// The folder of another root's key.
    #[must_use]
    pub fn root(&self, namespace: &str, secret: &str) -> PathBuf {
        self.path.join("roots").join(namespace).join(secret)
    }

    /// The file that says which roots are in use.
    #[must_use]
    pub fn roots_stage(&self) -> PathBuf {
        self.path.join("roots.json")
    }

    /// The log of the mesh itself, control plane included.
    #[must_use]
    pub fn mesh_log(&self) -> PathBuf {
        self.path.join("mesh.log")
    }

    /// The log of one process of a pod.
    #[must_use]
    pub fn log(&self, pod: &str, process: &str) -> PathBuf {
        self.path.join("logs").join(pod).join(format!("{process}.log"))
    }

    /// Makes the folder if there is none.
    ///
    /// # Errors
    /// When it can't be made.
    pub fn create(&self) -> Result<()> {
        make_folder(&self.path).context("meshes keep addresses, keys and logs; --state FOLDER says where")
    }

    /// Makes this process the one that runs the mesh.
    ///
    /// # Errors
    /// When another one does.
    pub fn lock(&self) -> Result<Lock> {
        let path = self.path.join("lock");
        let mut file = File::options().create(true).truncate(false).read(true).write(true).open(&path);
        let file = file.as_mut().map_err(|error| anyhow::anyhow!("opening {}: {error}", path.display()))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut holder = String::new();
                // Only for the message.
                file.read_to_string(&mut holder).ok();
                bail!(
                    "a mesh named {:?} runs already (process {}): stop it with `osm local down --name {}`, \
                     or start this one under another --name",
                    self.name,
                    holder.trim(),
                    self.name
                );
            }
            Err(TryLockError::Error(error)) => return Err(error).context("locking the state folder"),
        }
        file.set_len(0)
            .and_then(|()| file.rewind())
            .and_then(|()| writeln!(file, "{}", std::process::id()))?;
        Ok(Lock(file.try_clone().context("keeping the lock")?))
    }

    /// Forgets which roots were in use: no proxy of a mesh that is only now started holds a certificate yet, and the roots that the
    /// last one ended with may not be wanted any more. The keys of the roots stay.
    ///
    /// # Errors
    /// When the file can't be removed.
    pub fn forget_stage(&self) -> Result<()> {
        match fs::remove_file(self.roots_stage()) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(error).with_context(|| {
                format!("forgetting which roots were in use: {}", self.roots_stage().display())
            }),
            _ => Ok(()),
        }
    }

    /// The address book as it was left; an empty one where there is none.
    ///
    /// # Errors
    /// When it can't be read.
    pub fn load_addresses(&self) -> Result<AddressBook> {
        let path = self.addresses();
        match fs::read(&path) {
            Ok(bytes) => serde_json::from_slice(&bytes).with_context(|| {
                format!("{} is damaged: remove it, and all pods get new addresses", path.display())
            }),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(AddressBook::default()),
            Err(error) => Err(error).with_context(|| format!("reading {}", path.display())),
        }
    }

    /// Keeps the address book.
    ///
    /// # Errors
    /// When it can't be written; what was kept before is then still there.
    pub fn save_addresses(&self, book: &AddressBook) -> Result<()> {
        let path = self.addresses();
        let fresh = path.with_extension("new");
        let text = serde_json::to_vec_pretty(book).context("writing addresses")?;
        fs::write(&fresh, text)
            .and_then(|()| fs::rename(&fresh, &path))
            .with_context(|| format!("writing {}", path.display()))
    }

    fn addresses(&self) -> PathBuf {
        self.path.join("addresses.json")
    }

    /// The meshes of this machine that have a folder, by name.
    #[must_use]
    pub fn all(base: &Path) -> Vec<Self> {
        let entries = fs::read_dir(base).into_iter().flatten().flatten();
        let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
        let mut folders: Vec<_> = names.filter_map(|name| Self::new(base, &name).ok()).collect();
        folders.sort_by(|a, b| a.name.cmp(&b.name));
        folders
    }
}

/// Makes a folder that only its user, and root, can look into, with those above it.
///
/// # Errors
/// When it can't be made.
pub fn make_folder(path: &Path) -> Result<()> {
    let made = DirBuilder::new().recursive(true).mode(0o700).create(path);
    made.with_context(|| format!("making the folder {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_process_runs_a_mesh_and_the_next_is_told_which() {
        let base = tempfile::tempdir().expect("a folder");
        let folder = StateFolder::new(base.path(), "shop").expect("a folder");
        folder.create().expect("made");
        let lock = folder.lock().expect("the lock");
        let error = folder.lock().expect_err("it is held").to_string();
        assert!(error.contains(&format!("process {}", std::process::id())), "{error}");
        drop(lock);
        folder.lock().expect("it is free again");
    }

    #[test]
    fn addresses_are_kept_and_damage_is_named() {
        let base = tempfile::tempdir().expect("a folder");
        let folder = StateFolder::new(base.path(), "shop").expect("a folder");
        folder.create().expect("made");
        let mut book = folder.load_addresses().expect("an empty book");
        book.pod(&"shop/a".parse().expect("a name"));
        folder.save_addresses(&book).expect("written");
        assert_eq!(folder.load_addresses().expect("read"), book);
        fs::write(folder.addresses(), "{").expect("written");
        let error = folder.load_addresses().expect_err("damaged").to_string();
        assert!(error.contains("addresses.json is damaged"), "{error}");
    }

    #[test]
    fn a_name_can_not_leave_the_folder() {
        for name in ["", "..", "a/b", "A", "-a", "a b", &"x".repeat(41)] {
            assert!(StateFolder::new(Path::new("/x"), name).is_err(), "{name}");
        }
    }
}
