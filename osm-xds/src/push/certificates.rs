//! The certificates that are being watched, one for each identity with proxies.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures::FutureExt;
use futures::future::{AbortHandle, BoxFuture, abortable, pending};
use futures::stream::{FuturesUnordered, StreamExt};
use osm_certs::certificate::Certified;
use osm_certs::provider::CertificateWatch;
use osm_core::identity::ServiceIdentity;

/// Watches of certificates that come to notice when they change.
#[derive(Default)]
pub(super) struct Certificates {
    watched: BTreeMap<ServiceIdentity, AbortHandle>,
    /// Nothing comes of one that ended: what it showed last stays in force.
    changes: FuturesUnordered<BoxFuture<'static, Option<Change>>>,
}

struct Change {
    identity: ServiceIdentity,
    watch: CertificateWatch,
}

impl Certificates {
    /// Watches the certificate of an identity, and gives the one that is there already.
    pub(super) fn watch(
        &mut self,
        identity: ServiceIdentity,
        watch: CertificateWatch,
    ) -> Option<Arc<Certified>> {
        let certified = watch.current();
        self.wait(identity, watch);
        certified
    }

    /// Ends a watch, if there is one.
    pub(super) fn forget(&mut self, identity: &ServiceIdentity) {
        if let Some(handle) = self.watched.remove(identity) {
            handle.abort();
        }
    }

    /// Waits for the next certificate, if need be for ever. Cancel safe.
    pub(super) async fn next(&mut self) -> (ServiceIdentity, Arc<Certified>) {
        loop {
            match self.changes.next().await {
                Some(Some(Change { identity, watch })) => {
                    if let Some(certified) = self.watch(identity.clone(), watch) {
                        return (identity, certified);
                    }
                }
                Some(None) => {}
                None => pending().await,
            }
        }
    }

    fn wait(&mut self, identity: ServiceIdentity, mut watch: CertificateWatch) {
        let name = identity.clone();
        let changed = async move {
            watch.changed().await.ok()?;
            Some(Change { identity, watch })
        };
        let (changed, handle) = abortable(changed);
        self.watched.insert(name, handle);
        self.changes.push(changed.map(|change| change.ok().flatten()).boxed());
    }
}
