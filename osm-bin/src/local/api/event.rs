//! What happens in a mesh.

use serde::{Deserialize, Serialize};

use super::Finding;

/// Events after a number.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Events {
    /// The events, oldest first.
    pub events: Vec<Event>,
    /// What to ask for next: the number of the newest event.
    pub last: u64,
}

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// Counts events from 1.
    pub number: u64,
    /// When it happened, in milliseconds since 1970.
    pub at_ms: u64,
    /// What happened.
    #[serde(flatten)]
    pub what: Happening,
}

/// What can happen.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum Happening {
    /// All pods that can be ready are, for the first time.
    Up {
        /// How many pods there are.
        pods: usize,
        /// How many proxies.
        proxies: usize,
        /// How long it took from the start, in milliseconds.
        after_ms: u64,
    },
    /// A pod became ready, or is not ready any more.
    Readiness {
        /// The pod.
        pod: String,
        /// Whether it takes requests now.
        ready: bool,
    },
    /// A process ended that should run, and is started again.
    Ended {
        /// The pod.
        pod: String,
        /// The container, or `envoy`.
        process: String,
        /// How it ended, such as `exit status 1` or `signal 9`.
        how: String,
        /// In how many milliseconds it is started again.
        again_in_ms: u64,
    },
    /// A process can't be started.
    CannotStart {
        /// The pod.
        pod: String,
        /// The container, or `envoy`.
        process: String,
        /// Why, and what to do about it, with file and line.
        reason: String,
    },
    /// A pod is there, or gone, or is started anew because its manifest changed.
    Pod {
        /// The pod.
        pod: String,
        /// What happens to it.
        change: PodChange,
    },
    /// The mesh changed, and this is how far it reached.
    Changed(Change),
    /// The findings about the manifests changed.
    Findings {
        /// What is new.
        new: Vec<Finding>,
        /// The text of what is no longer so.
        gone: Vec<String>,
    },
    /// The control plane was restarted.
    ControllerRestarted {
        /// How long there was none, in milliseconds.
        gap_ms: u64,
    },
    /// All certificates are being signed anew.
    Rotating,
    /// The mesh has come a step further from root to root.
    Root {
        /// The root that the step is about.
        root: String,
        /// The step.
        step: RootStep,
    },
    /// A step from root to root is waited for.
    RootsHeldUp {
        /// What is waited for, for how long, and who holds it up: pods by their names.
        message: String,
    },
    /// The change of roots stands still, as people have asked.
    RootsPaused,
    /// The roots are as they are wished.
    RootsSettled {
        /// The root that signs.
        root: String,
        /// The roots that are trusted.
        trusted: Vec<String>,
        /// How long it took from the first step, in milliseconds.
        after_ms: u64,
    },
    /// The mesh ends.
    Stopping,
}

/// A step from root to root.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RootStep {
    /// Everybody is told to trust the root.
    Told,
    /// Everybody trusts it, and it signs from now on.
    Signs,
    /// Every proxy believes the control plane by it, and that proves itself by it from now on.
    Serves,
    /// Nothing of it is left, and nobody is told to trust it any more.
    Withdrawn,
    /// It was not reached in time, and another one signs on.
    GivenUp,
}

/// What happens to a pod.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PodChange {
    /// It is new.
    Added,
    /// What it runs changed; it keeps its address.
    Restarted,
    /// It goes.
    Removed,
}

/// A change of the mesh: what was edited, and when the last proxy had acknowledged it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Change {
    /// Objects that are new, as `Kind namespace/name (file:line)`.
    pub added: Vec<String>,
    /// Objects that are different.
    pub changed: Vec<String>,
    /// Objects that are gone.
    pub removed: Vec<String>,
    /// How many proxies were given something new.
    pub proxies: u64,
    /// How many resources were generated for it.
    pub generated: u64,
    /// How long it took from the edit's being read until the last proxy had
    /// acknowledged it, in milliseconds; `None` when some have not.
    pub acknowledged_ms: Option<f64>,
}
