//! Certificates that somebody else puts into files: SPIRE's helper, cert-manager's driver for
//! volumes, a Secret that is mounted, a person.
//!
//! There is one certificate with its key, and so one subject; nothing is signed for others. Who
//! needs that certificate takes a [`FileProvider`], which looks at the files every second and
//! shows what is whole and serves. [`CertificateFiles`] is the same for the manager, as an issuer
//! that gives keys.
//!
//! Files are believed no more than an issuer is: the key has to be the certificate's, the names the
//! subject's, and the chain has to lead to the bundle. What is not so changes nothing: the last
//! good ones stay, and the error names the file.

mod provider;

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

pub use provider::{FileDriver, FileProvider};

use crate::certificate::{CertificateChain, Leaf, PrivateKey, TrustBundle};
use crate::clock::{Clock, SystemClock};
use crate::given_certificate::{self, Fit};
use crate::given_file::{self, Stamp};
use crate::issuer::{Issued, Issuer, IssuerError, KeyMaker, async_trait};
use crate::request::SigningRequest;
use crate::subject::Subject;
use crate::verify::{self, Unusable};

/// How often files that are being replaced are read again at once.
const ATTEMPTS: u32 = 3;

/// Where the three files are. All are PEM.
///
/// ```
/// use osm_certs::files::FilePaths;
///
/// let paths = FilePaths::in_folder("/var/run/secrets/tls");
/// assert!(paths.certificate.ends_with("tls.crt"));
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FilePaths {
    /// The certificate and what leads from it towards a root, leaf first.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
    /// The roots of trust.
    pub bundle: PathBuf,
}

impl FilePaths {
    /// The names that files of a Kubernetes Secret for TLS have: `tls.crt`, `tls.key` and `ca.crt`.
    #[must_use]
    pub fn in_folder(folder: impl AsRef<Path>) -> Self {
        let at = |name: &str| folder.as_ref().join(name);
        Self { certificate: at("tls.crt"), key: at("tls.key"), bundle: at("ca.crt") }
    }
}

/// A certificate, its key and the roots of trust in files, as an issuer for the one subject that
/// they are for. It refuses all others, and signs nothing. Clones are the same.
///
/// Under a manager a replaced file is noticed when the certificate is to be renewed; a
/// [`FileProvider`] notices it at once.
#[derive(Clone)]
pub struct CertificateFiles {
    paths: Arc<FilePaths>,
    clock: Arc<dyn Clock>,
}

/// What the files hold, all read at one time.
struct Contents {
    issued: Issued,
    trust: TrustBundle,
    stamps: [Stamp; 3],
}

impl CertificateFiles {
    /// The certificate in these files. Nothing is read yet.
    #[must_use]
    pub fn new(paths: FilePaths) -> Self {
        Self { paths: Arc::new(paths), clock: Arc::new(SystemClock) }
    }

    /// With another clock.
    #[must_use]
    pub fn with_clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// What is at the paths now, without reading it. Blocks.
    fn stamps(&self) -> io::Result<[Stamp; 3]> {
        let FilePaths { certificate, key, bundle } = &*self.paths;
        Ok([given_file::stamp(certificate)?, given_file::stamp(key)?, given_file::stamp(bundle)?])
    }

    /// Reads all files, so that they belong to each other. Blocks.
    fn read(&self) -> Result<Contents, IssuerError> {
        let FilePaths { certificate, key, bundle } = &*self.paths;
        for _ in 0..ATTEMPTS {
            let (chain, leaf) = text(certificate)?;
            let (secret, key_stamp) = text(key)?;
            let (roots, bundle_stamp) = text(bundle)?;
            let stamps = [leaf, key_stamp, bundle_stamp];
            if !self.stamps().is_ok_and(|now| now == stamps) {
                continue;
            }
            let chain =
                CertificateChain::from_pem(&chain).map_err(|error| garbage(certificate).because(error))?;
            let key = PrivateKey::from_pem(&secret).map_err(|error| garbage(key).because(error))?;
            let trust = TrustBundle::from_pem(&roots).map_err(|error| garbage(bundle).because(error))?;
            return Ok(Contents { issued: Issued { key, chain }, trust, stamps });
        }
        let folder = certificate.display();
        Err(IssuerError::unavailable(format!("{folder} and its key are being replaced again and again")))
    }

    /// Whether the certificate ends when it has to.
    fn check_life(&self, leaf: &Leaf, validity: Duration) -> Result<(), IssuerError> {
        if verify::ends_in_time(leaf.not_after, validity, self.clock.now()) {
            return Ok(());
        }
        Err(IssuerError::refused(format!(
            "{} lives for longer than the {} s that are asked for: ask for as much as it lives, or take it \
             by a FileProvider, which asks for nothing",
            self.paths.certificate.display(),
            validity.as_secs()
        )))
    }

    /// The certificate, when what the files hold serves a subject.
    fn check(&self, subject: &Subject, contents: &Contents, fit: Fit) -> Result<Leaf, IssuerError> {
        let FilePaths { certificate, key, bundle } = &*self.paths;
        let Issued { key: secret, chain } = &contents.issued;
        let leaf = Leaf::read(&chain.der()[0]).map_err(|error| garbage(certificate).because(error))?;
        let is_key = given_certificate::is_key_of(secret, &leaf);
        if !is_key.map_err(|error| garbage(key).because(error))? {
            let (key, certificate) = (key.display(), certificate.display());
            return Err(IssuerError::unavailable(format!("{key} is not the key of {certificate}")));
        }
        given_certificate::check_names(subject, &leaf, fit).map_err(|error| {
            IssuerError::refused(format!("{} is not for {subject}", certificate.display())).because(error)
        })?;
        let now = self.clock.now();
        let serves = verify::check_service(&leaf, chain, &contents.trust, subject.usages(), now);
        serves.map_err(|error| {
            let message = match &error {
                Unusable::UnknownRoot => {
                    format!("{} does not lead to {}", certificate.display(), bundle.display())
                }
                _ => format!("{} does not serve", certificate.display()),
            };
            match error {
                Unusable::OtherUsage(_) => IssuerError::refused(message).because(error),
                _ => IssuerError::unavailable(message).because(error),
            }
        })?;
        Ok(leaf)
    }
}

#[async_trait]
impl Issuer for CertificateFiles {
    async fn sign(&self, _: &SigningRequest) -> Result<CertificateChain, IssuerError> {
        let file = self.paths.certificate.display();
        Err(IssuerError::refused(format!(
            "the certificate in {file} has a key of its own; nothing else is signed"
        )))
    }

    async fn trust_bundle(&self) -> Result<TrustBundle, IssuerError> {
        let bundle = &self.paths.bundle;
        let read = given_file::read_later(bundle.clone()).await;
        let (_, text) = read.map_err(|error| unreadable(bundle).because(error))?;
        TrustBundle::from_pem(&text).map_err(|error| garbage(bundle).because(error))
    }

    fn key_maker(&self) -> Option<&dyn KeyMaker> {
        Some(self)
    }
}

#[async_trait]
impl KeyMaker for CertificateFiles {
    async fn make(&self, subject: &Subject, validity: Duration) -> Result<Issued, IssuerError> {
        let (files, subject) = (self.clone(), subject.clone());
        let read = tokio::task::spawn_blocking(move || {
            let contents = files.read()?;
            let leaf = files.check(&subject, &contents, Fit::Exact)?;
            files.check_life(&leaf, validity)?;
            Ok(contents.issued)
        });
        read.await.map_err(|error| IssuerError::unavailable("the files cannot be read").because(error))?
    }
}

impl fmt::Debug for CertificateFiles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CertificateFiles").field("paths", &self.paths).finish_non_exhaustive()
    }
}

fn text(path: &Path) -> Result<(zeroize::Zeroizing<String>, Stamp), IssuerError> {
    let (stamp, text) = given_file::read(path).map_err(|error| unreadable(path).because(error))?;
    Ok((text, stamp))
}

fn unreadable(path: &Path) -> IssuerError {
    IssuerError::unavailable(format!("{} cannot be read", path.display()))
}

fn garbage(path: &Path) -> IssuerError {
    IssuerError::unavailable(format!("{} holds something else than it should", path.display()))
}
