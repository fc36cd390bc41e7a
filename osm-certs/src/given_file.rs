//! Small files that somebody else writes and replaces: tokens, certificates, keys.
//!
//! Whether one was replaced is seen by its [`Stamp`], through all links on the way:
//! Kubernetes changes what a mounted Secret holds by swapping the link `..data`, so that the
//! path stays and leads to another file.

use std::fs::File;
use std::io::{self, ErrorKind, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

/// The most that one may hold, in bytes.
const MAX_BYTES: u64 = 1024 * 1024;

/// Which file a path led to, and how it was then.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Stamp {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Stamp {
    fn of(metadata: &std::fs::Metadata) -> Self {
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            size: metadata.size(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }
}

/// What is at a path now, without reading it. Blocks.
pub(crate) fn stamp(path: &Path) -> io::Result<Stamp> {
    std::fs::metadata(path).map(|metadata| Stamp::of(&metadata))
}

/// A whole file and its stamp. Blocks.
pub(crate) fn read(path: &Path) -> io::Result<(Stamp, Zeroizing<String>)> {
    // Opening a pipe would wait for its writer.
    if !std::fs::metadata(path)?.is_file() {
        return Err(io::Error::new(ErrorKind::InvalidInput, "it is no regular file"));
    }
    let file = File::open(path)?;
    let metadata = file.metadata()?;
    if metadata.size() > MAX_BYTES {
        return Err(io::Error::new(ErrorKind::FileTooLarge, format!("it has more than {MAX_BYTES} bytes")));
    }
    // Growing would leave pieces of a secret behind.
    let length = usize::try_from(metadata.size()).unwrap_or_default();
    let mut text = Zeroizing::new(String::with_capacity(length + 1));
    file.take(MAX_BYTES).read_to_string(&mut text)?;
    Ok((Stamp::of(&metadata), text))
}

/// The same as [`read`], off the asynchronous threads.
pub(crate) async fn read_later(path: PathBuf) -> io::Result<(Stamp, Zeroizing<String>)> {
    tokio::task::spawn_blocking(move || read(&path)).await.map_err(io::Error::other)?
}

/// The same as [`stamp`], off the asynchronous threads.
#[cfg(feature = "vault")]
pub(crate) async fn stamp_later(path: PathBuf) -> io::Result<Stamp> {
    tokio::task::spawn_blocking(move || stamp(&path)).await.map_err(io::Error::other)?
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn a_swapped_link_is_another_stamp_and_a_second_look_the_same() {
        let folder = tempfile::tempdir().expect("a folder");
        let at = |name: &str| folder.path().join(name);
        for version in ["..one", "..two"] {
            fs::create_dir(at(version)).expect("a folder");
            fs::write(at(version).join("token"), version).expect("written");
        }
        symlink("..one", at("..data")).expect("a link");
        symlink("..data/token", at("token")).expect("a link");
        let (before, text) = read(&at("token")).expect("it is read");
        assert_eq!((text.as_str(), stamp(&at("token")).expect("it is there")), ("..one", before.clone()));
        symlink("..two", at("..new")).expect("a link");
        fs::rename(at("..new"), at("..data")).expect("swapped");
        assert_ne!(stamp(&at("token")).expect("it is there"), before);
        assert_eq!(read(&at("token")).expect("it is read").1.as_str(), "..two");
    }

    #[test]
    fn what_is_no_small_file_is_not_read() {
        let folder = tempfile::tempdir().expect("a folder");
        assert!(read(folder.path()).is_err());
        let big = folder.path().join("big");
        File::create(&big).and_then(|file| file.set_len(MAX_BYTES + 1)).expect("written");
        assert_eq!(read(&big).expect_err("it is too large").kind(), ErrorKind::FileTooLarge);
    }
}
