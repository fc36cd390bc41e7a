//! A login that failed, remembered for as long as it is not made again.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::time::Instant;

use crate::given_file::Stamp;
use crate::issuer::IssuerError;
use crate::manager::Failure;
use crate::secret::Secret;

/// Why there is no token, and until when nobody tries to get one.
pub(super) struct Failed {
    pub(super) until: Instant,
    /// Of the file with the proof, as it was then.
    pub(super) stamp: Option<Stamp>,
    /// What was not taken; `None` if there was nothing to try it with.
    pub(super) proof: Option<Secret>,
    file: Option<PathBuf>,
    refused: bool,
    message: String,
    source: Option<Arc<dyn Error + Send + Sync>>,
}

impl Failed {
    pub(super) fn new(
        error: IssuerError,
        until: Instant,
        file: Option<&Path>,
        stamp: Option<Stamp>,
        proof: Option<Secret>,
    ) -> Self {
        let (refused, message, source) = match error {
            IssuerError::Unavailable { message, source } => (false, message, source),
            IssuerError::Refused { message, source } => (true, message, source),
        };
        let (file, source) = (file.map(Path::to_owned), source.map(Arc::from));
        Self { until, stamp, proof, file, refused, message, source }
    }

    /// The error for who needs a token now.
    pub(super) fn error(&self) -> IssuerError {
        let left = self.until.saturating_duration_since(Instant::now()).as_secs_f64().ceil();
        let message = match &self.file {
            Some(file) => {
                format!("{}; tried again in {left} s, or when {} has changed", self.message, file.display())
            }
            None => format!("{}; tried again in {left} s", self.message),
        };
        let error =
            if self.refused { IssuerError::refused(message) } else { IssuerError::unavailable(message) };
        match &self.source {
            Some(source) => error.because(Arc::clone(source)),
            None => error,
        }
    }

    /// The same in one line, with what led to it.
    pub(super) fn text(&self) -> String {
        Failure::from(self.error()).message
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::time::Duration;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_remembered_failure_says_why_and_when_it_is_tried_again() {
        let until = Instant::now() + Duration::from_millis(11_200);
        let error = IssuerError::unavailable("logging in").because(io::Error::other("no route"));
        let failed = Failed::new(error, until, Some(Path::new("/t")), None, Some(Secret::new("s.secret")));
        tokio::time::advance(Duration::from_secs(2)).await;
        assert_eq!(
            failed.text(),
            "the issuer is unavailable: logging in; tried again in 10 s, or when /t has changed: no route"
        );
        let refused = Failed::new(IssuerError::refused("no"), until, None, None, None);
        assert_eq!(refused.text(), "the issuer refuses: no; tried again in 10 s");
    }
}
