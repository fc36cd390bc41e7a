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
//! go through them are here, for those who program against them.

pub mod certificate;
pub mod issuer;
pub mod provider;
pub mod request;
pub mod subject;

mod names;
mod pem;
