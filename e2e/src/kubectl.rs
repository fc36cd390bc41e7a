//! A Kubernetes cluster, by `kubectl`: what a person would type, and waiting for what
//! it leads to. Not for what programs of the mesh do: they have a client of their own.

use std::io::Write;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::Value;

/// How long something may take to come about.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// Runs `kubectl` and returns what it printed.
///
/// # Errors
/// With what it said, when it does not succeed.
pub fn kubectl(words: &[&str]) -> Result<String> {
    run("kubectl", words, None)
}

/// Applies manifests, taking over fields from whoever set them before.
///
/// # Errors
/// As [`kubectl`].
pub fn apply(manifests: &str) -> Result<()> {
    let words = ["apply", "--server-side", "--force-conflicts", "--field-manager=osm-e2e", "--filename=-"];
    run("kubectl", &words, Some(manifests)).map(drop)
}

/// Deletes what manifests name, and waits until it is gone.
///
/// # Errors
/// As [`kubectl`].
pub fn delete(manifests: &str) -> Result<()> {
    let words = ["delete", "--ignore-not-found", "--wait", "--timeout=120s", "--filename=-"];
    run("kubectl", &words, Some(manifests)).map(drop)
}

/// Returns objects as JSON.
///
/// # Errors
/// As [`kubectl`].
pub fn get(words: &[&str]) -> Result<Value> {
    let said = kubectl(&[&["get", "--output=json"], words].concat())?;
    serde_json::from_str(&said).context("kubectl's JSON")
}

/// Runs a command in a container, and returns what it printed.
///
/// # Errors
/// As [`kubectl`].
pub fn exec(namespace: &str, pod: &str, container: &str, command: &[&str]) -> Result<String> {
    let place = ["exec", "--namespace", namespace, pod, "--container", container, "--"];
    kubectl(&[&place, command].concat())
}

/// Waits until Deployments, StatefulSets or the like have all their pods.
///
/// # Errors
/// As [`kubectl`].
pub fn rolled_out(namespace: &str, names: &[&str]) -> Result<()> {
    for name in names {
        kubectl(&["rollout", "status", "--namespace", namespace, "--timeout=120s", name])?;
    }
    Ok(())
}

/// Asks again and again until there is an answer. The last reason why there is none is
/// the error when the patience ends.
///
/// # Errors
/// After [`PATIENCE`].
pub fn until<T>(what: &str, mut ask: impl FnMut() -> Result<T>) -> Result<T> {
    let began = Instant::now();
    loop {
        match ask() {
            Ok(answer) => return Ok(answer),
            Err(error) if began.elapsed() > PATIENCE => {
                return Err(error.context(format!("no {what} within {} s", PATIENCE.as_secs())));
            }
            Err(_) => std::thread::sleep(Duration::from_millis(250)),
        }
    }
}

/// Runs a program with the cluster of this test, and input where there is any.
///
/// # Errors
/// With what it said, when it does not succeed.
pub fn run(program: &str, words: &[&str], input: Option<&str>) -> Result<String> {
    let shown = || format!("{program} {}", words.join(" "));
    let stdin = if input.is_some() { Stdio::piped() } else { Stdio::null() };
    let mut command = Command::new(program);
    command.args(words).stdin(stdin).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().with_context(|| format!("starting {}", shown()))?;
    if let (Some(text), Some(mut stdin)) = (input, child.stdin.take()) {
        stdin.write_all(text.as_bytes()).with_context(|| format!("writing to {}", shown()))?;
    }
    let output = child.wait_with_output().with_context(|| format!("waiting for {}", shown()))?;
    let said = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    if !output.status.success() {
        bail!("{} ended with {}:\n{}{}", shown(), output.status, said(&output.stdout), said(&output.stderr));
    }
    Ok(said(&output.stdout))
}

/// Waits until a pod has run to its end, and returns what it printed.
///
/// # Errors
/// When it does not end well.
pub fn output_of(namespace: &str, pod: &str) -> Result<String> {
    until(&format!("end of the pod {pod}"), || {
        let phase = ["get", "pod", pod, "--namespace", namespace, "--output=jsonpath={.status.phase}"];
        match kubectl(&phase)?.as_str() {
            "Succeeded" | "Failed" => Ok(()),
            phase => bail!("it is {phase}"),
        }
    })?;
    kubectl(&["logs", pod, "--namespace", namespace])
}

/// What a person would look at first when something went wrong in some namespaces.
#[must_use]
pub fn told_by(namespaces: &[&str]) -> String {
    let mut told = String::new();
    let mut look = |words: &[&str]| {
        let said = kubectl(words).unwrap_or_else(|error| format!("{error:#}"));
        told.push_str(&format!("--- kubectl {}\n{said}\n", words.join(" ")));
    };
    look(&["get", "pods", "--all-namespaces", "--output=wide"]);
    look(&["get", "events", "--all-namespaces", "--sort-by=.lastTimestamp", "--field-selector=type=Warning"]);
    for namespace in namespaces {
        let pods = ["get", "pods", "--namespace", namespace, "--output=name"];
        let pods = kubectl(&pods).unwrap_or_default();
        for pod in pods.lines() {
            look(&["logs", "--namespace", namespace, pod, "--tail=40", "--all-containers", "--prefix"]);
        }
    }
    told
}
