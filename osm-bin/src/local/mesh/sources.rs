//! The manifests at several paths, as one.

use std::path::PathBuf;
use std::sync::Arc;

use futures::future::{FutureExt, select_all};
use osm_core::diagnostic::{Diagnostic, Severity};
use osm_k8s::{FileSource, ManifestWatch, Manifests};

/// The manifests at all paths, followed.
pub(super) struct Sources {
    watches: Vec<ManifestWatch>,
    newest: Vec<Option<Arc<Manifests>>>,
}

impl Sources {
    /// The manifests at these paths; where two have an object, the earlier path's counts.
    pub(super) fn new(paths: &[PathBuf]) -> Self {
        let watches: Vec<_> = paths.iter().map(|path| FileSource::new(path).watch()).collect();
        let newest = watches.iter().map(|_| None).collect();
        Self { watches, newest }
    }

    /// All manifests, as soon as all paths could be read, then after each change.
    /// May be dropped at any time without losing a change.
    pub(super) async fn next(&mut self) -> Arc<Manifests> {
        loop {
            let looks = self.watches.iter_mut().map(|watch| watch.next().boxed());
            let (manifests, index, _) = select_all(looks).await;
            self.newest[index] = Some(manifests);
            let complete = |one: &Option<Arc<Manifests>>| one.clone().filter(|one| one.is_complete);
            let all: Option<Vec<_>> = self.newest.iter().map(complete).collect();
            match all.as_deref() {
                Some([only]) => return Arc::clone(only),
                Some(all) => return Arc::new(merge(all)),
                None => {}
            }
        }
    }
}

/// All objects, each once: the first one counts, and the others are named.
fn merge(all: &[Arc<Manifests>]) -> Manifests {
    let mut merged = Manifests { is_complete: true, ..Manifests::default() };
    for one in all {
        merged.diagnostics.extend(one.diagnostics.iter().cloned());
        for (name, entry) in &one.entries {
            let Some(first) = merged.entries.get(name) else {
                merged.entries.insert(name.clone(), Arc::clone(entry));
                continue;
            };
            let message = format!(
                "{name} stands here and at {}; only that one counts, remove one of them",
                first.location
            );
            let location = entry.location.clone();
            let mut diagnostic = Diagnostic::in_file(Severity::Error, "duplicate-object", location, message);
            diagnostic.object = name.object_ref();
            merged.diagnostics.push(diagnostic);
        }
    }
    merged
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::local::plan::testing::manifests;

    #[tokio::test]
    async fn manifests_of_several_paths_are_one_and_follow_each_of_them() {
        let folder = tempfile::tempdir().expect("a folder");
        let account =
            |name: &str| format!("{{apiVersion: v1, kind: ServiceAccount, metadata: {{name: {name}}}}}");
        let paths = [folder.path().join("a.yaml"), folder.path().join("b.yaml")];
        std::fs::write(&paths[0], account("a")).expect("written");
        std::fs::write(&paths[1], account("b")).expect("written");
        let mut sources = Sources::new(&paths);
        assert_eq!(sources.next().await.entries.len(), 2);
        std::fs::write(&paths[1], account("c")).expect("written");
        let names: Vec<_> = sources.next().await.entries.keys().map(ToString::to_string).collect();
        assert_eq!(names, ["ServiceAccount default/a", "ServiceAccount default/c"]);
    }

    #[test]
    fn of_an_object_at_two_paths_the_first_counts_and_the_other_is_named() {
        let account = "{apiVersion: v1, kind: ServiceAccount, metadata: {name: a, labels: {l: L}}}";
        let all = [manifests(&account.replace('L', "x")), manifests(&account.replace('L', "y"))];
        let merged = merge(&all);
        let labels = merged.entries.values().map(|entry| entry.manifest.metadata().labels["l"].clone());
        assert_eq!(labels.collect::<Vec<_>>(), ["x"]);
        assert_eq!(merged.diagnostics[0].code, "duplicate-object");
    }
}
