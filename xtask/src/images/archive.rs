//! A root file system as an archive that `docker load`, `ctr images import` and `kind
//! load image-archive` take. Equal content makes equal bytes: times, owners and the
//! order of files are set, not taken.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result};
use serde_json::json;

use crate::workspace::{output, succeed};

/// What an image is called and how it runs.
#[derive(Debug, Clone, Copy)]
pub struct Content {
    /// Its name and tag.
    pub name: &'static str,
    /// What runs, unless a command is said; arguments come after it.
    pub command: &'static [&'static str],
    /// As which user, by number: then Kubernetes can see that it is not root.
    pub user: &'static str,
    /// Variables, as `NAME=value`.
    pub environment: &'static [&'static str],
}

/// An image that was packed.
#[derive(Debug)]
pub struct Image {
    /// The archive.
    pub file: PathBuf,
    /// Its identity: the SHA-256 of its configuration, which holds those of its layers.
    pub id: String,
}

impl Content {
    /// The last part of the name, without the tag.
    #[must_use]
    pub fn file(&self) -> &str {
        let name = self.name.rsplit('/').next().unwrap_or(self.name);
        name.split(':').next().unwrap_or(name)
    }
}

/// Packs a folder as the one layer of an image.
///
/// # Errors
/// When a file can't be read or written.
pub fn pack(content: &Content, root: &Path, into: &Path) -> Result<Image> {
    let work = into.join(format!("{}-{}.parts", content.file(), std::process::id()));
    fs::create_dir_all(&work).with_context(|| format!("making {}", work.display()))?;
    let packed = pack_in(content, root, &work, &into.join(format!("{}.tar", content.file())));
    fs::remove_dir_all(&work).with_context(|| format!("removing {}", work.display()))?;
    packed
}

fn pack_in(content: &Content, root: &Path, work: &Path, archive: &Path) -> Result<Image> {
    let layer = work.join("layer.tar");
    succeed(tar(&layer).arg("--directory").arg(root).arg("."))?;
    let layer_id = sha256(&layer)?;
    let config = serde_json::to_vec(&config(content, &layer_id)).context("writing the configuration")?;
    let config_file = work.join("config.json");
    fs::write(&config_file, config).context("writing the configuration")?;
    let id = sha256(&config_file)?;
    let (config_name, layer_name) = (format!("{id}.json"), format!("{layer_id}.tar"));
    fs::rename(&config_file, work.join(&config_name)).context("naming the configuration")?;
    fs::rename(&layer, work.join(&layer_name)).context("naming the layer")?;
    let manifest = json!([{"Config": config_name, "RepoTags": [content.name], "Layers": [layer_name]}]);
    fs::write(work.join("manifest.json"), manifest.to_string()).context("writing the manifest")?;
    let unfinished = work.join("image");
    succeed(tar(&unfinished).arg("--directory").arg(work).args([
        "manifest.json",
        &config_name,
        &layer_name,
    ]))?;
    fs::rename(&unfinished, archive).with_context(|| format!("writing {}", archive.display()))?;
    Ok(Image { file: archive.to_owned(), id })
}

fn config(content: &Content, layer: &str) -> serde_json::Value {
    let architecture = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    };
    json!({
        "architecture": architecture,
        "os": "linux",
        "created": "1970-01-01T00:00:00Z",
        "config": {"Entrypoint": content.command, "Env": content.environment, "User": content.user},
        "rootfs": {"type": "layers", "diff_ids": [format!("sha256:{layer}")]},
    })
}

/// GNU tar, told everything that it would otherwise take from the file system.
fn tar(archive: &Path) -> Command {
    let mut command = Command::new("tar");
    command
        .args(["--create", "--format=gnu", "--sort=name", "--mtime=@0", "--mode=u+rw,go+r,go-w,a+X"])
        .args(["--owner=0", "--group=0", "--numeric-owner", "--file"])
        .arg(archive)
        .stdin(Stdio::null());
    command
}

fn sha256(file: &Path) -> Result<String> {
    let content = File::open(file).with_context(|| format!("reading {}", file.display()))?;
    let said = output(Command::new("sha256sum").stdin(content))?;
    Ok(said.split_whitespace().next().context("sha256sum says nothing")?.to_owned())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    const CONTENT: Content =
        Content { name: "some/thing:dev", command: &["/program"], user: "65532", environment: &["PATH=/"] };

    fn root(folder: &Path, order: [&str; 2], mode: u32) -> PathBuf {
        let root = folder.join("root");
        fs::create_dir_all(&root).unwrap();
        for name in order {
            fs::write(root.join(name), format!("this is {name}")).unwrap();
            fs::set_permissions(root.join(name), fs::Permissions::from_mode(mode)).unwrap();
        }
        root
    }

    #[test]
    fn equal_content_makes_equal_bytes_whenever_and_however_it_was_written() {
        let (one, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let first = pack(&CONTENT, &root(one.path(), ["a", "b"], 0o644), one.path()).unwrap();
        let files = root(other.path(), ["b", "a"], 0o600);
        let old = File::open(files.join("a")).unwrap();
        old.set_modified(std::time::SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(1_000)).unwrap();
        let second = pack(&CONTENT, &files, other.path()).unwrap();
        assert_eq!(first.id, second.id);
        assert_eq!(fs::read(&first.file).unwrap(), fs::read(&second.file).unwrap());
        fs::write(files.join("a"), "this is another").unwrap();
        assert_ne!(pack(&CONTENT, &files, other.path()).unwrap().id, first.id);
    }

    #[test]
    fn nothing_is_left_beside_an_archive() {
        let folder = tempfile::tempdir().unwrap();
        let image = pack(&CONTENT, &root(folder.path(), ["a", "b"], 0o644), folder.path()).unwrap();
        assert_eq!(image.file, folder.path().join("thing.tar"));
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2, "the root and the archive");
    }
}
