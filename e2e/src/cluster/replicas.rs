//! The replicas of the control plane, and what each counts.

use anyhow::{Context, Result, bail};
use serde_json::Value;

use super::parts;
use crate::kubectl::{get, kubectl, until};

/// A replica of the control plane.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replica {
    /// Its pod.
    pub pod: String,
    /// The container in it, which is another one when it was started again.
    pub container: String,
    /// How many proxies are connected to it.
    pub streams: u64,
    /// How many resources it has sent, but for certificates.
    pub resources: u64,
}

/// The replicas that are ready and not about to end.
///
/// # Errors
/// When one does not tell.
pub fn all() -> Result<Vec<Replica>> {
    let pods = get(&["pods", "--namespace=osm-system", "--selector=app=osm-controller"])?;
    let pods = pods["items"].as_array().context("a list of pods")?.clone();
    let stays = pods.iter().filter(|pod| {
        let is_ready = pod["status"]["containerStatuses"][0]["ready"] == true;
        is_ready && pod["metadata"]["deletionTimestamp"].is_null()
    });
    stays.map(replica).collect()
}

fn replica(pod: &Value) -> Result<Replica> {
    let container = &pod["status"]["containerStatuses"][0]["containerID"];
    let container = container.as_str().context("a container")?.to_owned();
    let pod = pod["metadata"]["name"].as_str().context("a name")?;
    let page = format!("/api/v1/namespaces/osm-system/pods/{pod}:9091/proxy/metrics");
    let metrics = kubectl(&["get", "--raw", &page])?;
    let resources = sum(&metrics, "osm_xds_resources_total", |labels| !labels.contains("secret"));
    let streams = sum(&metrics, "osm_xds_streams", |_| true);
    Ok(Replica { pod: pod.to_owned(), container, streams, resources })
}

/// The sum of a metric over those of its series whose labels are wanted.
fn sum(metrics: &str, name: &str, wanted: impl Fn(&str) -> bool) -> u64 {
    let series =
        metrics.lines().filter_map(|line| line.strip_prefix(name)?.strip_prefix('{')?.split_once("} "));
    series.filter(|(labels, _)| wanted(labels)).filter_map(|(_, value)| value.parse::<u64>().ok()).sum()
}

/// Waits until there are so many replicas, and as many streams to them as there are proxies.
///
/// # Errors
/// With what there is.
pub fn with_streams(count: usize, proxies: usize) -> Result<Vec<Replica>> {
    until("replicas with the streams of all proxies", || {
        let replicas = all()?;
        let streams: u64 = replicas.iter().map(|replica| replica.streams).sum();
        if replicas.len() != count || usize::try_from(streams) != Ok(proxies) {
            bail!("for {proxies} proxies: {replicas:?}");
        }
        Ok(replicas)
    })
}

/// Takes a replica away at once, and tells how: where parts of the cluster are in hand its process is killed and has no
/// time to say good-bye to anybody; elsewhere its pod is deleted, and it is told to end.
///
/// # Errors
/// When the cluster does not take it.
pub fn lose(replica: &Replica) -> Result<&'static str> {
    if parts::are_in_hand() {
        parts::kill(&replica.container)?;
        return Ok("killed");
    }
    let words = ["delete", "pod", "--namespace=osm-system", &replica.pod, "--grace-period=0", "--force"];
    kubectl(&words).map(|_| "deleted")
}

/// Waits until there is another one in the place of a replica that was lost, and as many streams as there are proxies.
///
/// # Errors
/// With what there is.
pub fn without(lost: &Replica, count: usize, proxies: usize) -> Result<Vec<Replica>> {
    until("replica in the place of another one", || {
        let replicas = with_streams(count, proxies)?;
        if replicas.iter().any(|replica| replica.container == lost.container) {
            bail!("{lost:?} is among {replicas:?}");
        }
        Ok(replicas)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_metric_is_summed_over_the_series_that_are_wanted() {
        let metrics = "# TYPE x counter\nx_total{kind=\"a\"} 2\nx_total{kind=\"b\"} 3\nx{kind=\"a\"} 7\n";
        assert_eq!(sum(metrics, "x_total", |_| true), 5);
        assert_eq!(sum(metrics, "x_total", |labels| !labels.contains("\"a\"")), 3);
        assert_eq!(sum(metrics, "x", |_| true), 7);
    }
}
