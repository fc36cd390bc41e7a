//! The root file system of an image, put together in a folder that goes when this does.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::catalogue::Part;
use crate::artifacts::{self, Programs};
use crate::workspace::output;

/// A folder that becomes an image.
#[derive(Debug)]
pub(super) struct Root(PathBuf);

impl Root {
    pub(super) fn make(folder: PathBuf) -> Result<Self> {
        fs::create_dir_all(folder.join("etc")).with_context(|| format!("making {}", folder.display()))?;
        let root = Self(folder);
        // Without it, the C library asks services that a container does not have.
        fs::write(root.0.join("etc/nsswitch.conf"), "hosts: files dns\n").context("writing nsswitch.conf")?;
        Ok(root)
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }

    pub(super) fn add(&self, part: &Part, programs: &Programs, envoy: &Path) -> Result<()> {
        match *part {
            Part::Workspace(name) => self.program(artifacts::find(programs, name)?, name, true),
            Part::Envoy => self.program(envoy, "envoy", false),
            Part::Machine { program, names } => {
                let (first, others) = names.split_first().context("a program has a name")?;
                let program = fs::canonicalize(program).with_context(|| format!("looking for {program}"))?;
                // It knows what to do by the name that it is called by, so the names are links to it.
                let place = if *first == "sh" { "bin" } else { "usr/sbin" };
                let file = self.put(&program, &self.0.join(place).join(first))?;
                for name in others {
                    symlink(first, file.with_file_name(name)).with_context(|| format!("naming {name}"))?;
                }
                self.libraries(&program)
            }
            Part::IptablesExtensions => self.extensions(),
            Part::Folder(name) => {
                let folder = self.0.join(name);
                fs::create_dir_all(&folder).with_context(|| format!("making {}", folder.display()))
            }
        }
    }

    fn program(&self, program: &Path, name: &str, strip: bool) -> Result<()> {
        let file = self.put(program, &self.0.join("usr/local/bin").join(name))?;
        if strip {
            // What a debugger needs is most of the file, and names the folder it was built in.
            output(Command::new("strip").arg(&file))?;
        }
        self.libraries(program)
    }

    fn put(&self, from: &Path, to: &Path) -> Result<PathBuf> {
        let written = || -> std::io::Result<()> {
            if let Some(folder) = to.parent() {
                fs::create_dir_all(folder)?;
            }
            fs::copy(from, to)?;
            fs::set_permissions(to, fs::Permissions::from_mode(0o755))
        };
        written().with_context(|| format!("copying {}", from.display()))?;
        Ok(to.to_owned())
    }

    /// Puts in what a program links against, at the places where it looks for them.
    fn libraries(&self, program: &Path) -> Result<()> {
        let said = output(Command::new("ldd").arg(program))?;
        for library in libraries(&said)? {
            let inside = self.0.join(library.strip_prefix("/").unwrap_or(&library));
            if !inside.exists() {
                self.put(&library, &inside)?;
            }
        }
        Ok(())
    }

    fn extensions(&self) -> Result<()> {
        let folder = extensions_of(Path::new("/usr/lib")).or_else(|| extensions_of(Path::new("/usr/lib64")));
        let folder =
            folder.context("this machine has no extensions of iptables (Debian package iptables)")?;
        let inside = self.0.join(folder.strip_prefix("/").unwrap_or(&folder));
        for entry in fs::read_dir(&folder).with_context(|| format!("reading {}", folder.display()))? {
            let file = entry?.path();
            let name = file.file_name().context("a file has a name")?.to_owned();
            match fs::read_link(&file) {
                Ok(target) => symlink(target, inside.join(name)).context("naming an extension")?,
                Err(_) => drop(self.put(&file, &inside.join(name))?),
            }
        }
        Ok(())
    }
}

impl Drop for Root {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.0) {
            eprintln!("xtask: {} could not be removed: {error}", self.0.display());
        }
    }
}

/// `xtables` in a folder of libraries or in that of one kind of processor below it.
fn extensions_of(libraries: &Path) -> Option<PathBuf> {
    let mut folders: Vec<PathBuf> =
        fs::read_dir(libraries).ok()?.filter_map(|entry| Some(entry.ok()?.path())).collect();
    folders.sort();
    let here = std::iter::once(libraries.to_owned()).chain(folders);
    here.map(|folder| folder.join("xtables")).find(|folder| folder.is_dir())
}

/// The files in what ldd says; a line without one is what the kernel brings.
fn libraries(said: &str) -> Result<Vec<PathBuf>> {
    let mut libraries = Vec::new();
    for line in said.lines().map(str::trim) {
        if line.contains("not found") {
            bail!("this machine lacks a library: {line}");
        }
        let file = line.rsplit("=>").next().unwrap_or(line).split_whitespace().next();
        libraries.extend(file.filter(|file| file.starts_with('/')).map(PathBuf::from));
    }
    Ok(libraries)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libraries_are_the_files_that_ldd_names() {
        let said =
            "\tlinux-vdso.so.1 (0x7ff)\n\tlibc.so.6 => /lib/x/libc.so.6 (0x7f0)\n\t/lib64/ld.so (0x7f1)\n";
        assert_eq!(libraries(said).unwrap(), ["/lib/x/libc.so.6", "/lib64/ld.so"].map(PathBuf::from));
        assert_eq!(libraries("\tstatically linked\n").unwrap(), Vec::<PathBuf>::new());
        assert!(libraries("\tlibx.so => not found\n").is_err());
    }

    #[test]
    fn a_root_goes_with_its_owner() {
        let folder = tempfile::tempdir().unwrap();
        let root = Root::make(folder.path().join("image")).unwrap();
        root.add(&Part::Folder("run"), &Programs::new(), Path::new("")).unwrap();
        assert!(root.path().join("run").is_dir());
        drop(root);
        assert!(!folder.path().join("image").exists());
    }
}
