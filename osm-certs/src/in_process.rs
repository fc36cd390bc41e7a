//! A certificate authority in this process.
//!
//! Its root is self-signed (ECDSA on P-256 unless [`NewRoot`] says otherwise, ten years, may sign leaves only)
//! and lives in a folder ([`InProcessCa::create_or_load`]) or in memory
//! ([`InProcessCa::ephemeral`]). It may as well be a certificate under a root whose key is kept
//! away ([`InProcessCa::under_root`], or `root.crt` in the folder). What a certificate says is taken from the
//! request's subject; from its certification request only the public key.

mod authority;
mod folder;
mod new_root;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rcgen::{CertificateParams, SerialNumber, SubjectPublicKeyInfo};
use rustls::crypto::aws_lc_rs;
use thiserror::Error;
use time::OffsetDateTime;

pub use folder::{CERTIFICATE_FILE, KEY_FILE, ROOT_FILE};
pub use new_root::{NewRoot, RootAlgorithm};

use crate::certificate::{CertificateChain, InvalidCertificate, PrivateKey, TrustBundle};
use crate::clock::{Clock, SystemClock};
use crate::enrolment::Enrolment;
use crate::issuer::{Issuer, IssuerError, async_trait};
use crate::profile;
use crate::request::SigningRequest;
use crate::subject::Subject;
use crate::verify;
use authority::Authority;

/// How long before its issue a certificate begins to be valid: for readers whose clocks
/// are an hour behind, and an authority whose own is an hour ahead.
pub const BACKDATING: Duration = Duration::from_secs(2 * 60 * 60);
/// How long a new root is valid.
pub const ROOT_VALIDITY: Duration = Duration::from_secs(10 * 365 * 24 * 60 * 60);

/// A certificate authority whose key is in this process.
///
/// ```
/// use std::time::Duration;
/// use osm_certs::enrolment::Enrolment;
/// use osm_certs::in_process::InProcessCa;
/// use osm_certs::issuer::Issuer;
/// use osm_certs::subject::Subject;
///
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let ca = InProcessCa::ephemeral()?;
/// let subject = Subject::Workload("spiffe://cluster.local/till/shop".parse()?);
/// let Enrolment { key, request } = Enrolment::new(subject, Duration::from_secs(3600))?;
/// let chain = ca.sign(&request).await?;
/// # drop((key, chain));
/// # Ok(())
/// # }
/// ```
pub struct InProcessCa {
    authority: Authority,
    clock: Arc<dyn Clock>,
}

/// Why there is no authority.
#[derive(Debug, Error)]
pub enum CaError {
    /// A file or folder can't be used as it should.
    #[error("cannot {action} {}{}", path.display(), advice(source))]
    Storage {
        /// What was tried.
        action: &'static str,
        /// With which file or folder.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// What is in the folder must not be used as it is: a person has to decide.
    #[error("the authority in {} is not used: {reason}", folder.display())]
    Refused {
        /// The folder, or what else it is kept in.
        folder: PathBuf,
        /// What is wrong, and what can be done.
        reason: String,
    },
    /// The cryptography fails: no random numbers, most likely.
    #[error("the authority's key or certificate cannot be made")]
    Cryptography(#[source] rcgen::Error),
    /// The certificate that was made can't be read.
    #[error("the authority's new certificate cannot be used")]
    Certificate(#[source] InvalidCertificate),
}

impl InProcessCa {
    /// Loads the root from a folder (`ca.crt` and `ca.key`, PEM), or makes one and
    /// writes it there if the folder has neither.
    ///
    /// With the file `root.crt`, it signs by a certificate under the root in it: `ca.crt` is that
    /// certificate then, followed by those between it and the root, if there are any. The root's key
    /// need not be anywhere near.
    ///
    /// The folder is made with mode 0700 if it is missing, the key with 0600.
    /// Several processes may do this at once: all get the same root. Blocks on
    /// files; call it before serving, or off the asynchronous threads.
    ///
    /// # Errors
    /// When files can't be read or written (then neither is there if neither was), and
    /// when the pair is not one to be used: one file of the two is missing, they do not belong together, others
    /// may read the key, the certificate is not a self-signed authority's or has
    /// ended. The text says what to do; nothing is overwritten.
    pub fn create_or_load(folder: impl AsRef<Path>) -> Result<Self, CaError> {
        Self::create_or_load_with(folder, Arc::new(SystemClock))
    }

    /// The same by another clock.
    ///
    /// # Errors
    /// As [`create_or_load`](Self::create_or_load).
    pub fn create_or_load_with(folder: impl AsRef<Path>, clock: Arc<dyn Clock>) -> Result<Self, CaError> {
        Self::create_or_load_as(folder, &NewRoot::default(), clock)
    }

    /// The same with a root of another kind, if one is made.
    ///
    /// # Errors
    /// As [`create_or_load`](Self::create_or_load).
    pub fn create_or_load_as(
        folder: impl AsRef<Path>,
        new: &NewRoot,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, CaError> {
        let authority = folder::create_or_load(folder.as_ref(), new, clock.now())?;
        Self { authority, clock }.proven(folder.as_ref())
    }

    /// An authority with a root of its own that ends with it.
    ///
    /// # Errors
    /// When the cryptography fails.
    pub fn ephemeral() -> Result<Self, CaError> {
        Self::ephemeral_with(Arc::new(SystemClock))
    }

    /// The same by another clock.
    ///
    /// # Errors
    /// When the cryptography fails.
    pub fn ephemeral_with(clock: Arc<dyn Clock>) -> Result<Self, CaError> {
        Ok(Self { authority: Authority::new(&NewRoot::default(), clock.now())?, clock })
    }

    /// The same with a root of another kind.
    ///
    /// # Errors
    /// When the cryptography fails, or a permitted name is none.
    pub fn ephemeral_as(new: &NewRoot) -> Result<Self, CaError> {
        let clock = Arc::new(SystemClock);
        Ok(Self { authority: Authority::new(new, clock.now())?, clock })
    }

    /// The authority of a root that is kept somewhere else: its certificate and its
    /// private key, PEM.
    ///
    /// # Errors
    /// When the pair is not one to be used, as
    /// [`create_or_load`](Self::create_or_load) says; `place` is named then.
    pub fn from_pem(certificate: &str, key: &str, place: &str) -> Result<Self, CaError> {
        let clock = Arc::new(SystemClock);
        let authority = Authority::read(certificate, key, clock.now())
            .map_err(|reason| CaError::Refused { folder: place.into(), reason })?;
        Ok(Self { authority, clock })
    }

    /// The authority of a certificate under a root whose key is not here: that certificate and what
    /// leads from it to the root, its private key, and the root, PEM. The root's key can stay
    /// offline; it is needed again before the certificate ends.
    ///
    /// # Errors
    /// When these are none to be used, or what they sign would not lead to the root, which may allow
    /// no certificates of this length or for these usages under it; `place` is named then.
    pub fn under_root(certificates: &str, key: &str, roots: &str, place: &str) -> Result<Self, CaError> {
        let clock = Arc::new(SystemClock);
        let authority = Authority::read_under(certificates, key, roots, clock.now())
            .map_err(|reason| CaError::Refused { folder: place.into(), reason })?;
        Self { authority, clock }.proven(Path::new(place))
    }

    /// Signs for nobody and looks whether that would be believed, where it is not plain.
    fn proven(self, place: &Path) -> Result<Self, CaError> {
        if self.authority.above().is_empty() {
            return Ok(self);
        }
        let believed = || -> Result<(), Box<dyn std::error::Error>> {
            // With a dot in it, it has no name but the URI.
            let nobody = Subject::Workload("spiffe://cluster.local/no.body/nowhere".parse()?);
            let probe = Enrolment::new(nobody, Duration::from_secs(60))?;
            let chain = self.issue(&probe.request)?;
            let roots = self.authority.roots_that_reach()?;
            Ok(verify::leads_to(&chain, &roots, probe.request.usages(), self.clock.now())?)
        };
        match believed() {
            Ok(()) => Ok(self),
            Err(error) => Err(CaError::Refused {
                folder: place.into(),
                reason: format!(
                    "what ca.crt signs would not lead to root.crt ({error}); have the root sign another"
                ),
            }),
        }
    }

    /// The private key that signs, for whoever keeps it.
    ///
    /// # Errors
    /// When it cannot be written down.
    pub fn root_key(&self) -> Result<PrivateKey, CaError> {
        self.authority.key()
    }

    /// The root certificate, as the only one of a bundle unless several were given.
    #[must_use]
    pub fn root(&self) -> &TrustBundle {
        self.authority.bundle()
    }

    fn issue(&self, request: &SigningRequest) -> Result<CertificateChain, IssuerError> {
        let params = self.parameters(request)?;
        let public_key = SubjectPublicKeyInfo::from_der(request.public_key()).map_err(|error| {
            IssuerError::refused("the public key is of a kind that is not known").because(error)
        })?;
        let leaf = params
            .signed_by(&public_key, self.authority.signer())
            .map_err(|error| IssuerError::refused("the certificate cannot be signed").because(error))?;
        let above = self.authority.above().iter().cloned();
        CertificateChain::from_der([leaf.der().clone()].into_iter().chain(above))
            .map_err(|error| IssuerError::refused("the new certificate cannot be read").because(error))
    }

    fn parameters(&self, request: &SigningRequest) -> Result<CertificateParams, IssuerError> {
        let now = self.clock.now();
        if now >= self.authority.not_after() {
            return Err(IssuerError::refused(
                "the authority's certificate has ended; a new one has to be made",
            ));
        }
        let mut params = profile::leaf(request.subject())
            .map_err(|error| IssuerError::refused("the subject's names cannot be written").because(error))?;
        let not_after = now.checked_add(request.validity()).unwrap_or(self.authority.not_after());
        // A leaf outside its authority's life would be refused by everybody.
        params.not_before = whole_seconds((now - BACKDATING).max(self.authority.not_before()));
        params.not_after = whole_seconds(not_after.min(self.authority.not_after()));
        params.serial_number = Some(random_serial()?);
        params.use_authority_key_identifier_extension = true;
        Ok(params)
    }
}

#[async_trait]
impl Issuer for InProcessCa {
    async fn sign(&self, request: &SigningRequest) -> Result<CertificateChain, IssuerError> {
        self.issue(request)
    }

    async fn trust_bundle(&self) -> Result<TrustBundle, IssuerError> {
        Ok(self.authority.bundle().clone())
    }
}

impl fmt::Debug for InProcessCa {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InProcessCa").field("root", self.authority.bundle()).finish_non_exhaustive()
    }
}

/// What to do about an error of a file, where that is known.
fn advice(error: &std::io::Error) -> &'static str {
    use std::io::ErrorKind;
    match error.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => {
            "; free some space there and start again, nothing was changed"
        }
        ErrorKind::ReadOnlyFilesystem => {
            "; make the folder writable until the root is made, or put the two files of a root there"
        }
        ErrorKind::PermissionDenied => "; let the user that this runs as read and write there",
        _ => "",
    }
}

/// 128 bits: the first two are fixed so that the number is positive and always
/// of one length, the others random (RFC 5280, section 4.1.2.2).
fn random_serial() -> Result<SerialNumber, IssuerError> {
    let mut bytes = [0; 16];
    aws_lc_rs::default_provider()
        .secure_random
        .fill(&mut bytes)
        .map_err(|_| IssuerError::unavailable("the system has no random numbers"))?;
    bytes[0] = bytes[0] & 0x3f | 0x40;
    Ok(SerialNumber::from_slice(&bytes))
}

/// X.509 knows no parts of seconds; they are dropped, so that nothing is valid
/// for longer than was asked.
fn whole_seconds(time: SystemTime) -> OffsetDateTime {
    let time = OffsetDateTime::from(time);
    time.replace_nanosecond(0).unwrap_or(time)
}
