//! What MeshRootCertificates say of themselves: written by the replica that holds the lease.

use std::collections::BTreeMap;
use std::time::Duration;

use osm_certs::rotation::{Progress, RotationStatus, Stage};
use osm_core::catalog::{Catalog, MeshCatalog};
use osm_core::identity::ProxyUuid;
use osm_core::name::{Kind, ObjectName, ObjectRef};
use osm_k8s::ApiClient;
use osm_k8s::lease::LeaseWatch;
use osm_k8s::status::root::{KnownRoot, RootStatusWriter};
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval};

/// How often statuses are looked at.
const INTERVAL: Duration = Duration::from_secs(3);

/// Writes the status of each root whenever it is another one. Never returns.
pub(crate) async fn tell(
    server: ApiClient,
    catalog: Catalog,
    held: LeaseWatch,
    status: watch::Receiver<RotationStatus>,
) {
    let writer = RootStatusWriter::new(server);
    let mut ticks = interval(INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut failures: BTreeMap<ObjectName, String> = BTreeMap::new();
    loop {
        ticks.tick().await;
        if !held.is_held() {
            continue;
        }
        let RotationStatus { stage, progress, .. } = status.borrow().clone();
        let snapshot = catalog.snapshot();
        let pod = |proxy: &ProxyUuid| Some(snapshot.workload_of(proxy)?.name.to_string());
        let step = match &progress {
            Progress::Waiting(waiting) => Some(&waiting.step),
            Progress::Starting | Progress::Settled | Progress::Paused | Progress::Trouble(_) => None,
        };
        for (name, root) in snapshot.root_certificates().iter() {
            let object = ObjectRef::namespaced(Kind::MeshRootCertificate, &root.name);
            let findings = snapshot.diagnostics_of(&object);
            let message = message(name, &stage, &progress, &pod);
            let known = KnownRoot { root, findings, stage: &stage, step, message: &message };
            match writer.write(known).await {
                Ok(()) => drop(failures.remove(name)),
                Err(error) => {
                    let error = error.to_string();
                    if failures.get(name) != Some(&error) {
                        tracing::warn!(root = %name, error, "the status of a root can't be written");
                        failures.insert(name.clone(), error);
                    }
                }
            }
        }
    }
}

/// What a root says of itself for people; nothing where its state says it all. The same as long as nobody comes further.
fn message(
    root: &ObjectName,
    stage: &Stage,
    progress: &Progress,
    name: &dyn Fn(&ProxyUuid) -> Option<String>,
) -> String {
    if let Some(given_up) = stage.given_up.as_ref().filter(|given_up| given_up.root == *root) {
        return format!(
            "given up, since not every proxy was there in time: {} signs; `osm certs rollback` ends it, then it can be tried again",
            given_up.instead
        );
    }
    match progress {
        Progress::Waiting(waiting) => format!("waiting {}", waiting.steady(name)),
        Progress::Paused => "the change of roots is paused".to_owned(),
        Progress::Trouble(why) => why.clone(),
        Progress::Starting | Progress::Settled => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use osm_certs::rotation::{GivenUp, Holdup, Missing, Step, Waiting};

    use super::*;

    #[test]
    fn who_holds_a_step_up_is_named_by_the_pod_and_the_text_stays_while_nobody_comes_further() {
        let root: ObjectName = "new".parse().expect("a name");
        let mut stage = Stage::first("old".parse().expect("a name"), SystemTime::UNIX_EPOCH);
        let late = |name: &str| Holdup::Proxy(name.parse().expect("a name"), Missing::Trust);
        let after = |seconds| {
            Progress::Waiting(Waiting {
                step: Step::Trust(root.clone()),
                lasted: Duration::from_secs(seconds),
                holdups: vec![late("6f1a"), late("7e2b")],
            })
        };
        let pod = |proxy: &ProxyUuid| (proxy.as_str() == "6f1a").then(|| "shop/till".to_owned());
        let text = message(&root, &stage, &after(5), &pod);
        assert_eq!(
            text,
            "waiting until all trust new: shop/till has not acknowledged it, proxy 7e2b has not acknowledged it"
        );
        assert_eq!(message(&root, &stage, &after(50), &pod), text);

        stage.given_up = Some(GivenUp { root: root.clone(), instead: stage.issuing.clone() });
        let text = message(&root, &stage, &Progress::Settled, &pod);
        assert!(text.contains("given up") && text.contains("old signs"), "{text}");
        assert_eq!(message(&stage.issuing, &stage, &Progress::Settled, &pod), "");
    }
}
