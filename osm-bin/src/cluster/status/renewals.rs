//! Certificates that can't be renewed, told in Events.

use osm_certs::manager::CertificateManager;
use osm_k8s::ApiClient;
use osm_k8s::lease::LeaseWatch;
use osm_k8s::pod_events::{OwnPod, PodEvents, Trouble};

/// Tells for ever of certificates that can't be made or renewed, while the lease is held. Outside of a
/// pod there is nobody to tell.
pub(super) async fn tell(
    pod: Option<(OwnPod, ApiClient)>,
    held: LeaseWatch,
    certificates: CertificateManager,
) {
    match pod {
        Some((pod, server)) => {
            PodEvents::new(server, pod).follow(held, move || failed_renewal(&certificates)).await;
        }
        None => std::future::pending().await,
    }
}

/// What is wrong with the first certificate that can't be made or renewed.
fn failed_renewal(certificates: &CertificateManager) -> Option<Trouble> {
    if let Some(failure) = certificates.trust_failure() {
        let text = format!("the roots of the mesh can't be read: {failure}");
        return Some(Trouble { subject: "roots".to_owned(), text });
    }
    let statuses = certificates.statuses().into_iter();
    let mut failed = statuses.filter_map(|status| Some((status.subject, status.failure?)));
    failed.next().map(|(subject, failure)| Trouble {
        text: format!("the certificate of {subject} can't be renewed: {failure}"),
        subject: subject.to_string(),
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use osm_certs::certificate::{CertificateChain, TrustBundle};
    use osm_certs::in_process::InProcessCa;
    use osm_certs::issuer::{Issuer, IssuerError, async_trait};
    use osm_certs::manager::ManagerOptions;
    use osm_certs::provider::CertificateProvider;
    use osm_certs::request::SigningRequest;
    use osm_certs::subject::Subject;

    use super::*;
    use crate::testing::eventually;

    /// An authority that signs nothing.
    struct Unwilling(InProcessCa);

    #[async_trait]
    impl Issuer for Unwilling {
        async fn sign(&self, _: &SigningRequest) -> Result<CertificateChain, IssuerError> {
            Err(IssuerError::refused("it signs nothing today"))
        }

        async fn trust_bundle(&self) -> Result<TrustBundle, IssuerError> {
            self.0.trust_bundle().await
        }
    }

    #[tokio::test]
    async fn a_certificate_that_cannot_be_renewed_is_named_with_the_reason() {
        let issuer = Arc::new(Unwilling(InProcessCa::ephemeral().expect("an authority")));
        let (certificates, driver) = CertificateManager::new(issuer, ManagerOptions::default());
        assert_eq!(failed_renewal(&certificates), None);
        let _watch = certificates.watch(&Subject::control_plane(["osm.example".parse().expect("a name")]));
        let Trouble { subject, text } = tokio::select! {
            () = driver.run() => panic!("it runs for ever"),
            trouble = eventually("a failure", || failed_renewal(&certificates)) => trouble,
        };
        assert!(
            subject.contains("osm.example")
                && text.contains("osm.example")
                && text.contains("it signs nothing today"),
            "{text}"
        );
    }
}
