//! Replicas tell each other which proxies they have, so that the one that writes statuses
//! counts those of all.

use std::time::Duration;

use osm_k8s::replicas::{BELIEVED, Replicas, Untold};
use osm_k8s::status::INTERVAL;
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};

use super::fleet::Fleet;

/// How long a replica that ends takes to say so.
const LEAVE_BOUND: Duration = Duration::from_secs(2);

/// The proxies of the other replicas; `None` while they are not known.
pub(super) type Others = watch::Receiver<Option<Fleet>>;

/// A replica's part in it. It listens whether or not it holds the lease: it may have to count
/// at any moment.
pub(super) struct Exchange<F> {
    replicas: Replicas,
    /// The own proxies.
    connected: F,
    others: watch::Sender<Option<Fleet>>,
    /// When the others were heard last.
    heard: Instant,
    /// What was last said of a failure, so that it is said once.
    failure: Option<String>,
}

impl<F: FnMut() -> Fleet> Exchange<F> {
    /// A part in it, for a replica that has these proxies, and those of the others.
    pub(super) fn new(replicas: Replicas, connected: F) -> (Self, Others) {
        let (others, watch) = watch::channel(None);
        (Self { replicas, connected, others, heard: Instant::now(), failure: None }, watch)
    }

    /// Tells and hears for ever.
    pub(super) async fn run(&mut self) {
        let mut ticks = interval(INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let failure = self.round().await.err().map(|error| format!("{:#}", anyhow::Error::from(error)));
            if failure != self.failure {
                if let Some(error) = &failure {
                    tracing::warn!(
                        error,
                        "replicas can't tell each other of their proxies: statuses count some only"
                    );
                }
                self.failure = failure;
            }
        }
    }

    /// Who can't be told can be heard, and the other way round.
    async fn round(&mut self) -> Result<(), Untold> {
        let text = (self.connected)().to_text();
        let told = self.replicas.tell(&text).await;
        let heard = self.hear().await;
        told.and(heard)
    }

    async fn hear(&mut self) -> Result<(), Untold> {
        match self.replicas.told().await {
            Ok(texts) => {
                let mut others = Fleet::default();
                texts.iter().for_each(|text| others.add(&Fleet::of_text(text)));
                self.others.send_replace(Some(others));
                self.heard = Instant::now();
                Ok(())
            }
            Err(error) => {
                // What they said is not believed for ever. Who may not hear them says what the own
                // proxies have; where nobody answers, nothing could be written either.
                if self.heard.elapsed() >= BELIEVED {
                    self.others.send_replace(error.is_refusal().then(Fleet::default));
                }
                Err(error)
            }
        }
    }

    /// Says that this replica is not there any more.
    pub(super) async fn leave(self) {
        // What is not said is found out after a while.
        let left = timeout(LEAVE_BOUND, self.replicas.leave()).await;
        if !matches!(left, Ok(Ok(()))) {
            tracing::debug!("the others could not be told that this replica ends");
        }
    }
}

#[cfg(test)]
mod tests {
    use axum::http::{Method, StatusCode};
    use osm_core::name::{Kind, ObjectRef};
    use osm_k8s::replicas::Topic;

    use super::super::fleet::tests::{identity, proxy};
    use super::*;
    use crate::testing::ApiServer;

    /// A replica with a proxy of one account.
    fn replica(server: &ApiServer, name: &str) -> (Exchange<impl FnMut() -> Fleet>, Others) {
        let namespace = "osm-system".parse().expect("a name");
        let replicas = Replicas::new(server.client(), namespace, Topic::Proxies, name);
        let account = format!("shop/{name}");
        Exchange::new(replicas, move || [proxy(&account, true, &[])].into_iter().collect())
    }

    /// The accounts of the others' proxies, once they are known.
    fn accounts(others: &Others) -> Option<Vec<String>> {
        let others = others.borrow();
        let known = |name: &&str| {
            let identities = [identity(&format!("shop/{name}"))].into();
            let any = ObjectRef::namespaced(Kind::TrafficTarget, &"shop/t".parse().expect("a name"));
            others.as_ref().is_some_and(|fleet| fleet.programmed(&any, Some(&identities)).all > 0)
        };
        others.is_some().then(|| ["one", "two"].into_iter().filter(known).map(str::to_owned).collect())
    }

    fn some(names: &[&str]) -> Option<Vec<String>> {
        Some(names.iter().map(|&name| name.to_owned()).collect())
    }

    #[tokio::test]
    async fn each_of_two_replicas_knows_the_proxies_of_the_other_until_that_one_leaves() {
        let server = ApiServer::start().await;
        let ((mut one, of_one), (mut two, of_two)) = (replica(&server, "one"), replica(&server, "two"));
        assert_eq!(accounts(&of_one), None, "nobody was heard yet");
        one.round().await.expect("it tells and hears");
        assert_eq!(accounts(&of_one), some(&[]));
        two.round().await.expect("it tells and hears");
        one.round().await.expect("it tells and hears");
        assert_eq!((accounts(&of_one), accounts(&of_two)), (some(&["two"]), some(&["one"])));
        one.leave().await;
        two.round().await.expect("it tells and hears");
        assert_eq!(accounts(&of_two), some(&[]));
    }

    #[tokio::test]
    async fn a_replica_that_cannot_tell_hears_and_one_that_cannot_hear_soon_counts_nobody_else() {
        let server = ApiServer::start().await;
        let ((mut one, of_one), (mut two, _)) = (replica(&server, "one"), replica(&server, "two"));
        two.round().await.expect("it tells and hears");
        server.refuse(|method, _| (method == Method::PATCH).then_some(StatusCode::FORBIDDEN));
        one.round().await.expect_err("it can't tell");
        assert_eq!(accounts(&of_one), some(&["two"]));
        server.refuse(|method, _| (method == Method::GET).then_some(StatusCode::FORBIDDEN));
        one.round().await.expect_err("it can't hear");
        assert_eq!(accounts(&of_one), some(&["two"]), "that is believed for a while");
        one.heard = one.heard.checked_sub(BELIEVED).expect("the host is up for longer");
        one.round().await.expect_err("it can't hear");
        assert_eq!(accounts(&of_one), some(&[]));
    }

    #[tokio::test]
    async fn after_an_outage_nobody_is_counted_until_the_others_were_heard_again() {
        let server = ApiServer::start().await;
        let ((mut one, of_one), (mut two, _)) = (replica(&server, "one"), replica(&server, "two"));
        two.round().await.expect("it tells and hears");
        one.round().await.expect("it tells and hears");
        server.refuse(|_, _| Some(StatusCode::INTERNAL_SERVER_ERROR));
        one.heard = one.heard.checked_sub(BELIEVED).expect("the host is up for longer");
        one.round().await.expect_err("nobody answers");
        assert_eq!(accounts(&of_one), None);
        server.refuse(|_, _| None);
        one.round().await.expect("it tells and hears");
        assert_eq!(accounts(&of_one), some(&["two"]));
    }
}
