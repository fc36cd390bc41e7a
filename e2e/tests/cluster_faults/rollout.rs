//! The webhook is away while pods are exchanged.

use anyhow::{Result, bail, ensure};
use serde_json::Value;

use osm_e2e::cluster::parts::ControlPlane;
use osm_e2e::cluster::seen::Seen;
use osm_e2e::cluster::{Step, server};
use osm_e2e::kubectl::{apply, delete, get, kubectl, rolled_out, until};

use super::until_a_change_is_in_force;

/// What is done, and the step's title.
pub(crate) const STEPS: &[Step] = &[(
    "without webhook no pod of the mesh starts, others do, and a rollout goes on with it",
    without_webhook,
)];

/// Something of a namespace that is not of the mesh. It goes when this does, however the step ends.
struct Outside(());

impl Outside {
    const NAMESPACE: &str = "outside";

    /// Deploys it, and waits until it is ready.
    fn deploy() -> Result<Self> {
        let outside = Self(());
        let server = server::deployment(Self::NAMESPACE, "undisturbed", "undisturbed");
        apply(&[server::namespace(Self::NAMESPACE, None), server].join("---"))?;
        rolled_out(Self::NAMESPACE, &["deployment/undisturbed"])?;
        Ok(outside)
    }
}

impl Drop for Outside {
    fn drop(&mut self) {
        if let Err(error) = delete(&server::namespace(Self::NAMESPACE, None)) {
            eprintln!("the namespace {} could not be removed: {error:#}", Self::NAMESPACE);
        }
    }
}

/// The pods of the bookstore's first version.
fn pods() -> Result<Vec<Value>> {
    let pods = get(&["pods", "--namespace=bookstore", "--selector=app=bookstore,version=v1"])?;
    Ok(pods["items"].as_array().cloned().unwrap_or_default())
}

fn names(pods: &[Value]) -> Vec<String> {
    pods.iter().filter_map(|pod| pod["metadata"]["name"].as_str()).map(str::to_owned).collect()
}

fn without_webhook() -> Result<String> {
    let seen = Seen::now()?;
    let before = names(&pods()?);
    let control_plane = ControlPlane::find()?;
    kubectl(&["scale", "--namespace=osm-system", "deployment/osm-controller", "--replicas=0"])?;
    let pod = ["delete", "pod", "--namespace=osm-system", "--selector=app=osm-controller"];
    kubectl(&[&pod[..], &["--grace-period=0", "--force"]].concat())?;
    // The object goes before the process does.
    until("end of the control plane", || match control_plane.page("/health/alive") {
        Ok(_) => bail!("it answers"),
        Err(_) => Ok(()),
    })?;
    kubectl(&["rollout", "restart", "--namespace=bookstore", "deployment/bookstore-v1"])?;
    let outside = Outside::deploy()?;
    let refusals = until("refusal of a pod", || {
        let events = ["events", "--namespace=bookstore", "--field-selector=reason=FailedCreate"];
        let events = get(&events)?;
        let events = events["items"].as_array().cloned().unwrap_or_default();
        let refused =
            events.iter().filter(|event| event["message"].to_string().contains("osm-inject.k8s.io"));
        match refused.count() {
            0 => bail!("no pod was refused: {events:?}"),
            count => Ok(count),
        }
    })?;
    ensure!(names(&pods()?) == before, "there are other pods than {before:?}");
    kubectl(&["scale", "--namespace=osm-system", "deployment/osm-controller", "--replicas=1"])?;
    rolled_out("osm-system", &["deployment/osm-controller"])?;
    rolled_out("bookstore", &["deployment/bookstore-v1"])?;
    let after = pods()?;
    for pod in after.iter().filter(|pod| pod["metadata"]["deletionTimestamp"].is_null()) {
        ensure!(pod["metadata"]["labels"]["osm-proxy-uuid"].is_string(), "a pod without sidecar: {pod}");
        ensure!(!before.contains(&pod["metadata"]["name"].as_str().unwrap_or_default().to_owned()), "{pod}");
    }
    drop(outside);
    Ok(format!("{}; pods were refused ({refusals} event)", until_a_change_is_in_force(seen)?))
}
