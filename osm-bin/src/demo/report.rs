//! What a demo tells as it goes, and the telling of it in JSON.

use std::io::Write;
use std::path::Path;

use serde::Serialize;

use super::counters::Counters;
use super::script::{Check, Step};
use crate::local::api::{Change, Finding, Status};

/// Whoever is told what happens.
pub trait Reporter {
    /// A mesh is being started from this folder.
    fn starting(&mut self, folder: &Path);
    /// It is up.
    fn up(&mut self, status: &Status, seconds: f64);
    /// A step begins, the `number`th of `of`.
    fn begin(&mut self, step: &Step, number: usize, of: usize);
    /// An action of the step has reached every proxy.
    fn acted(&mut self, outcome: &Outcome);
    /// Requests are being counted.
    fn progress(&mut self, progress: &Progress<'_>);
    /// A step is over.
    fn done(&mut self, report: &StepReport);
    /// All steps are over.
    fn summary(&mut self, summary: &Summary);
}

/// What came of an action.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "action", rename_all = "kebab-case")]
pub enum Outcome {
    /// Manifests were edited.
    Edited(Change),
    /// Certificates were signed anew and have reached every proxy.
    Rotated {
        /// How many workloads and proxies have another one.
        certificates: usize,
        /// How long that took, in milliseconds.
        after_ms: f64,
    },
    /// Another root signs, and it alone is trusted.
    Exchanged {
        /// The root.
        root: String,
        /// The roots that are trusted.
        trusted: Vec<String>,
        /// How long it took from the edit, in milliseconds.
        after_ms: f64,
        /// How many requests of the buyer ended meanwhile.
        requests: u64,
        /// How many of them failed.
        failures: u64,
    },
    /// The control plane was replaced.
    Replaced {
        /// How long there was none, in milliseconds.
        gap_ms: u64,
        /// How many resources all proxies together were sent by the new one.
        resources: u64,
        /// How many proxies there are.
        proxies: usize,
    },
    /// A broken manifest was reported.
    Reported(Finding),
    /// A manifest is whole again.
    Mended,
}

/// The counts of a step while it lasts.
#[derive(Debug, Clone, Copy)]
pub struct Progress<'a> {
    /// What the buyer counted since the step's actions were in force.
    pub buyer: &'a Counters,
    /// The thief, likewise.
    pub thief: &'a Counters,
    /// How many requests of the buyer are waited for.
    pub wanted: u64,
    /// What the buyer counted since the mesh is up.
    pub total: &'a Counters,
}

/// A step, and what came of it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct StepReport {
    /// The step's name.
    pub step: String,
    /// Whether everything was as it should be.
    pub ok: bool,
    /// How long it took.
    pub seconds: f64,
    /// What was done.
    pub actions: Vec<Outcome>,
    /// What the buyer counted since that was in force.
    pub buyer: Counters,
    /// What the thief counted.
    pub thief: Counters,
    /// What was looked at.
    pub checks: Vec<Check>,
}

/// The whole walk.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Summary {
    /// Whether every step was as it should be.
    pub ok: bool,
    /// How long it took, with starting the mesh.
    pub seconds: f64,
    /// How many steps there were, and how many of them failed.
    pub steps: (usize, usize),
    /// What the buyer counted in all, transitions included.
    pub buyer: Counters,
    /// The slowest change of a manifest until its last acknowledgement, in milliseconds.
    pub slowest_change_ms: Option<f64>,
}

/// Tells each step as one line of JSON.
#[derive(Debug)]
pub struct JsonLines<W> {
    to: W,
}

impl<W: Write> JsonLines<W> {
    /// Writes lines to `to`.
    #[must_use]
    pub fn new(to: W) -> Self {
        Self { to }
    }

    fn line(&mut self, line: &impl Serialize) {
        if let Ok(text) = serde_json::to_string(line) {
            // A reader that has gone away is no reason to leave the mesh half torn down.
            drop(writeln!(self.to, "{text}").and_then(|()| self.to.flush()));
        }
    }
}

impl<W: Write> Reporter for JsonLines<W> {
    fn starting(&mut self, _folder: &Path) {}

    fn up(&mut self, status: &Status, seconds: f64) {
        let proxies = status.pods.iter().filter(|pod| pod.proxy.is_some()).count();
        self.line(&Up { step: "up", ok: true, seconds, pods: status.pods.len(), proxies });
    }

    fn begin(&mut self, _step: &Step, _number: usize, _of: usize) {}

    fn acted(&mut self, _outcome: &Outcome) {}

    fn progress(&mut self, _progress: &Progress<'_>) {}

    fn done(&mut self, report: &StepReport) {
        self.line(report);
    }

    fn summary(&mut self, summary: &Summary) {
        self.line(&Last { step: "summary", summary });
    }
}

/// The first line.
#[derive(Serialize)]
struct Up {
    step: &'static str,
    ok: bool,
    seconds: f64,
    pods: usize,
    proxies: usize,
}

/// The last line.
#[derive(Serialize)]
struct Last<'a> {
    step: &'static str,
    #[serde(flatten)]
    summary: &'a Summary,
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    #[test]
    fn a_step_is_one_line_that_says_whether_it_is_ok() {
        let mut lines = Vec::new();
        let report = StepReport {
            step: "policy".to_owned(),
            ok: false,
            seconds: 1.5,
            actions: vec![Outcome::Edited(Change { proxies: 3, ..Change::default() })],
            buyer: Counters::default(),
            thief: Counters::default(),
            checks: vec![Check::new("the thief gets 403", false, 200)],
        };
        JsonLines::new(&mut lines).done(&report);
        let text = String::from_utf8(lines).expect("text");
        let value: Value = serde_json::from_str(text.trim_end()).expect("JSON");
        assert_eq!((text.lines().count(), value["ok"].as_bool()), (1, Some(false)));
        assert_eq!(value["actions"][0]["proxies"], 3);
        assert_eq!(value["checks"][0]["saw"], "200");
    }
}
