//! Where certificates come from, for those who need one: the door
//! [`CertificateProvider`] and the watches that come out of it.

use std::sync::Arc;

use thiserror::Error;
use tokio::sync::watch;

use crate::certificate::{Certified, TrustBundle};
use crate::subject::Subject;

/// A provider of certificates that are always fresh.
///
/// Asked once for each subject that has a reader, from any task; it answers at
/// once, and what it answers with is filled when there is a certificate. It never
/// fails: an issuer that is away shows as a watch without a value, or with the
/// last one. Dropping the last watch of a subject says that nobody needs it any
/// more.
///
/// ```
/// use std::sync::Arc;
/// use osm_certs::certificate::{Certified, TrustBundle};
/// use osm_certs::provider::{CertificateProvider, CertificateWatch, TrustWatch, Watch};
/// use osm_certs::subject::Subject;
///
/// /// One certificate for everybody, made by somebody else.
/// struct Same(Arc<Certified>, Arc<TrustBundle>);
///
/// impl CertificateProvider for Same {
///     fn watch(&self, _: &Subject) -> CertificateWatch {
///         Watch::still(Arc::clone(&self.0))
///     }
///     fn trust(&self) -> TrustWatch {
///         Watch::still(Arc::clone(&self.1))
///     }
/// }
/// ```
pub trait CertificateProvider: Send + Sync + 'static {
    /// A watch on the certificate of a subject.
    fn watch(&self, subject: &Subject) -> CertificateWatch;

    /// A watch on the roots that certificates of this provider lead to.
    ///
    /// A root is shown here before a certificate that needs it.
    fn trust(&self) -> TrustWatch;
}

impl<P: CertificateProvider + ?Sized> CertificateProvider for Arc<P> {
    fn watch(&self, subject: &Subject) -> CertificateWatch {
        (**self).watch(subject)
    }

    fn trust(&self) -> TrustWatch {
        (**self).trust()
    }
}

/// A watch on the newest certificate of one subject.
pub type CertificateWatch = Watch<Certified>;

/// A watch on the newest roots of trust.
pub type TrustWatch = Watch<TrustBundle>;

/// No other value will follow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("the provider has ended")]
pub struct WatchEnded;

/// A reader's view of a value that is replaced now and then; there may be none yet.
#[derive(Debug)]
pub struct Watch<T>(watch::Receiver<Option<Arc<T>>>);

/// The hand that writes what a [`Watch`] shows.
#[derive(Debug)]
pub struct WatchSender<T>(watch::Sender<Option<Arc<T>>>);

impl<T> Watch<T> {
    /// A watch on a value that never changes. It has ended from the start.
    #[must_use]
    pub fn still(value: Arc<T>) -> Self {
        Self(watch::channel(Some(value)).1)
    }

    /// The newest value; `None` if there is none yet.
    #[must_use]
    pub fn current(&self) -> Option<Arc<T>> {
        self.0.borrow().clone()
    }

    /// Waits until the value was replaced since the watch was made or since this
    /// last returned. Values in between are skipped. Cancel safe.
    ///
    /// # Errors
    /// When no other value can follow.
    pub async fn changed(&mut self) -> Result<(), WatchEnded> {
        self.0.changed().await.map_err(|_| WatchEnded)
    }

    /// Waits until there is a value, and gives the newest, which [`changed`](Self::changed)
    /// then does not tell again. Cancel safe.
    ///
    /// # Errors
    /// When there is none and none can follow.
    pub async fn ready(&mut self) -> Result<Arc<T>, WatchEnded> {
        loop {
            if let Some(value) = self.0.borrow_and_update().clone() {
                return Ok(value);
            }
            self.changed().await?;
        }
    }
}

impl<T> Clone for Watch<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T> WatchSender<T> {
    /// A sender whose watches have no value yet.
    #[must_use]
    pub fn new() -> Self {
        Self(watch::Sender::new(None))
    }

    /// Shows a value to all watches.
    pub fn publish(&self, value: Arc<T>) {
        self.0.send_replace(Some(value));
    }

    /// The value that is shown.
    #[must_use]
    pub fn current(&self) -> Option<Arc<T>> {
        self.0.borrow().clone()
    }

    /// One more watch.
    #[must_use]
    pub fn watch(&self) -> Watch<T> {
        Watch(self.0.subscribe())
    }

    /// How many watches there are.
    #[must_use]
    pub fn watches(&self) -> usize {
        self.0.receiver_count()
    }
}

impl<T> Default for WatchSender<T> {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_watch_shows_the_newest_and_ends_with_its_sender() {
        let sender = WatchSender::new();
        let mut watch = sender.watch();
        assert_eq!((watch.current(), sender.watches()), (None, 1));
        sender.publish(Arc::new(1));
        sender.publish(Arc::new(2));
        watch.changed().await.expect("it changed");
        assert_eq!(watch.current().as_deref(), Some(&2));
        drop(sender);
        assert_eq!(watch.changed().await, Err(WatchEnded));
        assert_eq!(watch.ready().await.as_deref(), Ok(&2));
    }

    #[tokio::test]
    async fn a_still_watch_has_its_value_and_no_other() {
        let mut watch = Watch::still(Arc::new("a"));
        assert_eq!(watch.current().as_deref(), Some(&"a"));
        assert_eq!(watch.changed().await, Err(WatchEnded));
    }
}
