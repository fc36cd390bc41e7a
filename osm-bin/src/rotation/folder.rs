//! The stage of a mesh's roots in a file, for a control plane that is alone.

use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::path::PathBuf;

use osm_certs::issuer::async_trait;
use osm_certs::rotation::{Stage, StageStore, StoreError};
use osm_k8s::status::root::StageStatus;
use parking_lot::Mutex;

/// A file that one process at a time writes.
#[derive(Debug)]
pub struct StageFile {
    path: PathBuf,
    writing: Mutex<()>,
}

impl StageFile {
    /// The file of this path, which need not be there yet.
    #[must_use]
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), writing: Mutex::new(()) }
    }

    fn read(&self) -> Result<Option<Stage>, StoreError> {
        let bytes = match fs::read(&self.path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(self.error("reading", error)),
        };
        let status: StageStatus = serde_json::from_slice(&bytes).map_err(|error| self.damaged(error))?;
        status.stage().map(Some).map_err(|error| self.damaged(error))
    }

    fn write(&self, stage: &Stage) -> std::io::Result<()> {
        let fresh = self.path.with_extension("new");
        let text = serde_json::to_vec_pretty(&StageStatus::of(stage))?;
        let written = File::create(&fresh).and_then(|mut file| {
            file.write_all(&text)?;
            file.sync_all()?;
            fs::rename(&fresh, &self.path)
        });
        if written.is_err() {
            // Half of one takes space that there is none of. It may not be there at all.
            fs::remove_file(&fresh).ok();
        }
        written?;
        // The new name is there after a crash too.
        self.path.parent().map_or(Ok(()), |folder| File::open(folder)?.sync_all())
    }

    fn error(&self, doing: &str, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> StoreError {
        StoreError { what: format!("{doing} {}", self.path.display()), source: source.into() }
    }

    fn damaged(&self, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> StoreError {
        let advice = "which is damaged: restore it from a copy, or end the mesh and remove it to begin anew";
        StoreError { what: format!("reading {}, {advice}", self.path.display()), source: source.into() }
    }
}

#[async_trait]
impl StageStore for StageFile {
    async fn load(&self) -> Result<Option<Stage>, StoreError> {
        self.read()
    }

    async fn swap(&self, number: Option<u64>, next: &Stage) -> Result<bool, StoreError> {
        let _writing = self.writing.lock();
        if self.read()?.map(|stage| stage.number) != number {
            return Ok(false);
        }
        self.write(next).map_err(|error| self.error("writing", error))?;
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use std::error::Error;
    use std::time::{Duration, SystemTime};

    use super::*;

    fn stage(number: u64) -> Stage {
        let since = SystemTime::UNIX_EPOCH + Duration::new(1_764_000_000, 123_456_789);
        Stage { number, ..Stage::first("a".parse().expect("a name"), since) }
    }

    #[tokio::test]
    async fn a_stage_is_read_as_it_was_written_and_replaces_only_the_one_that_was_meant() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = StageFile::new(folder.path().join("roots.json"));
        assert_eq!(file.load().await.expect("nothing"), None);
        assert!(file.swap(None, &stage(1)).await.expect("written"));
        assert!(!file.swap(None, &stage(2)).await.expect("one is there"));
        assert!(!file.swap(Some(7), &stage(2)).await.expect("another one is there"));
        assert_eq!(file.load().await.expect("read"), Some(stage(1)));
        assert!(file.swap(Some(1), &stage(2)).await.expect("written"));
        assert_eq!(StageFile::new(file.path.clone()).load().await.expect("read"), Some(stage(2)));
    }

    #[tokio::test]
    async fn a_file_that_is_damaged_is_no_beginning() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("roots.json");
        for text in ["{", "null", "{\"number\": 1}"] {
            fs::write(&path, text).expect("written");
            let file = StageFile::new(&path);
            let error = file.load().await.expect_err("damaged");
            assert!(error.to_string().contains("roots.json, which is damaged: restore"), "{error}");
            assert!(error.source().is_some());
            file.swap(None, &stage(1)).await.expect_err("damaged");
            assert_eq!(fs::read_to_string(&path).expect("it is there"), text);
        }
    }
}
