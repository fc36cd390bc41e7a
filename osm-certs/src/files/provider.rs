//! The provider of the one certificate in files, and the driver that looks at them.

use std::fmt;
use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::sleep;

use super::{CertificateFiles, Contents};
use crate::certificate::{Certified, TrustBundle};
use crate::given_certificate::Fit;
use crate::given_file::Stamp;
use crate::issuer::{Issued, IssuerError};
use crate::manager::Failure;
use crate::provider::{CertificateProvider, CertificateWatch, TrustWatch, WatchSender};
use crate::subject::Subject;

/// How often it is looked at the files.
const PACE: Duration = Duration::from_secs(1);

/// A provider of the certificate in files, for the one subject that it is for. Watches of other
/// subjects never have one. Clones are the same provider.
///
/// ```no_run
/// use osm_certs::files::{CertificateFiles, FilePaths, FileProvider};
/// use osm_certs::provider::CertificateProvider;
/// use osm_certs::subject::Subject;
///
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let files = CertificateFiles::new(FilePaths::in_folder("/var/run/secrets/tls"));
/// let subject = Subject::control_plane(["osm-controller.osm-system.svc".parse()?]);
/// let (provider, driver) = FileProvider::new(files, subject.clone());
/// let driving = tokio::spawn(driver.run());
/// let certified = provider.watch(&subject).ready().await?;
/// # drop((certified, driving));
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct FileProvider(Weak<Shown>);

/// The part of a [`FileProvider`] that looks at the files, for a task of the caller's. When it
/// is dropped, all watches end.
pub struct FileDriver(Arc<Shown>);

/// What is looked at, and what is shown to those who watch.
struct Shown {
    files: CertificateFiles,
    subject: Subject,
    certificate: WatchSender<Certified>,
    trust: WatchSender<TrustBundle>,
    /// For those who watch another subject.
    nothing: WatchSender<Certified>,
    failure: Mutex<Option<Failure>>,
    /// What the files were when they were last good.
    looked: Mutex<Option<[Stamp; 3]>>,
}

impl FileProvider {
    /// A provider of the certificate in these files for a subject, and the driver that does its work.
    #[must_use]
    pub fn new(files: CertificateFiles, subject: Subject) -> (Self, FileDriver) {
        let shown = Arc::new(Shown {
            files,
            subject,
            certificate: WatchSender::new(),
            trust: WatchSender::new(),
            nothing: WatchSender::new(),
            failure: Mutex::new(None),
            looked: Mutex::new(None),
        });
        (Self(Arc::downgrade(&shown)), FileDriver(shown))
    }

    /// Why the files as they are now are not used.
    #[must_use]
    pub fn failure(&self) -> Option<Failure> {
        self.0.upgrade().and_then(|shown| shown.failure.lock().clone())
    }
}

impl CertificateProvider for FileProvider {
    fn watch(&self, subject: &Subject) -> CertificateWatch {
        match self.0.upgrade() {
            Some(shown) if *subject == shown.subject => shown.certificate.watch(),
            Some(shown) => shown.nothing.watch(),
            None => WatchSender::new().watch(),
        }
    }

    fn trust(&self) -> TrustWatch {
        self.0.upgrade().map_or_else(|| WatchSender::new().watch(), |shown| shown.trust.watch())
    }
}

impl FileDriver {
    /// Shows what the files hold until it is dropped.
    pub async fn run(self) {
        loop {
            let shown = Arc::clone(&self.0);
            if let Err(error) = tokio::task::spawn_blocking(move || shown.look()).await {
                tracing::error!(%error, "a look at the certificate's files failed");
            }
            sleep(PACE).await;
        }
    }
}

impl Shown {
    /// Looks once. Blocks.
    fn look(&self) {
        let found = self.files.stamps().ok();
        let ends = self.certificate.current().map(|shown| shown.not_after());
        let serves = ends.is_some_and(|ends| self.files.clock.now() < ends) && self.failure.lock().is_none();
        if serves && found.is_some() && found == *self.looked.lock() {
            return;
        }
        let outcome = self.files.read().and_then(|contents| {
            self.files.check(&self.subject, &contents, Fit::Enough)?;
            self.show(contents)
        });
        let failure = match outcome {
            Ok(stamps) => {
                *self.looked.lock() = Some(stamps);
                None
            }
            Err(error) => Some(Failure::from(error)),
        };
        self.tell(failure);
    }

    /// Shows the roots, then the certificate that leads to them.
    fn show(&self, contents: Contents) -> Result<[Stamp; 3], IssuerError> {
        let Contents { issued: Issued { key, chain }, trust, stamps } = contents;
        if self.trust.current().is_none_or(|shown| *shown != trust) {
            self.trust.publish(Arc::new(trust));
        }
        if self.certificate.current().is_none_or(|shown| *shown.chain() != chain) {
            let certified = Certified::new(self.subject.clone(), chain, key)
                .map_err(|error| IssuerError::unavailable("the certificate cannot be read").because(error))?;
            tracing::info!(subject = %self.subject, serial = certified.serial(), "a certificate was found in its file");
            self.certificate.publish(Arc::new(certified));
        }
        Ok(stamps)
    }

    /// Remembers what is wrong, and says it when it is something else than before.
    fn tell(&self, failure: Option<Failure>) {
        let known = std::mem::replace(&mut *self.failure.lock(), failure.clone());
        match (known, failure) {
            (known, Some(failure)) if known.as_ref() != Some(&failure) => {
                tracing::warn!(subject = %self.subject, error = %failure, "the certificate's files are not used as they are");
            }
            (Some(_), None) => {
                tracing::info!(subject = %self.subject, "the certificate's files are in order again")
            }
            _ => {}
        }
    }
}

impl fmt::Debug for FileProvider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FileProvider").finish_non_exhaustive()
    }
}

impl fmt::Debug for FileDriver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FileDriver").field("files", &self.0.files).finish_non_exhaustive()
    }
}
