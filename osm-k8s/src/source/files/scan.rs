//! One look at a file or a folder tree, or at single paths in it. Bounded: files,
//! depth, bytes.
//!
//! What is found is not judged here, and nothing is waited for.

use std::fs;
use std::io::{ErrorKind, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use osm_core::diagnostic::{Diagnostic, Location, Severity};

use super::memory::Memory;
use super::store::{FileSet, FileText};
use crate::document::MAX_FILE_BYTES;

/// The most files that are read; the rest is named once and left out.
pub const MAX_FILES: usize = 10_000;
/// The most bytes of all files together.
pub(super) const MAX_TOTAL_BYTES: usize = 256 * 1024 * 1024;
/// The deepest folder that is looked into, counted from the path itself.
pub const MAX_FOLDER_DEPTH: usize = 16;
/// How the names of manifests end.
const EXTENSIONS: [&str; 3] = ["yaml", "yml", "json"];

/// What a look at everything found.
#[derive(Debug, Default)]
pub(super) struct Look {
    pub(super) set: FileSet,
    /// For the next look.
    pub(super) memory: Memory,
    /// Whether there are links on the way to any file.
    pub(super) has_links: bool,
}

/// What a look at one path found.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// A manifest.
    File(FileText),
    /// Nothing.
    Nothing,
    /// A file that is no manifest.
    Other,
    /// Something for which everything has to be looked at.
    Unclear,
}

/// Looks at a path without holding up the runtime. Files that look as they did
/// when they were read last are not read again.
pub(super) async fn look(path: PathBuf, memory: Memory) -> Look {
    let name = shown(&path);
    let task = tokio::task::spawn_blocking(move || scan(&path, memory));
    task.await.unwrap_or_else(|error| {
        let mut look = Look::default();
        look.set.unreadable_folders.insert(name, error.to_string());
        look
    })
}

/// Looks at some paths below a root, or at the root, and at nothing else; without
/// holding up the runtime.
pub(super) async fn look_at(root: PathBuf, paths: Vec<PathBuf>) -> Vec<Found> {
    let count = paths.len();
    let task = tokio::task::spawn_blocking(move || {
        let mut found: Vec<_> = paths.iter().map(|path| found_at(&root, path)).collect();
        if found.contains(&Found::Nothing) && fs::metadata(&root).is_err() {
            // An outage is not a deletion.
            found.iter_mut().filter(|one| **one == Found::Nothing).for_each(|one| *one = Found::Unclear);
        }
        found
    });
    task.await.unwrap_or_else(|_| (0..count).map(|_| Found::Unclear).collect())
}

fn found_at(root: &Path, path: &Path) -> Found {
    let metadata = match fs::symlink_metadata(path) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == ErrorKind::NotFound => return Found::Nothing,
        Err(_) => return Found::Unclear,
    };
    let below = path.strip_prefix(root).unwrap_or(path);
    if !metadata.is_file() || below.components().count() > MAX_FOLDER_DEPTH {
        return Found::Unclear;
    }
    if !is_manifest(path) && path != root {
        return Found::Other;
    }
    match read(path) {
        Ok(bytes) => Found::File(FileText::Bytes(bytes.into())),
        Err(error) if error.kind() == ErrorKind::NotFound => Found::Nothing,
        Err(error) => Found::File(FileText::Unreadable(error.to_string())),
    }
}

/// Looks at a path.
fn scan(path: &Path, mut memory: Memory) -> Look {
    let set = FileSet::default();
    let mut scan =
        Scan { set, memory: &mut memory, above: Vec::new(), bytes: 0, full: false, has_links: false };
    match fs::metadata(path) {
        Ok(metadata) if metadata.is_dir() => scan.folder(path, &metadata),
        Ok(metadata) => scan.file(path, &metadata),
        Err(error) => drop(scan.set.unreadable_folders.insert(shown(path), error.to_string())),
    }
    scan.set.is_root_readable = !scan.set.unreadable_folders.contains_key(&shown(path));
    let (set, has_links) = (scan.set, scan.has_links);
    memory.forget_others();
    Look { set, memory, has_links }
}

struct Scan<'a> {
    set: FileSet,
    memory: &'a mut Memory,
    /// Device and inode of the folders that lead here.
    above: Vec<(u64, u64)>,
    bytes: usize,
    full: bool,
    has_links: bool,
}

impl Scan<'_> {
    fn folder(&mut self, path: &Path, metadata: &fs::Metadata) {
        let identity = (metadata.dev(), metadata.ino());
        if self.above.contains(&identity) {
            let message = "the link leads back into a folder above it; it is not followed";
            return self.say(Severity::Warning, "link-loop", path, message.to_owned());
        }
        if self.above.len() >= MAX_FOLDER_DEPTH {
            let message = format!("folders deeper than {MAX_FOLDER_DEPTH} are not looked into");
            return self.say(Severity::Error, "folder-too-deep", path, message);
        }
        let mut names = match self.names(path) {
            Ok(names) => names,
            Err(error) => return drop(self.set.unreadable_folders.insert(shown(path), error.to_string())),
        };
        names.sort();
        self.above.push(identity);
        for name in names {
            if self.full {
                break;
            }
            self.entry(&path.join(name));
        }
        self.above.pop();
    }

    /// The names in a folder, without those that start with a dot: editors keep
    /// their drafts there, and the kubelet the folders that it swaps.
    fn names(&mut self, folder: &Path) -> std::io::Result<Vec<std::ffi::OsString>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            let name = entry.file_name();
            if !name.as_encoded_bytes().starts_with(b".") {
                self.has_links |= entry.file_type()?.is_symlink();
                names.push(name);
            }
        }
        Ok(names)
    }

    fn entry(&mut self, path: &Path) {
        match fs::metadata(path) {
            Ok(metadata) if metadata.is_dir() => self.folder(path, &metadata),
            Ok(metadata) if is_manifest(path) => self.file(path, &metadata),
            Ok(_) => {}
            // Gone since the folder was listed, or a link to nothing.
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) if is_manifest(path) => self.unreadable(path, &error.to_string()),
            // Without permission to look, it may be a folder of manifests.
            Err(error) => drop(self.set.unreadable_folders.insert(shown(path), error.to_string())),
        }
    }

    fn file(&mut self, path: &Path, metadata: &fs::Metadata) {
        if self.set.files.len() >= MAX_FILES || self.bytes >= MAX_TOTAL_BYTES {
            self.full = true;
            let message = format!(
                "more than {MAX_FILES} files or {MAX_TOTAL_BYTES} bytes; from this file on, nothing is read"
            );
            return self.say(Severity::Error, "too-many-files", path, message);
        }
        // Opening a pipe would wait for its writer.
        if !metadata.is_file() {
            return self.say(
                Severity::Error,
                "not-a-file",
                path,
                "it is no regular file; it is ignored".to_owned(),
            );
        }
        match self.memory.recall_or(path, metadata, || read(path)) {
            Ok(bytes) => {
                self.bytes += bytes.len();
                self.set.files.insert(shown(path), FileText::Bytes(bytes));
            }
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => self.unreadable(path, &error.to_string()),
        }
    }

    fn unreadable(&mut self, path: &Path, reason: &str) {
        self.set.files.insert(shown(path), FileText::Unreadable(reason.to_owned()));
    }

    fn say(&mut self, severity: Severity, code: &'static str, path: &Path, message: String) {
        let location = Location { file: shown(path), line: 0 };
        self.set.diagnostics.push(Diagnostic::in_file(severity, code, location, message));
    }
}

/// Whether a path is named like a manifest.
pub(super) fn is_manifest(path: &Path) -> bool {
    let extension = path.extension().and_then(|text| text.to_str());
    extension.is_some_and(|text| EXTENSIONS.iter().any(|known| text.eq_ignore_ascii_case(known)))
}

/// At most one byte more than a file may have, which shows that it has too many.
fn read(path: &Path) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let limit = u64::try_from(MAX_FILE_BYTES).unwrap_or(u64::MAX).saturating_add(1);
    fs::File::open(path)?.take(limit).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// A path as the user would name it.
pub(super) fn shown(path: &Path) -> Arc<str> {
    path.to_string_lossy().into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    fn folder() -> tempfile::TempDir {
        tempfile::tempdir().expect("a folder")
    }

    fn scan_anew(path: &Path) -> FileSet {
        scan(path, Memory::default()).set
    }

    fn found(folder: &tempfile::TempDir) -> Vec<String> {
        let set = scan_anew(folder.path());
        let prefix = format!("{}/", folder.path().display());
        set.files
            .keys()
            .map(|path| path.strip_prefix(&prefix).expect("within the folder").to_owned())
            .collect()
    }

    fn write(folder: &tempfile::TempDir, path: &str, text: &str) {
        let path = folder.path().join(path);
        fs::create_dir_all(path.parent().expect("a parent")).expect("folders");
        fs::write(path, text).expect("a file");
    }

    #[test]
    fn a_tree_is_read_except_for_hidden_names_and_other_endings() {
        let folder = folder();
        for path in [
            "b.yaml",
            "a.yml",
            "sub/deep/c.JSON",
            ".git/d.yaml",
            ".e.yaml",
            "f.txt",
            "g.yaml~",
            "h.yaml/i.yaml",
        ] {
            write(&folder, path, "x");
        }
        assert_eq!(found(&folder), ["a.yml", "b.yaml", "h.yaml/i.yaml", "sub/deep/c.JSON"]);
    }

    #[test]
    fn the_links_of_a_mounted_config_map_are_followed_once() {
        let folder = folder();
        write(&folder, "..2024_01/a.yaml", "x");
        symlink("..2024_01", folder.path().join("..data")).expect("a link");
        symlink("..data/a.yaml", folder.path().join("a.yaml")).expect("a link");
        symlink("nowhere", folder.path().join("b.yaml")).expect("a link");
        assert_eq!(found(&folder), ["a.yaml"]);
    }

    #[test]
    fn a_link_that_leads_back_is_named_and_not_followed() {
        let folder = folder();
        write(&folder, "sub/a.yaml", "x");
        symlink("..", folder.path().join("sub/up")).expect("a link");
        assert_eq!(found(&folder), ["sub/a.yaml"]);
        assert_eq!(scan_anew(folder.path()).diagnostics[0].code, "link-loop");
    }

    #[test]
    fn what_is_no_file_is_named_and_not_opened() {
        let folder = folder();
        make_socket(&folder.path().join("pipe.yaml"));
        let set = scan_anew(folder.path());
        assert!(set.files.is_empty());
        assert_eq!(set.diagnostics[0].code, "not-a-file");
    }

    /// A socket stands for all that is no regular file.
    fn make_socket(path: &Path) {
        drop(std::os::unix::net::UnixListener::bind(path).expect("a socket"));
    }

    #[test]
    fn a_file_that_can_not_be_read_is_unreadable_and_not_missing() {
        let folder = folder();
        // Reading one's own memory from the start fails for every user.
        symlink("/proc/self/mem", folder.path().join("a.yaml")).expect("a link");
        let set = scan_anew(folder.path());
        assert!(matches!(set.files.values().next(), Some(FileText::Unreadable(_))), "{set:?}");
    }

    #[test]
    fn a_file_that_is_too_large_is_read_only_so_far_that_it_shows() {
        let folder = folder();
        let file = fs::File::create(folder.path().join("a.yaml")).expect("a file");
        file.set_len(1 << 40).expect("a sparse file");
        let set = scan_anew(folder.path());
        let Some(FileText::Bytes(bytes)) = set.files.values().next() else {
            panic!("{:?}", set.files.keys())
        };
        assert_eq!(bytes.len(), MAX_FILE_BYTES + 1);
    }

    #[test]
    fn a_path_that_is_not_there_is_unreadable_and_not_empty() {
        let folder = folder();
        let set = scan_anew(&folder.path().join("missing"));
        assert_eq!(set.unreadable_folders.len(), 1);
    }

    #[test]
    fn a_look_at_one_path_finds_what_a_look_at_everything_finds_or_asks_for_one() {
        let folder = folder();
        write(&folder, "sub/a.yaml", "a");
        write(&folder, "b.txt", "b");
        symlink("a.yaml", folder.path().join("sub/c.yaml")).expect("a link");
        make_socket(&folder.path().join("pipe.yaml"));
        let at = |path: &str| found_at(folder.path(), &folder.path().join(path));
        assert_eq!(at("sub/a.yaml"), Found::File(FileText::Bytes(b"a"[..].into())));
        assert_eq!((at("b.txt"), at("missing.yaml")), (Found::Other, Found::Nothing));
        for unclear in ["sub", "sub/c.yaml", "pipe.yaml"] {
            assert_eq!(at(unclear), Found::Unclear, "{unclear}");
        }
        let lone = folder.path().join("b.txt");
        assert_eq!(found_at(&lone, &lone), Found::File(FileText::Bytes(b"b"[..].into())), "it is the root");
        assert!(scan(folder.path(), Memory::default()).has_links);
    }

    #[test]
    fn folders_have_a_deepest() {
        let folder = folder();
        write(&folder, &format!("{}a.yaml", "d/".repeat(MAX_FOLDER_DEPTH)), "x");
        assert_eq!(found(&folder), Vec::<String>::new());
        assert_eq!(scan_anew(folder.path()).diagnostics[0].code, "folder-too-deep");
    }
}
