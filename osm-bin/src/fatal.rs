//! What ends a control plane, told as an Event about its pod for those who look there first.

use std::path::PathBuf;

use anyhow::Error;
use osm_k8s::ApiClient;
use osm_k8s::pod_events::{OwnPod, PodEvents, Reason};

/// The pod's name and uid, which the chart has Kubernetes write there.
const POD_NAME: &str = "CONTROLLER_POD_NAME";
const POD_UID: &str = "CONTROLLER_POD_UID";

/// Why a control plane ends.
#[derive(Debug)]
pub(crate) struct Fatal {
    /// The reason of an Event; `None` for what happens after it was ready, which Kubernetes tells.
    pub(crate) reason: Option<Reason>,
    /// What is wrong.
    pub(crate) error: Error,
}

impl From<Error> for Fatal {
    fn from(error: Error) -> Self {
        Self { reason: None, error }
    }
}

/// Makes an error the reason why a control plane ends.
pub(crate) fn because(reason: Reason) -> impl FnOnce(Error) -> Fatal {
    move |error| Fatal { reason: Some(reason), error }
}

/// The pod that this runs in, if it was told.
pub(crate) fn own_pod() -> Option<OwnPod> {
    let variable = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
    Some(OwnPod { name: variable(POD_NAME)?, uid: variable(POD_UID) })
}

/// Tells why this ends, if it runs in a pod. Nothing can be done about an API server that does
/// not take it: the log has it as well.
pub(crate) fn tell(kubeconfigs: &[PathBuf], reason: Reason, note: &str) {
    let Some(pod) = own_pod() else { return };
    let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else { return };
    runtime.block_on(async {
        match ApiClient::find(kubeconfigs).await {
            Ok(server) => PodEvents::new(server, pod).tell(reason, note).await,
            Err(error) => tracing::debug!(%error, "there is no API server to tell"),
        }
    });
}

/// The kubeconfigs of a command line that can't be read: those of the environment.
pub(crate) fn kubeconfigs() -> Vec<PathBuf> {
    let files = std::env::var_os("KUBECONFIG").unwrap_or_default();
    std::env::split_paths(&files).filter(|path| !path.as_os_str().is_empty()).collect()
}
