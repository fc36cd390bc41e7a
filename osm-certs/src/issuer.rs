//! Who signs certificates: the door [`Issuer`], and [`KeyMaker`] behind it for those that make keys too.

use std::error::Error;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

pub use async_trait::async_trait;
use osm_core::model::ServiceKey;

use crate::certificate::{CertificateChain, PrivateKey, TrustBundle};
use crate::request::SigningRequest;
use crate::subject::Subject;

/// A certificate authority, here or elsewhere.
///
/// The manager calls [`sign`](Self::sign) when a subject is first asked for and
/// again at two thirds of each certificate's life, from one task but with
/// several calls under way at once (8 unless configured), and
/// [`trust_bundle`](Self::trust_bundle) at the start and every few minutes. It
/// may drop a call at any await point, after its own time-out for example; the
/// issuer must be usable afterwards. It checks every answer and publishes none
/// that does not serve.
///
/// What an error means is said by its kind: [`IssuerError::Unavailable`] is tried again soon, with
/// growing waits, while the old certificate serves; [`IssuerError::Refused`] is reported
/// to people and tried again rarely.
///
/// The kit in `osm_certs::testing::conformance` checks an implementation.
///
/// ```
/// use osm_certs::certificate::{CertificateChain, TrustBundle};
/// use osm_certs::issuer::{Issuer, IssuerError, async_trait};
/// use osm_certs::request::SigningRequest;
///
/// /// Signs nothing, on principle.
/// struct Stubborn(TrustBundle);
///
/// #[async_trait]
/// impl Issuer for Stubborn {
///     async fn sign(&self, request: &SigningRequest) -> Result<CertificateChain, IssuerError> {
///         Err(IssuerError::refused(format!("{} is not on the list", request.subject())))
///     }
///     async fn trust_bundle(&self) -> Result<TrustBundle, IssuerError> {
///         Ok(self.0.clone())
///     }
/// }
/// ```
#[async_trait]
pub trait Issuer: Send + Sync + 'static {
    /// Certifies the request's public key: for exactly the names of its subject,
    /// for its usages, for no longer than its validity.
    ///
    /// The chain leads from the new certificate to a root of
    /// [`trust_bundle`](Self::trust_bundle), which itself need not be in it.
    ///
    /// # Errors
    /// When the issuer can't answer now, or won't.
    async fn sign(&self, request: &SigningRequest) -> Result<CertificateChain, IssuerError>;

    /// The roots that certificates of this issuer lead to.
    ///
    /// # Errors
    /// When the issuer can't answer now, or won't.
    async fn trust_bundle(&self) -> Result<TrustBundle, IssuerError>;

    /// The same issuer, if keys are made where its certificates are. Then
    /// [`make_of_kind`](KeyMaker::make_of_kind) is called wherever [`sign`](Self::sign) would be. Nearly no issuer is
    /// one: a key that does not travel can't be read on the way.
    fn key_maker(&self) -> Option<&dyn KeyMaker> {
        None
    }

    /// Whether [`key_maker`](Self::key_maker) is to be asked for this subject. Only an issuer that hands on to several others
    /// has to say.
    fn makes_keys_for(&self, _subject: &Subject) -> bool {
        self.key_maker().is_some()
    }
}

/// An issuer that gives keys with its certificates: one that insists on making them, or one that
/// hands on what somebody else has made. All that [`Issuer`] says holds for it.
#[async_trait]
pub trait KeyMaker: Send + Sync {
    /// A certificate for a subject, valid for so long at most, and its key.
    ///
    /// # Errors
    /// As [`Issuer::sign`]; refused too when this subject is none that there is a certificate for.
    async fn make(&self, subject: &Subject, validity: Duration) -> Result<Issued, IssuerError>;

    /// The same where the mesh wishes keys of a kind, as the manager asks. Who makes keys makes such
    /// a one or refuses; who hands on those of somebody else has no say in it.
    ///
    /// # Errors
    /// As [`make`](Self::make).
    async fn make_of_kind(
        &self,
        subject: &Subject,
        validity: Duration,
        kind: ServiceKey,
    ) -> Result<Issued, IssuerError> {
        let _ = kind;
        self.make(subject, validity).await
    }
}

/// A certificate and the key that it is for.
#[derive(Debug, Clone)]
pub struct Issued {
    /// The leaf's private key.
    pub key: PrivateKey,
    /// The certificates, leaf first.
    pub chain: CertificateChain,
}

#[async_trait]
impl<I: Issuer + ?Sized> Issuer for Arc<I> {
    async fn sign(&self, request: &SigningRequest) -> Result<CertificateChain, IssuerError> {
        (**self).sign(request).await
    }

    async fn trust_bundle(&self) -> Result<TrustBundle, IssuerError> {
        (**self).trust_bundle().await
    }

    fn key_maker(&self) -> Option<&dyn KeyMaker> {
        (**self).key_maker()
    }

    fn makes_keys_for(&self, subject: &Subject) -> bool {
        (**self).makes_keys_for(subject)
    }
}

/// What led to an error.
type Source = Box<dyn Error + Send + Sync>;

/// Why there is no certificate, by who can act.
#[derive(Debug)]
pub enum IssuerError {
    /// The issuer can't answer now: waiting may help.
    Unavailable {
        /// What was tried, and with whom.
        message: String,
        /// What went wrong beneath.
        source: Option<Source>,
    },
    /// The issuer won't: a person has to change the request, the issuer's
    /// settings or its permissions.
    Refused {
        /// What is wrong, and where it can be changed.
        message: String,
        /// What went wrong beneath.
        source: Option<Source>,
    },
}

impl IssuerError {
    /// The issuer can't answer now.
    pub fn unavailable(message: impl Into<String>) -> Self {
        Self::Unavailable { message: message.into(), source: None }
    }

    /// The issuer won't.
    pub fn refused(message: impl Into<String>) -> Self {
        Self::Refused { message: message.into(), source: None }
    }

    /// The same with what went wrong beneath.
    #[must_use]
    pub fn because(self, error: impl Into<Source>) -> Self {
        let source = Some(error.into());
        match self {
            Self::Unavailable { message, .. } => Self::Unavailable { message, source },
            Self::Refused { message, .. } => Self::Refused { message, source },
        }
    }
}

impl fmt::Display for IssuerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unavailable { message, .. } => write!(f, "the issuer is unavailable: {message}"),
            Self::Refused { message, .. } => write!(f, "the issuer refuses: {message}"),
        }
    }
}

impl Error for IssuerError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Unavailable { source, .. } | Self::Refused { source, .. } => {
                source.as_deref().map(|source| source as _)
            }
        }
    }
}
