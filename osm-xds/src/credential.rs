//! What a secret that a proxy was sent holds: read out of its bytes, so that nobody has to note on the way what it is.

use envoy_types::pb::envoy::config::core::v3::DataSource;
use envoy_types::pb::envoy::config::core::v3::data_source::Specifier;
use envoy_types::pb::envoy::extensions::transport_sockets::tls::v3::Secret;
use envoy_types::pb::envoy::extensions::transport_sockets::tls::v3::secret::Type;
use osm_certs::certificate::{CertificateChain, TrustBundle};
use prost::Message;

use crate::resource::{Resource, ResourceKind};

/// What a secret holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Credential {
    /// Authorities that are trusted.
    Trust(TrustBundle),
    /// A certificate, whose key is left out.
    Certificate(CertificateChain),
}

impl Credential {
    /// Reads a secret as it is written here; `None` for any other resource.
    #[must_use]
    pub fn read(resource: &Resource) -> Option<Self> {
        if resource.key.kind != ResourceKind::Secret {
            return None;
        }
        let text = |source: Option<DataSource>| match source?.specifier? {
            Specifier::InlineString(text) => Some(text),
            _ => None,
        };
        match Secret::decode(&*resource.body).ok()?.r#type? {
            Type::ValidationContext(validation) => {
                TrustBundle::from_pem(&text(validation.trusted_ca)?).ok().map(Self::Trust)
            }
            Type::TlsCertificate(certificate) => {
                CertificateChain::from_pem(&text(certificate.certificate_chain)?).ok().map(Self::Certificate)
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use osm_certs::in_process::InProcessCa;
    use osm_certs::issuer::Issuer;
    use osm_core::diagnostic::Origin;
    use osm_core::ir::{Access, InboundAccess, InboundService, Tls};
    use osm_core::model::Protocol;
    use proptest::prelude::*;
    use proptest::test_runner::TestRunner;

    use super::*;
    use crate::generate::{certificate_secret, trust_secret, validation_secret};
    use crate::resource::{ResourceKey, ResourceName};

    async fn bundle() -> TrustBundle {
        InProcessCa::ephemeral().expect("an authority").trust_bundle().await.expect("its root")
    }

    fn with_body(body: impl Into<Bytes>) -> Resource {
        let key = ResourceKey::new(ResourceKind::Secret, ResourceName::new("s"));
        Resource::new(key, body.into(), Vec::new(), Vec::new())
    }

    #[tokio::test]
    async fn what_is_written_is_read() {
        let (one, other) = (bundle().await, bundle().await);
        let both = TrustBundle::from_der([one.der(), other.der()].concat()).expect("certificates");
        assert_eq!(Credential::read(&trust_secret(both.pem())), Some(Credential::Trust(both.clone())));
        let chain = CertificateChain::from_pem(one.pem()).expect("a chain");
        let secret = certificate_secret(chain.pem(), "a key");
        assert_eq!(Credential::read(&secret), Some(Credential::Certificate(chain)));
        let service = InboundService {
            service: "shop/store".parse().expect("a name"),
            target_port: 80.try_into().expect("not 0"),
            protocol: Protocol::Tcp,
            server_name: "store.shop.svc.cluster.local".into(),
            tls: Tls { settings: Default::default(), origin: Origin::Default("TLS") },
            member_names: Default::default(),
            access: InboundAccess::Tcp(Access::Everyone(Origin::Default("permissive"))),
            origin: Origin::Default("a service"),
        };
        let secret = validation_secret(&service, both.pem()).expect("somebody may connect");
        assert_eq!(Credential::read(&secret), Some(Credential::Trust(both)));
    }

    #[tokio::test]
    async fn what_is_no_secret_of_certificates_is_not_read() {
        let secret = trust_secret(bundle().await.pem());
        let key = ResourceKey::new(ResourceKind::Cluster, ResourceName::new("s"));
        let of_another_kind = Resource::new(key, secret.body.clone(), Vec::new(), Vec::new());
        assert_eq!(Credential::read(&of_another_kind), None);
        for body in [&b""[..], b"\xff\xff\xff", &secret.body[..secret.body.len() / 2]] {
            assert_eq!(Credential::read(&with_body(body.to_vec())), None);
        }
        for pem in ["", "no certificate", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"] {
            assert_eq!(Credential::read(&trust_secret(pem)), None, "{pem:?}");
            assert_eq!(Credential::read(&certificate_secret(pem, "a key")), None, "{pem:?}");
        }
    }

    #[tokio::test]
    async fn hostile_bytes_are_no_reason_to_panic() {
        let bundle = bundle().await;
        let good = [trust_secret(bundle.pem()), certificate_secret(bundle.pem(), "a key")];
        // Cut short, or with another byte in it: one of the message, of the text, or of the certificate in that.
        let changes = (
            any::<prop::sample::Index>(),
            any::<u8>(),
            any::<bool>(),
            prop::collection::vec(any::<u8>(), 0..200),
        );
        let mut runner = TestRunner::new(ProptestConfig { cases: 2000, ..ProptestConfig::default() });
        let run = runner.run(&changes, |(place, byte, is_cut, other)| {
            drop(Credential::read(&with_body(other)));
            for good in &good {
                let mut body = good.body.to_vec();
                let place = place.index(body.len());
                body[place] = byte;
                body.truncate(if is_cut { place } else { body.len() });
                drop(Credential::read(&with_body(body)));
            }
            Ok(())
        });
        run.expect("it reads or it does not");
    }
}
