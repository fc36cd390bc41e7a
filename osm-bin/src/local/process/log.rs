//! The log of one process: a file that does not grow for ever.

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use nix::fcntl::OFlag;
use tokio::io::{AsyncRead, AsyncReadExt};

use crate::local::state::make_folder;

/// A log that has become so large is set aside, and its predecessor removed.
const MAX_BYTES: u64 = 8 * 1024 * 1024;

/// Opens a file to go on where it ended; never what a link leads to.
fn append(path: &Path) -> std::io::Result<File> {
    File::options().create(true).append(true).mode(0o600).custom_flags(OFlag::O_NOFOLLOW.bits()).open(path)
}

/// A log that is being written.
#[derive(Debug)]
pub struct LogFile {
    path: PathBuf,
    file: File,
    bytes: u64,
}

impl LogFile {
    /// Opens a log, to go on where it ended.
    ///
    /// # Errors
    /// When it can't be written.
    pub fn open(path: &Path) -> Result<Self> {
        path.parent().map_or(Ok(()), make_folder)?;
        let writing = || format!("writing {}", path.display());
        let file = append(path).with_context(writing)?;
        let bytes = file.metadata().with_context(writing)?.len();
        Ok(Self { path: path.to_owned(), file, bytes })
    }

    /// Writes all that comes, until nothing more can come. A disk that is full
    /// loses output, but holds nobody up.
    pub(super) async fn take_all(mut self, mut output: impl AsyncRead + Unpin) {
        let mut buffer = vec![0; 16 * 1024];
        loop {
            match output.read(&mut buffer).await {
                Ok(0) | Err(_) => return,
                Ok(count) => {
                    if let Err(error) = self.write(&buffer[..count]) {
                        tracing::warn!(log = %self.path.display(), %error, "output is lost");
                    }
                }
            }
        }
    }

    fn write(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        if self.bytes >= MAX_BYTES {
            fs::rename(&self.path, self.path.with_extension("log.1"))?;
            self.file = append(&self.path)?;
            self.bytes = 0;
        }
        self.bytes += bytes.len() as u64;
        self.file.write_all(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_log_that_is_full_is_set_aside_and_output_goes_on() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("p.log");
        let mut log = LogFile::open(&path).expect("opened");
        log.bytes = MAX_BYTES;
        log.take_all(&b"new\n"[..]).await;
        assert_eq!(fs::read_to_string(&path).expect("read"), "new\n");
        assert!(path.with_extension("log.1").exists());
    }
}
