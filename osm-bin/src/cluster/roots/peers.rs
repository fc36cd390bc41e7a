//! What the replicas tell each other of how far they have come.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use osm_certs::rotation::{Replica, Report};
use osm_core::identity::ProxyUuid;
use osm_core::name::NamespaceName;
use osm_k8s::ApiClient;
use osm_k8s::replicas::{Replicas, Topic, Untold};

use super::super::status::pod_of;
use super::report;

/// A replica among the others.
pub(super) struct Peers {
    own: Replica,
    replicas: Replicas,
    /// What was last said of a failure, so that it is said once.
    failure: Option<String>,
}

impl Peers {
    pub(super) fn new(server: ApiClient, namespace: NamespaceName, replica: &str) -> Self {
        let replicas = Replicas::new(server, namespace, Topic::Roots, replica);
        Self { own: replica.into(), replicas, failure: None }
    }

    /// Tells the others that this replica is there, and has come nowhere yet.
    pub(super) async fn announce(&mut self) -> Result<(), Untold> {
        self.replicas.tell(&report::write(&Report::default())).await
    }

    /// Tells and hears. While others can't be heard, one counts that says nothing.
    pub(super) async fn exchange(
        &mut self,
        own: Report,
        proxies: &BTreeSet<ProxyUuid>,
    ) -> BTreeMap<Replica, Option<Report>> {
        let told = self.replicas.tell(&report::write(&own)).await;
        let heard = self.replicas.all().await;
        let known = report::hashes(proxies.iter().chain(own.proxies.keys()));
        let mut all = BTreeMap::from([(Arc::clone(&self.own), Some(own))]);
        match &heard {
            Err(_) => {
                all.insert("that of another pod".into(), None);
            }
            Ok(heard) => {
                for told in heard {
                    if !told.is_fresh && !self.may_live(&told.replica).await {
                        self.replicas.take_away(told).await;
                    } else {
                        all.insert(told.replica.as_str().into(), report::read(&told.text, &known));
                    }
                }
            }
        }
        self.note(told.err().or(heard.err()));
        all
    }

    /// Whether a replica that says nothing any more may go on serving: as long as its pod is there.
    async fn may_live(&self, replica: &str) -> bool {
        !matches!(self.replicas.has_pod(pod_of(replica)).await, Ok(false))
    }

    fn note(&mut self, failure: Option<Untold>) {
        let failure = failure.map(|error| format!("{:#}", anyhow::Error::from(error)));
        if failure != self.failure {
            if let Some(error) = &failure {
                tracing::warn!(
                    error,
                    "replicas can't tell each other how far they are: no root changes meanwhile"
                );
            }
            self.failure = failure;
        }
    }

    /// Tells the others that this replica ends.
    pub(super) async fn leave(self) {
        if let Err(error) = self.replicas.leave().await {
            tracing::debug!(%error, "the others could not be told that this replica ends");
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::testing::ApiServer;

    const LEASE: &str = "/apis/coordination.k8s.io/v1/namespaces/osm-system/leases/osm-roots-other-1";
    const POD: &str = "/api/v1/namespaces/osm-system/pods/other";

    async fn heard(peers: &mut Peers) -> Vec<String> {
        let all = peers.exchange(Report::default(), &BTreeSet::new()).await;
        all.keys().map(ToString::to_string).collect()
    }

    /// Time goes on only here: the server answers in real time.
    async fn a_day_later() {
        tokio::time::pause();
        tokio::time::advance(std::time::Duration::from_secs(86_400)).await;
        tokio::time::resume();
    }

    #[tokio::test]
    async fn a_replica_that_says_nothing_any_more_counts_as_long_as_its_pod_is_there() {
        let server = ApiServer::start().await;
        let lease = |holder: &str| {
            json!({
                "metadata": { "name": format!("osm-roots-{holder}"), "resourceVersion": "1",
                    "annotations": { "openservicemesh.io/told": report::write(&Report::default()) } },
                "spec": { "holderIdentity": holder },
            })
        };
        server.put(LEASE, lease("other-1"));
        server.put(POD, json!({ "metadata": { "name": "other" }, "status": { "phase": "Running" } }));
        let mut peers = Peers::new(server.client(), "osm-system".parse().expect("a name"), "this-1");
        assert_eq!(heard(&mut peers).await, ["other-1", "this-1"]);
        a_day_later().await;
        assert_eq!(heard(&mut peers).await, ["other-1", "this-1"]);
        assert!(server.object(LEASE).is_some());

        server.put(POD, json!({ "metadata": { "name": "other" }, "status": { "phase": "Failed" } }));
        assert_eq!(heard(&mut peers).await, ["this-1"]);
        assert!(server.object(LEASE).is_none(), "what it left is taken away");
    }
}
