//! The certificates that are being watched, for each identity with proxies.

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
    watched: BTreeMap<ServiceIdentity, Watched>,
    next: u64,
    /// Nothing comes of one that ended: what it showed last stays in force.
    changes: FuturesUnordered<BoxFuture<'static, Option<Change>>>,
}

/// The watches of one identity.
struct Watched {
    newest: Waiting,
    /// Those of names that it had before, as long as nothing was shown of the newest: what proxies have is one of these.
    former: Vec<Waiting>,
}

struct Waiting {
    number: u64,
    handle: AbortHandle,
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.handle.abort();
    }
}

struct Change {
    identity: ServiceIdentity,
    number: u64,
    watch: CertificateWatch,
}

impl Certificates {
    /// Watches the certificate of an identity from now on, and gives the one that is there already. One that was watched
    /// before goes on until something of this one is shown.
    pub(super) fn watch(
        &mut self,
        identity: ServiceIdentity,
        watch: CertificateWatch,
    ) -> Option<Arc<Certified>> {
        let certified = watch.current();
        self.next += 1;
        let number = self.next;
        let newest = self.wait(identity.clone(), number, watch);
        let before = self.watched.remove(&identity).filter(|_| certified.is_none());
        let former = before.map(|Watched { newest, mut former }| {
            former.push(newest);
            former
        });
        self.watched.insert(identity, Watched { newest, former: former.unwrap_or_default() });
        certified
    }

    /// Ends all watches of an identity, if there are any.
    pub(super) fn forget(&mut self, identity: &ServiceIdentity) {
        self.watched.remove(identity);
    }

    /// Waits for the next certificate, if need be for ever. Cancel safe.
    pub(super) async fn next(&mut self) -> (ServiceIdentity, Arc<Certified>) {
        loop {
            match self.changes.next().await {
                Some(Some(Change { identity, number, watch })) => {
                    if let Some(certified) = self.go_on(&identity, number, watch) {
                        return (identity, certified);
                    }
                }
                Some(None) => {}
                None => pending().await,
            }
        }
    }

    /// Waits for what a watch shows after this.
    fn go_on(
        &mut self,
        identity: &ServiceIdentity,
        number: u64,
        watch: CertificateWatch,
    ) -> Option<Arc<Certified>> {
        let certified = watch.current();
        let waiting = self.wait(identity.clone(), number, watch);
        let watched = self.watched.get_mut(identity)?;
        if watched.newest.number == number {
            watched.newest = waiting;
            if certified.is_some() {
                watched.former.clear();
            }
            return certified;
        }
        // It was let go of after it had changed.
        let former = watched.former.iter_mut().find(|former| former.number == number)?;
        *former = waiting;
        certified
    }

    fn wait(&mut self, identity: ServiceIdentity, number: u64, mut watch: CertificateWatch) -> Waiting {
        let changed = async move {
            watch.changed().await.ok()?;
            Some(Change { identity, number, watch })
        };
        let (changed, handle) = abortable(changed);
        self.changes.push(changed.map(|change| change.ok().flatten()).boxed());
        Waiting { number, handle }
    }
}
