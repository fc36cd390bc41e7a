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
//! `files` is a provider of its own: of one certificate that somebody else keeps
//! fresh. `spiffe` is one of those that a SPIFFE agent gives to this process, and an issuer as well.
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
pub mod files;
#[cfg(feature = "in-process")]
pub mod in_process;
pub mod issuer;
#[cfg(feature = "in-process")]
pub mod manager;
#[cfg(feature = "in-process")]
pub mod metrics;
pub mod provider;
pub mod request;
pub mod rotation;
pub mod subject;
#[cfg(feature = "testing")]
pub mod testing;
#[cfg(feature = "in-process")]
pub mod verify;

#[cfg(feature = "spiffe")]
pub mod spiffe;
#[cfg(feature = "vault")]
pub mod vault;

#[cfg(feature = "in-process")]
mod given_certificate;
#[cfg(feature = "in-process")]
mod given_file;
mod names;
mod pem;
#[cfg(feature = "in-process")]
mod profile;
#[cfg(feature = "vault")]
mod secret;
