//! The invariants of `ARCHITECTURE.md` that are rules about source text. The others
//! are held by tests of what the program does.

use super::Finding;
use super::source::Source;
use super::tree::Tree;

/// The libraries: what other programs embed.
const LIBRARIES: &[&str] = &["osm-core/src", "osm-certs/src", "osm-xds/src", "osm-k8s/src"];

/// The rooms that decide, write down and keep account, and never wait for anything.
const STILL_ROOMS: &[&str] = &[
    "osm-core/src/diagnostic",
    "osm-core/src/explain",
    "osm-core/src/identity",
    "osm-core/src/interception",
    "osm-core/src/ir",
    "osm-core/src/model",
    "osm-core/src/name",
    "osm-core/src/policy",
    "osm-core/src/re2",
    "osm-core/src/snapshot",
    "osm-xds/src/encode",
    "osm-xds/src/generate",
    "osm-xds/src/session",
    "osm-certs/src/manager/rotation",
    "osm-certs/src/manager/backoff",
];

/// What code in some rooms must not name.
struct Ban<'a> {
    rooms: &'a [&'a str],
    /// Sequences of segments, anywhere in a path.
    paths: &'a [&'a [&'a str]],
    words: &'a [&'a str],
    why: &'a str,
}

/// Places that break an invariant.
#[must_use]
pub fn check(tree: &Tree) -> Vec<Finding> {
    [core_is_pure, generators_decide_nothing, session_does_no_io, still_rooms_never_wait, keys_are_not_shown]
        .iter()
        .chain(&[only_programs_are_global, tasks_are_owned, model_is_not_serialisable, features_only_add])
        .flat_map(|rule| rule(tree))
        .collect()
}

/// I1: `osm-core` knows no files, environment, network, clock or dialect.
#[must_use]
pub fn core_is_pure(tree: &Tree) -> Vec<Finding> {
    Ban {
        rooms: &["osm-core/src"],
        paths: &[
            &["std", "fs"],
            &["std", "env"],
            &["std", "path"],
            &["std", "process"],
            &["std", "os"],
            &["std", "net", "TcpStream"],
            &["std", "net", "TcpListener"],
            &["std", "net", "UdpSocket"],
            &["tokio", "fs"],
            &["tokio", "net"],
            &["tokio", "time"],
            &["tokio", "process"],
        ],
        words: &["SystemTime", "Instant", "kube", "k8s_openapi", "tonic", "prost", "envoy_types", "rustls"],
        why: "I1: osm-core knows nothing of files, the environment, the network, the clock or a dialect",
    }
    .check(tree)
}

/// I6: generators see the intermediate representation, not what it was decided from.
#[must_use]
pub fn generators_decide_nothing(tree: &Tree) -> Vec<Finding> {
    Ban {
        rooms: &["osm-xds/src/generate"],
        paths: &[
            &["osm_core", "policy"],
            &["osm_core", "snapshot"],
            &["osm_core", "catalog"],
            &["osm_core", "source"],
            &["crate", "push"],
            &["crate", "session"],
            &["crate", "server"],
        ],
        words: &["MeshSnapshot", "MeshCatalog", "ChangeSet"],
        why: "I6: a generator writes down what was decided; who may talk to whom is asked in osm-core::policy",
    }
    .check(tree)
}

/// I8: the session is a state machine without I/O and without a clock of its own.
#[must_use]
pub fn session_does_no_io(tree: &Tree) -> Vec<Finding> {
    Ban {
        rooms: &["osm-xds/src/session"],
        paths: &[
            &["std", "net"],
            &["std", "fs"],
            &["std", "env"],
            &["std", "thread"],
            &["Instant", "now"],
            &["SystemTime", "now"],
            &["crate", "server"],
        ],
        words: &["tokio", "tonic", "hyper", "async", "await"],
        why: "I8: the session does no I/O and is told the time; only osm_xds::server touches tonic",
    }
    .check(tree)
}

/// Rooms 2 to 5, the session and the rotation schedule never wait.
#[must_use]
pub fn still_rooms_never_wait(tree: &Tree) -> Vec<Finding> {
    Ban {
        rooms: STILL_ROOMS,
        paths: &[&["Instant", "now"], &["SystemTime", "now"], &["thread", "sleep"]],
        words: &["async", "await"],
        why: "what decides never waits and is told the time, so that it can be driven from a table",
    }
    .check(tree)
}

/// I11: no `Debug` or `Display` shows a private key.
#[must_use]
pub fn keys_are_not_shown(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for source in tree.sources.values() {
        for found in source.derived_types() {
            let shows = found.derives.iter().find(|derive| matches!(derive.as_str(), "Debug" | "Serialize"));
            // A field of a type that elides itself is fine; raw key material is not.
            let is_key = names_key(&found.name);
            let holds =
                found.words.iter().find(|word| matches!(word.as_str(), "Zeroizing" | "PrivateKeyDer"));
            if let (Some(shows), true) = (shows, is_key || holds.is_some()) {
                let message = format!(
                    "I11: {} holds a private key: write its `{shows}` by hand, without it",
                    found.name
                );
                findings.push(Finding::new(&source.path, found.line, message));
            }
        }
        findings.extend(shown_keys(source));
    }
    findings
}

/// I12: what is global, or comes from the command line or environment, is a program's business.
#[must_use]
pub fn only_programs_are_global(tree: &Tree) -> Vec<Finding> {
    Ban {
        rooms: LIBRARIES,
        paths: &[
            &["std", "env"],
            &["env", "var"],
            &["env", "var_os"],
            &["env", "args"],
            &["process", "exit"],
            &["process", "abort"],
            &["panic", "set_hook"],
        ],
        words: &["tracing_subscriber", "clap", "set_global_default", "install_default"],
        why: "I12: only programs read flags and the environment, install something global, or end the process",
    }
    .check(tree)
}

/// Libraries start no task that nobody owns: it would outlive what it works for, and
/// its panic would be nobody's.
#[must_use]
pub fn tasks_are_owned(tree: &Tree) -> Vec<Finding> {
    Ban {
        rooms: LIBRARIES,
        paths: &[&["tokio", "spawn"], &["tokio", "task", "spawn"]],
        words: &[],
        why: "a task has an owner that waits for it: return a future, or use a JoinSet or TaskTracker",
    }
    .check(tree)
}

/// I13: the model is not what is written to files or sent.
#[must_use]
pub fn model_is_not_serialisable(tree: &Tree) -> Vec<Finding> {
    Ban {
        rooms: &["osm-core/src"],
        paths: &[],
        words: &["serde", "Serialize", "Deserialize"],
        why: "I13: the model is not serialisable; files and dumps have structs of their own and a conversion",
    }
    .check(tree)
}

/// I14: a feature adds items; it never chooses between two behaviours.
#[must_use]
pub fn features_only_add(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    let programs = tree.packages();
    let rooms: Vec<String> = programs.values().map(|folder| format!("{folder}/src")).collect();
    let rooms: Vec<&str> = rooms.iter().map(String::as_str).collect();
    for source in tree.sources_of(&rooms).filter(|source| !source.is_test()) {
        for attribute in source.attributes() {
            let is_cfg = attribute.begins(&["cfg"]) || attribute.begins(&["cfg_attr"]);
            let of_feature = |word: &String| word == "feature";
            let place = attribute.words.iter().position(of_feature);
            let is_negated =
                place.is_some_and(|place| attribute.words[..place].iter().any(|word| word == "not"));
            if is_cfg && place.is_some() && (is_negated || attribute.is_in_function) {
                let message =
                    "I14: a feature adds items; it does not replace one or change what a function does";
                findings.push(Finding::new(&source.path, attribute.line, message));
            }
        }
        let asked = source.macro_calls("cfg").filter(|(words, _)| words.contains(&"feature"));
        findings.extend(asked.map(|(_, line)| {
            Finding::new(&source.path, line, "I14: a feature adds items; code does not ask whether it is on")
        }));
    }
    findings
}

impl Ban<'_> {
    fn check(&self, tree: &Tree) -> Vec<Finding> {
        let mut findings = Vec::new();
        for source in tree.sources_of(self.rooms) {
            for path in source.paths() {
                let is_banned =
                    |ban: &&[&str]| path.segments.windows(ban.len()).any(|part| part.iter().eq(ban.iter()));
                if let Some(ban) = self.paths.iter().copied().find(is_banned) {
                    findings.push(self.finding(source, path.line, &ban.join("::")));
                }
            }
            let words = source.words().filter(|(word, _)| self.words.contains(word));
            findings.extend(words.map(|(word, line)| self.finding(source, line, word)));
        }
        findings
    }

    fn finding(&self, source: &Source, line: usize, what: &str) -> Finding {
        Finding::new(&source.path, line, format!("`{what}`: {}", self.why))
    }
}

fn names_key(name: &str) -> bool {
    ["PrivateKey", "KeyPair", "SigningKey", "SecretKey"].iter().any(|part| name.contains(part))
}

fn shown_keys(source: &Source) -> Vec<Finding> {
    let words: Vec<_> = source.words().collect();
    let shown =
        words.windows(3).filter(|part| part[0].0 == "Display" && part[1].0 == "for" && names_key(part[2].0));
    shown
        .map(|part| {
            Finding::new(&source.path, part[0].1, format!("I11: {} must not have a Display", part[2].0))
        })
        .collect()
}
