//! The root in a folder: two files that are there together or not at all.
//!
//! Both are complete on disk under other names before the key gets its name, and
//! the certificate last; so who sees both sees a whole pair, a disk that is full leaves
//! neither, and a crash in between leaves a key alone, which is refused and never
//! overwritten.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use zeroize::Zeroizing;

use super::authority::Authority;
use super::{CaError, NewRoot};

/// The file with the root certificate, in PEM.
pub const CERTIFICATE_FILE: &str = "ca.crt";
/// The file with the root's private key, in PEM (PKCS#8).
pub const KEY_FILE: &str = "ca.key";
/// The file with the root above `ca.crt`, where that is not the root itself.
pub const ROOT_FILE: &str = "root.crt";
/// The file that is locked while a root is made.
const LOCK_FILE: &str = "ca.lock";
/// The most that either file may hold, in bytes: a hundred times what is needed.
const MAX_BYTES: u64 = 256 * 1024;

/// Loads the pair, or makes it if neither file is there.
pub(super) fn create_or_load(folder: &Path, new: &NewRoot, now: SystemTime) -> Result<Authority, CaError> {
    // Without the lock first: the folder may be one that is only read.
    if let Found::Both { certificate, key } = look(folder)? {
        return read(folder, &certificate, &key, now);
    }
    make_folder(folder)?;
    let _lock = lock(folder)?;
    match look(folder)? {
        Found::Both { certificate, key } => read(folder, &certificate, &key, now),
        // Its key is elsewhere. Another root would be what nobody asked for.
        Found::Neither if contents(folder, ROOT_FILE)?.is_some() => Err(refused(
            folder,
            format!(
                "{ROOT_FILE} is there but {CERTIFICATE_FILE} and {KEY_FILE} are missing; put there the certificate that \
                 it has signed and its key, or move {ROOT_FILE} away to have a new root made"
            ),
        )),
        Found::Neither => create(folder, new, now),
        Found::Only(there, missing) => Err(refused(
            folder,
            format!(
                "{there} is there but {missing} is missing; restore {missing} from a copy, or move {there} \
                 away to have a new root made"
            ),
        )),
    }
}

/// What a folder has of the pair.
enum Found {
    Both { certificate: Zeroizing<String>, key: Zeroizing<String> },
    Only(&'static str, &'static str),
    Neither,
}

fn look(folder: &Path) -> Result<Found, CaError> {
    // In the opposite order of writing, so that a pair that is just being
    // completed can't look like a certificate without a key.
    let certificate = contents(folder, CERTIFICATE_FILE)?;
    let key = contents(folder, KEY_FILE)?;
    Ok(match (certificate, key) {
        (Some(certificate), Some(key)) => Found::Both { certificate, key },
        (Some(_), None) => Found::Only(CERTIFICATE_FILE, KEY_FILE),
        (None, Some(_)) => Found::Only(KEY_FILE, CERTIFICATE_FILE),
        (None, None) => Found::Neither,
    })
}

fn contents(folder: &Path, name: &str) -> Result<Option<Zeroizing<String>>, CaError> {
    let path = folder.join(name);
    // Opening a pipe would wait for its writer.
    match std::fs::metadata(&path) {
        Ok(metadata) if !metadata.is_file() => {
            return Err(refused(folder, format!("{name} is no regular file; move it away")));
        }
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Ok(_) | Err(_) => {}
    }
    let mut file = match File::open(&path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(storage("open", &path)(error)),
    };
    let metadata = file.metadata().map_err(storage("look at", &path))?;
    if metadata.len() > MAX_BYTES {
        let reason = format!(
            "{name} has more than {MAX_BYTES} bytes, and so is no PEM file of an authority; restore it from a copy"
        );
        return Err(refused(folder, reason));
    }
    let mode = metadata.permissions().mode();
    if name == KEY_FILE && mode & 0o077 != 0 {
        return Err(refused(
            folder,
            format!(
                "others may read {KEY_FILE} (mode {:04o}); if nobody has, run `chmod 600` on it, else move both \
                 files away to have a new root made",
                mode & 0o7777
            ),
        ));
    }
    // Growing would leave pieces of the key behind.
    let length = usize::try_from(metadata.len()).unwrap_or_default();
    let mut text = Zeroizing::new(String::with_capacity(length + 1));
    file.read_to_string(&mut text).map_err(storage("read", &path))?;
    Ok(Some(text))
}

fn read(folder: &Path, certificate: &str, key: &str, now: SystemTime) -> Result<Authority, CaError> {
    let authority = match contents(folder, ROOT_FILE)? {
        None => Authority::read(certificate, key, now),
        Some(roots) => Authority::read_under(certificate, key, &roots, now),
    };
    let authority = authority.map_err(|reason| refused(folder, reason))?;
    let is_root = authority.above().is_empty();
    tracing::info!(folder = %folder.display(), is_root, "the certificate authority was loaded");
    Ok(authority)
}

fn create(folder: &Path, new: &NewRoot, now: SystemTime) -> Result<Authority, CaError> {
    let root = Authority::new(new, now)?;
    let key = Partial::write(folder, KEY_FILE, 0o600, root.key()?.pem())?;
    let certificate = Partial::write(folder, CERTIFICATE_FILE, 0o644, root.bundle().pem())?;
    key.finish(folder)?;
    certificate.finish(folder).inspect_err(|_| {
        // Nobody has seen this key: the lock is held, and nothing is signed by it.
        std::fs::remove_file(folder.join(KEY_FILE)).ok();
    })?;
    tracing::info!(folder = %folder.display(), "the certificate authority's root was made");
    Ok(root)
}

/// A file that is complete on disk and has not its name yet. It goes when it does
/// not get it.
struct Partial {
    partial: PathBuf,
    path: PathBuf,
}

impl Partial {
    fn write(folder: &Path, name: &str, mode: u32, text: &str) -> Result<Self, CaError> {
        let file = Self { partial: folder.join(format!(".{name}.partial")), path: folder.join(name) };
        // One that an earlier crash left could have another mode.
        match std::fs::remove_file(&file.partial) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                return Err(storage("remove", &file.partial)(error));
            }
            _ => {}
        }
        let written = || -> io::Result<()> {
            let mut open = OpenOptions::new().write(true).create_new(true).mode(mode).open(&file.partial)?;
            open.write_all(text.as_bytes())?;
            open.sync_all()
        };
        written().map_err(storage("write", &file.path))?;
        Ok(file)
    }

    fn finish(self, folder: &Path) -> Result<(), CaError> {
        let named = || -> io::Result<()> {
            std::fs::rename(&self.partial, &self.path)?;
            File::open(folder)?.sync_all()
        };
        named().map_err(storage("write", &self.path))
    }
}

impl Drop for Partial {
    fn drop(&mut self) {
        // After it got its name there is nothing to remove.
        std::fs::remove_file(&self.partial).ok();
    }
}

fn make_folder(folder: &Path) -> Result<(), CaError> {
    DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(storage("make the folder", folder))
}

/// Waits until no other process makes a root here. The lock ends with the file.
fn lock(folder: &Path) -> Result<File, CaError> {
    let path = folder.join(LOCK_FILE);
    let locked = || -> io::Result<File> {
        let options = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(&path);
        let file = options?;
        file.lock()?;
        Ok(file)
    };
    locked().map_err(storage("lock", &path))
}

fn refused(folder: &Path, reason: String) -> CaError {
    CaError::Refused { folder: folder.to_owned(), reason }
}

fn storage(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> CaError {
    let path = path.to_owned();
    move |source| CaError::Storage { action, path, source }
}
