//! Events as lines, for people to follow.

use std::io::{IsTerminal, Write};

use anyhow::Result;
use owo_colors::{OwoColorize, Style};

use crate::local::api::{Change, Event, Finding, Happening, PodChange, RootStep};

/// Prints a text and a line break. That nobody reads it any more is no error.
pub(in crate::cli) fn print(text: &str) -> Result<()> {
    match writeln!(std::io::stdout(), "{text}") {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(()),
    }
}

/// Writes events, in colours where they are shown.
#[derive(Debug, Clone, Copy)]
pub(super) struct Painter {
    colours: bool,
}

impl Painter {
    /// Colours on a terminal, unless `NO_COLOR` is set.
    pub(super) fn for_stdout() -> Self {
        Self { colours: std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none() }
    }

    #[cfg(test)]
    fn plain() -> Self {
        Self { colours: false }
    }

    fn paint(self, text: &str, style: Style) -> String {
        if self.colours { text.style(style).to_string() } else { text.to_owned() }
    }

    fn good(self, text: &str) -> String {
        self.paint(text, Style::new().green())
    }

    fn bad(self, text: &str) -> String {
        self.paint(text, Style::new().red().bold())
    }

    fn attention(self, text: &str) -> String {
        self.paint(text, Style::new().yellow())
    }

    fn faint(self, text: &str) -> String {
        self.paint(text, Style::new().dimmed())
    }

    /// The lines of an event.
    pub(super) fn lines(self, event: &Event) -> Vec<String> {
        let one = |text: String| vec![text];
        match &event.what {
            Happening::Up { pods, proxies, after_ms } => one(format!(
                "{} {pods} pods, {proxies} with a proxy, after {}",
                self.good("up"),
                seconds(*after_ms)
            )),
            Happening::Readiness { pod, ready: true } => one(format!("{} {pod}", self.good("ready"))),
            Happening::Readiness { pod, ready: false } => {
                one(format!("{} {pod}", self.attention("not ready")))
            }
            Happening::Ended { pod, process, how, again_in_ms } => one(format!(
                "{} {pod}: {process}: {how}; it is started again in {}",
                self.bad("ended"),
                seconds(*again_in_ms)
            )),
            Happening::CannotStart { pod, process: _, reason } => {
                one(format!("{} {pod}: {reason}", self.bad("can't start")))
            }
            Happening::Pod { pod, change } => one(match change {
                PodChange::Added => format!("{} {pod}", self.good("added")),
                PodChange::Restarted => format!("{} {pod}", self.attention("restarted")),
                PodChange::Removed => format!("{} {pod}", self.attention("removed")),
            }),
            Happening::Changed(change) => self.change(change),
            Happening::Findings { new, gone } => {
                let gone = gone.iter().map(|text| format!("{} {}", self.good("solved"), self.faint(text)));
                new.iter().map(|finding| self.finding(finding)).chain(gone).collect()
            }
            Happening::ControllerRestarted { gap_ms } => one(format!(
                "{} there was none for {}",
                self.attention("control plane restarted;"),
                seconds(*gap_ms)
            )),
            Happening::Rotating => one(self.attention("all certificates are being signed anew")),
            Happening::Root { root, step } => one(self.root(root, *step)),
            Happening::RootsHeldUp { message } => one(format!("{} {message}", self.attention("roots:"))),
            Happening::RootsPaused => one(format!("{} paused", self.attention("roots:"))),
            Happening::RootsSettled { root, trusted, after_ms } => one(format!(
                "{} {root} signs; trusted: {}; after {}",
                self.good("roots settled:"),
                trusted.join(", "),
                seconds(*after_ms)
            )),
            Happening::Stopping => one(self.attention("stopping")),
        }
    }

    fn root(self, root: &str, step: RootStep) -> String {
        let word = format!("root {root}:");
        match step {
            RootStep::Told => format!("{} everybody is told to trust it", self.attention(&word)),
            RootStep::Signs => format!("{} all trust it, and it signs from now on", self.good(&word)),
            RootStep::Serves => {
                format!("{} all proxies believe the control plane by it", self.good(&word))
            }
            RootStep::Withdrawn => {
                format!("{} nothing of it is left, it is withdrawn", self.attention(&word))
            }
            RootStep::GivenUp => {
                format!("{} it is given up, since some are late; another one signs on", self.bad(&word))
            }
        }
    }

    fn change(self, change: &Change) -> Vec<String> {
        let Change { added, changed, removed, proxies, generated, acknowledged_ms } = change;
        let objects = |word: String, list: &[String]| -> Vec<String> {
            list.iter().map(|object| format!("  {word} {object}")).collect()
        };
        let reached = match (proxies, acknowledged_ms) {
            (_, None) => self.bad("not all proxies have acknowledged it"),
            (0, Some(_)) => "no proxy is concerned".to_owned(),
            (proxies, Some(time)) => format!(
                "{} concerned, {} generated, {}",
                count(*proxies, "proxy", "proxies"),
                count(*generated, "resource", "resources"),
                self.good(&format!("all acknowledged after {time:.1} ms"))
            ),
        };
        let mut lines = vec![format!("{} {reached}", self.attention("edited:"))];
        lines.extend(objects(self.good("+"), added));
        lines.extend(objects(self.attention("~"), changed));
        lines.extend(objects(self.bad("-"), removed));
        lines
    }

    /// The line of a finding.
    pub(super) fn finding(self, finding: &Finding) -> String {
        match finding.severity.as_str() {
            "error" => self.bad(&finding.text),
            "warning" => self.attention(&finding.text),
            _ => self.faint(&finding.text),
        }
    }
}

fn count(number: u64, one: &str, several: &str) -> String {
    format!("{number} {}", if number == 1 { one } else { several })
}

/// A duration for people.
pub(super) fn seconds(milliseconds: u64) -> String {
    if milliseconds < 1000 {
        format!("{milliseconds} ms")
    } else {
        format!("{:.1} s", milliseconds as f64 / 1e3)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(what: Happening) -> Vec<String> {
        Painter::plain().lines(&Event { number: 1, at_ms: 0, what })
    }

    #[test]
    fn an_edit_says_what_changed_and_how_far_it_reached() {
        let change = Change {
            changed: vec!["TrafficSplit s/t (split.yaml:2)".to_owned()],
            proxies: 2,
            generated: 3,
            acknowledged_ms: Some(12.34),
            ..Change::default()
        };
        assert_eq!(
            lines(Happening::Changed(change.clone())),
            [
                "edited: 2 proxies concerned, 3 resources generated, all acknowledged after 12.3 ms",
                "  ~ TrafficSplit s/t (split.yaml:2)"
            ]
        );
        let unfinished = Change { acknowledged_ms: None, ..change };
        assert_eq!(lines(Happening::Changed(unfinished))[0], "edited: not all proxies have acknowledged it");
    }

    #[test]
    fn an_end_says_how_and_when_it_is_started_again() {
        let ended = Happening::Ended {
            pod: "s/p".to_owned(),
            process: "app".to_owned(),
            how: "exit status 3".to_owned(),
            again_in_ms: 2000,
        };
        assert_eq!(lines(ended), ["ended s/p: app: exit status 3; it is started again in 2.0 s"]);
    }

    #[test]
    fn a_change_of_roots_is_told_step_by_step() {
        let root = |step| lines(Happening::Root { root: "next".to_owned(), step });
        assert_eq!(root(RootStep::Told), ["root next: everybody is told to trust it"]);
        assert_eq!(root(RootStep::Signs), ["root next: all trust it, and it signs from now on"]);
        let settled = Happening::RootsSettled {
            root: "next".to_owned(),
            trusted: vec!["next".to_owned()],
            after_ms: 7100,
        };
        assert_eq!(lines(settled), ["roots settled: next signs; trusted: next; after 7.1 s"]);
    }
}
