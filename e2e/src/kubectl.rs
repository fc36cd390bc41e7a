//! A Kubernetes cluster, by `kubectl`: what a person would type, and waiting for what
//! it leads to. Not for what programs of the mesh do: they have a client of their own.

use std::io::{Read, Write};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::Value;

/// How long something may take to come about.
pub const PATIENCE: Duration = Duration::from_secs(120);
/// How long a command may take: longer than any waits by itself, the five minutes of helm among them.
const BOUND: Duration = Duration::from_secs(400);

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
pub fn until<T>(what: &str, ask: impl FnMut() -> Result<T>) -> Result<T> {
    until_within(PATIENCE, what, ask)
}

/// The same with another patience.
///
/// # Errors
/// After it.
pub fn until_within<T>(patience: Duration, what: &str, mut ask: impl FnMut() -> Result<T>) -> Result<T> {
    let began = Instant::now();
    loop {
        match ask() {
            Ok(answer) => return Ok(answer),
            Err(error) if began.elapsed() > patience => {
                return Err(error.context(format!("no {what} within {} s", patience.as_secs())));
            }
            Err(_) => std::thread::sleep(Duration::from_millis(250)),
        }
    }
}

/// Runs a program with the cluster of this test, and input where there is any.
///
/// # Errors
/// With what it said, when it does not succeed, or does not end: then it is killed.
pub fn run(program: &str, words: &[&str], input: Option<&str>) -> Result<String> {
    run_within(BOUND, program, words, input)
}

fn run_within(bound: Duration, program: &str, words: &[&str], input: Option<&str>) -> Result<String> {
    let shown = || format!("{program} {}", words.join(" "));
    let stdin = if input.is_some() { Stdio::piped() } else { Stdio::null() };
    let mut command = Command::new(program);
    command.args(words).stdin(stdin).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().with_context(|| format!("starting {}", shown()))?;
    let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let (ended, fed, out, error) = std::thread::scope(|scope| {
        let feeding = scope.spawn(|| match (input, stdin) {
            (Some(text), Some(mut stdin)) => stdin.write_all(text.as_bytes()),
            _ => Ok(()),
        });
        let (out, error) = (scope.spawn(|| read(stdout)), scope.spawn(|| read(stderr)));
        let ended = end(&mut child, bound);
        let said = |text: std::thread::Result<String>| text.unwrap_or_else(|panic| format!("{panic:?}"));
        (ended, feeding.join(), said(out.join()), said(error.join()))
    });
    match ended.with_context(|| format!("waiting for {}", shown()))? {
        Some(status) if status.success() => {}
        Some(status) => bail!("{} ended with {status}:\n{out}{error}", shown()),
        None => bail!("{} did not end within {} s:\n{out}{error}", shown(), bound.as_secs()),
    }
    match fed {
        Ok(written) => written.with_context(|| format!("writing to {}", shown()))?,
        Err(panic) => bail!("writing to {}: {panic:?}", shown()),
    }
    Ok(out)
}

/// All that comes out of a pipe.
fn read(pipe: Option<impl Read>) -> String {
    let mut bytes = Vec::new();
    // What was read until it broke is all that there is.
    if let Some(Err(error)) = pipe.map(|mut pipe| pipe.read_to_end(&mut bytes)) {
        bytes.extend(format!("\n(it can't be read further: {error})").bytes());
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Waits for a process, and kills one that does not end in time: then it has no status.
fn end(child: &mut Child, bound: Duration) -> std::io::Result<Option<ExitStatus>> {
    let began = Instant::now();
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        if began.elapsed() > bound {
            child.kill()?;
            child.wait()?;
            return Ok(None);
        }
        std::thread::sleep(Duration::from_millis(5));
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_that_hangs_is_killed_and_named() {
        // More than a pipe holds, for somebody who does not read.
        let input = "x".repeat(1 << 20);
        let words = ["-c", "echo begun; exec sleep 600"];
        let error = run_within(Duration::from_millis(200), "sh", &words, Some(&input)).unwrap_err();
        let error = format!("{error:#}");
        assert!(
            error.contains("sh -c echo begun; exec sleep 600 did not end") && error.ends_with("begun\n"),
            "{error}"
        );
    }

    #[test]
    fn a_command_is_given_its_input_and_what_it_says_is_returned() {
        let input = "x".repeat(1 << 20);
        assert_eq!(run("cat", &[], Some(&input)).unwrap(), input);
        let error = run("sh", &["-c", "echo out; echo error >&2; exit 3"], None).unwrap_err().to_string();
        assert!(error.contains("3") && error.ends_with("out\nerror\n"), "{error}");
    }
}
