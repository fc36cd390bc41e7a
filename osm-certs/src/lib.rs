//! Certificates of a mesh: who issues them, who gives them out, and how they
//! are renewed before they end.
//!
//! Two doors. An [`Issuer`](issuer::Issuer) signs requests: a certificate
//! authority in this process, a remote one, or one of yours. A
//! [`CertificateProvider`](provider::CertificateProvider) gives out
//! certificates that are always fresh: a [`Subject`](subject::Subject) goes in,
//! a watch comes out. The manager makes a provider of any issuer.
//!
//! ```text
//!  Subject ──► CertificateProvider::watch ──► CertificateWatch ──► secret resources, TLS servers
//!                      │ manager: key, request, check, renew at two thirds of the life
//!                      ▼
//!              Issuer::sign(SigningRequest) ──► CertificateChain
//! ```
//!
//! Without the default feature `in-process` only the doors and the values that
//! go through them are here, for those who program against them. Feature
//! `testing` adds a fake issuer, a clock for tests and the kit that checks an issuer.

pub mod certificate;
#[cfg(feature = "in-process")]
pub mod clock;
#[cfg(feature = "in-process")]
pub mod enrolment;
#[cfg(feature = "in-process")]
pub mod in_process;
pub mod issuer;
#[cfg(feature = "in-process")]
pub mod manager;
#[cfg(feature = "in-process")]
pub mod metrics;
pub mod provider;
pub mod request;
pub mod subject;
#[cfg(feature = "testing")]
pub mod testing;
#[cfg(feature = "in-process")]
pub mod verify;

mod names;
mod pem;
#[cfg(feature = "in-process")]
mod profile;
