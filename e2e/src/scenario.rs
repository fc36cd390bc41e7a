//! Scenarios: a mesh in manifests, and what is decided and written for its proxies.
//!
//! A scenario is a file of manifests that begins with a comment on what it
//! shows. Two kinds of comment line mean something: `# include: PATH` adds the
//! manifests of another file or folder, and `# proxy: namespace/pod` names a
//! proxy to look at, where all would be too many.

mod place;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result, anyhow, bail};
use osm_core::diagnostic::Diagnostic;
use osm_core::identity::ProxyId;
use osm_core::ir::ProxyClass;
use osm_core::name::QualifiedName;
use osm_core::policy::{self, Compiled};
use osm_core::snapshot::{MeshOptions, MeshSnapshot, SnapshotBuilder};
use osm_k8s::source::files::{FileSet, FileText, ManifestStore};
use osm_xds::generate;
use osm_xds::resource::Resource;

use crate::meshes;

/// A mesh, and what is decided for its proxies.
#[derive(Debug)]
pub struct Scenario {
    /// The name of the file, without its ending.
    pub name: String,
    /// The mesh.
    pub snapshot: Arc<MeshSnapshot>,
    /// The proxies that are looked at, by class.
    pub classes: Vec<Class>,
    /// Proxies that the mesh does not know, and why.
    pub unknown: Vec<String>,
}

/// Proxies that do the same.
#[derive(Debug)]
pub struct Class {
    /// What they have in common.
    pub class: ProxyClass,
    /// The pods beside which they stand; never empty.
    pub pods: Vec<QualifiedName>,
    /// What they do.
    pub compiled: Compiled,
}

/// What the comment at the start of a scenario says.
#[derive(Debug, Default, PartialEq, Eq)]
struct Header {
    text: Vec<String>,
    includes: Vec<String>,
    proxies: Vec<QualifiedName>,
}

impl Scenario {
    /// Reads a scenario and decides everything.
    ///
    /// # Errors
    /// When a file can't be read, does not say what it shows, or no proxy is in it.
    pub fn load(path: &Path) -> Result<Self> {
        let name =
            path.file_stem().and_then(|stem| stem.to_str()).ok_or_else(|| anyhow!("a file without name"))?;
        let text = std::fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))?;
        let header = header(&text).with_context(|| name.to_owned())?;
        let folder = path.parent().unwrap_or(Path::new("."));
        let mut files = FileSet { is_root_readable: true, ..FileSet::default() };
        add(&mut files, "", path)?;
        for include in &header.includes {
            add(&mut files, "", &folder.join(include))?;
        }
        let mut manifests = Arc::unwrap_or_clone(ManifestStore::default().update(&files));
        place::all(&mut manifests);
        let mut builder = SnapshotBuilder::new(MeshOptions::default());
        manifests.events().into_iter().for_each(|event| builder.apply(event));
        builder.build();
        let scenario = Self::decide(name, Arc::clone(builder.current()), &header.proxies);
        if scenario.classes.is_empty() && scenario.unknown.is_empty() {
            bail!("{name} has no pod with a proxy to look at");
        }
        Ok(scenario)
    }

    fn decide(name: &str, snapshot: Arc<MeshSnapshot>, wanted: &[QualifiedName]) -> Self {
        let mut classes: BTreeMap<ProxyClass, Vec<QualifiedName>> = BTreeMap::new();
        let mut unknown = Vec::new();
        for workload in snapshot.workloads() {
            let Some(uuid) = workload.proxy.clone() else { continue };
            if !wanted.is_empty() && !wanted.contains(&workload.name) {
                continue;
            }
            match policy::classify(&snapshot, &ProxyId::new(uuid, workload.identity())) {
                Ok(class) => classes.entry(class).or_default().push(workload.name.clone()),
                Err(error) => unknown.push(format!("{}: {error}", workload.name)),
            }
        }
        let classes = classes.into_iter().map(|(class, pods)| {
            let compiled = policy::compile_class(&snapshot, &class);
            Class { class, pods, compiled }
        });
        let classes = classes.collect();
        Self { name: name.to_owned(), snapshot, classes, unknown }
    }

    /// Every finding, each once: about the manifests, about the mesh, and on the
    /// way to each proxy.
    #[must_use]
    pub fn diagnostics(&self) -> Vec<Diagnostic> {
        let of_proxies = self.classes.iter().flat_map(|class| &class.compiled.diagnostics);
        let mut all: Vec<Diagnostic> = Vec::new();
        for diagnostic in self.snapshot.diagnostics().chain(of_proxies) {
            if !all.contains(diagnostic) {
                all.push(diagnostic.clone());
            }
        }
        all
    }
}

impl Class {
    /// A name for people: the first pod, and how many there are beside it.
    #[must_use]
    pub fn title(&self) -> String {
        match self.pods.as_slice() {
            [] => self.class.identity.to_string(),
            [one] => one.to_string(),
            [first, others @ ..] => format!("{first} (and {} like it)", others.len()),
        }
    }

    /// The resources of these proxies, with the secrets of their TCP services
    /// but without those that hold nothing but certificates.
    #[must_use]
    pub fn resources(&self, bundle_pem: &str) -> Vec<Resource> {
        let mut resources = generate::proxy(&self.compiled.ir);
        resources.extend(meshes::validation_secrets(&self.compiled.ir, bundle_pem));
        resources.sort_by(|one, other| one.key.cmp(&other.key));
        resources
    }
}

/// The scenarios of a folder, by name.
///
/// # Errors
/// When the folder can't be listed.
pub fn list(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(folder).with_context(|| format!("listing {}", folder.display()))? {
        let path = entry.context("listing scenarios")?.path();
        if path.extension().is_some_and(|end| end == "yaml") {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths)
}

/// Adds a file, or the files of a folder, under their names below the last folder.
fn add(files: &mut FileSet, below: &str, path: &Path) -> Result<()> {
    let name =
        path.file_name().and_then(|name| name.to_str()).ok_or_else(|| anyhow!("a file without name"))?;
    let name = format!("{below}{name}");
    if path.is_dir() {
        return list(path)?.iter().try_for_each(|file| add(files, &format!("{name}/"), file));
    }
    let bytes = std::fs::read(path).with_context(|| format!("reading {}", path.display()))?;
    if files.files.insert(name.as_str().into(), FileText::Bytes(bytes.into())).is_some() {
        bail!("two files are called {name}");
    }
    Ok(())
}

fn header(text: &str) -> Result<Header> {
    let mut header = Header::default();
    for line in text.lines().map_while(|line| line.strip_prefix('#')).map(str::trim) {
        if let Some(path) = line.strip_prefix("include:") {
            header.includes.push(path.trim().to_owned());
        } else if let Some(proxy) = line.strip_prefix("proxy:") {
            header.proxies.push(proxy.trim().parse().context("a `# proxy:` line")?);
        } else if !line.is_empty() {
            header.text.push(line.to_owned());
        }
    }
    if header.text.is_empty() {
        bail!("it must begin with a comment on what it shows");
    }
    Ok(header)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_says_what_is_shown_and_may_name_files_and_proxies() {
        let read = header("# A mesh.\n# include: ../a\n# proxy: shop/buyer\n\nkind: X\n# proxy: a/b\n")
            .expect("a header");
        assert_eq!(read.text, ["A mesh."]);
        assert_eq!(read.includes, ["../a"]);
        assert_eq!(read.proxies, ["shop/buyer".parse().expect("a name")]);
    }

    #[test]
    fn a_scenario_that_does_not_say_what_it_shows_is_refused() {
        for text in ["", "kind: X\n# late\n", "# proxy: a/b\n"] {
            assert!(header(text).is_err(), "{text:?}");
        }
    }
}
