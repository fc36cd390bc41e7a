//! The demo for a person at a terminal: what is done stays as a line, what is
//! under way is drawn over and over below it.

use std::fmt::Write as _;
use std::io::Write;
use std::path::Path;

use owo_colors::OwoColorize;

use super::counters::Counters;
use super::report::{Outcome, Progress, Reporter, StepReport, Summary};
use super::script::Step;
use crate::local::api::{Change, Status};

/// How wide bars are, in characters.
const BAR: usize = 24;
/// How wide the names of steps are.
const NAMES: usize = 19;

/// Draws on standard output.
#[derive(Debug, Default)]
pub struct Screen {
    /// How many lines are to be drawn over.
    drawn: usize,
    /// The lines that stand at the top of what is under way.
    heading: String,
    /// The folder of the manifests, with its final slash: left out of what is shown.
    folder: String,
    over: bool,
}

impl Screen {
    /// A screen with nothing on it.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Puts text where what is under way stood, for good.
    fn keep(&mut self, text: &str) {
        self.draw(text);
        self.drawn = 0;
    }

    /// Puts text where what is under way stood, to be drawn over again.
    fn draw(&mut self, text: &str) {
        let mut out = String::new();
        if self.drawn > 0 {
            // Up to the first line of what was drawn, and away with everything below.
            let _ = write!(out, "\x1b[{}A\x1b[J", self.drawn);
        }
        let width = terminal_size::terminal_size().map_or(100, |(width, _)| usize::from(width.0));
        for line in text.lines() {
            // A line that the terminal wraps would not be drawn over in full.
            out.push_str(&fit(line, width));
            out.push('\n');
        }
        self.drawn = text.lines().count();
        // A terminal that has gone away is noticed by whoever reads its keys.
        drop(std::io::stdout().write_all(out.as_bytes()).and_then(|()| std::io::stdout().flush()));
    }
}

impl Reporter for Screen {
    fn starting(&mut self, folder: &Path) {
        self.folder = format!("{}/", folder.display());
        let title = "Open Service Mesh: the bookstore, on this machine".bold().to_string();
        self.keep(&format!("\n  {title}\n  manifests  {}\n\n", folder.display().to_string().cyan()));
        self.draw(&format!(
            "  {} starting pods, each with a network and an Envoy of its own …\n",
            "▸".yellow()
        ));
    }

    fn up(&mut self, status: &Status, seconds: f64) {
        let proxies = status.pods.iter().filter(|pod| pod.proxy.is_some()).count();
        let text = format!("{} pods and {proxies} Envoys, all ready after {seconds:.1} s", status.pods.len());
        self.keep(&line(true, "up", &text));
    }

    fn begin(&mut self, step: &Step, number: usize, of: usize) {
        self.heading =
            format!("\n  {} {} {}\n", "▸".yellow(), format!("{number}/{of}").dimmed(), step.title.bold());
        let heading = self.heading.clone();
        self.draw(&heading);
    }

    fn acted(&mut self, outcome: &Outcome) {
        let text = describe(outcome).replace(&self.folder, "");
        if text.is_empty() {
            return;
        }
        if self.over {
            self.keep(&format!("  {} {text}\n", "▸".yellow()));
            return;
        }
        let _ = writeln!(self.heading, "      {text}");
        let heading = self.heading.clone();
        self.draw(&heading);
    }

    fn progress(&mut self, progress: &Progress<'_>) {
        let Progress { buyer, thief, wanted, total } = progress;
        let mut text = self.heading.clone();
        for (version, arm) in [("bookstore-v1", "bookbuyer ──┬─▶ "), ("bookstore-v2", "            └─▶ ")]
        {
            let share = buyer.share(version).unwrap_or(0.0);
            let count = buyer.by_identity.get(version).copied().unwrap_or(0);
            let _ = writeln!(
                text,
                "      {arm}{version}  {} {share:>5.1} %  {count:>5}",
                bar(share / 100.0).green()
            );
        }
        let _ = writeln!(text, "      bookthief ────▶ {}", thieving(thief));
        let done = buyer.requests as f64 / (*wanted).max(1) as f64;
        let failed = match total.failures {
            0 => "0 failed".green().to_string(),
            failures => format!("{failures} failed").red().to_string(),
        };
        let requests = buyer.requests.min(*wanted);
        let _ = writeln!(
            text,
            "      {} {requests} of {wanted} requests, {failed} since the start",
            bar(done).blue()
        );
        self.draw(&text);
    }

    fn done(&mut self, report: &StepReport) {
        let mut text = String::new();
        let acknowledged = report.actions.iter().filter_map(|action| match action {
            Outcome::Edited(Change { acknowledged_ms, proxies, .. }) if *proxies > 0 => *acknowledged_ms,
            Outcome::Rotated { after_ms, .. } | Outcome::Exchanged { after_ms, .. } => Some(*after_ms),
            _ => None,
        });
        // First what must not be cut on a narrow terminal.
        let mut summary = String::new();
        if let Some(after) = acknowledged.reduce(f64::max) {
            let _ = write!(summary, "every proxy after {after:.1} ms; ");
        }
        let _ = write!(summary, "buyer {}; thief {}", report.buyer, thieving(&report.thief));
        text.push_str(&line(report.ok, &report.step, &summary));
        for check in report.checks.iter().filter(|check| !check.ok) {
            let _ = writeln!(text, "      {} {}: {}", "✗".red(), check.check, check.saw);
        }
        self.keep(&text);
    }

    fn summary(&mut self, summary: &Summary) {
        self.over = true;
        let Summary { ok, seconds, steps: (steps, failed), buyer, slowest_change_ms } = summary;
        let mut text = format!(
            "{} steps in {seconds:.0} s; the buyer made {} requests, {} failed",
            steps, buyer.requests, buyer.failures
        );
        if let Some(slowest) = slowest_change_ms {
            let _ = write!(text, "; the slowest change reached its last proxy after {slowest:.1} ms");
        }
        if *failed > 0 {
            let _ = write!(text, "; {failed} not as they should be");
        }
        let hint = "The mesh goes on. Edit the manifests above and see how fast it follows; in another terminal,\n  \
                    `osm local status --name demo` shows every proxy. Ctrl-C ends it; nothing goes on running.";
        self.keep(&format!("\n{}\n  {}\n\n", line(*ok, "summary", &text), hint.dimmed()));
    }
}

fn line(ok: bool, name: &str, text: &str) -> String {
    let mark = if ok { "✓".green().to_string() } else { "✗".red().to_string() };
    format!("  {mark} {name:<NAMES$} {text}\n")
}

/// As much of a line as a terminal shows without wrapping it. Colours take no room.
fn fit(line: &str, width: usize) -> String {
    let mut shown = 0;
    let mut out = String::with_capacity(line.len());
    let mut letters = line.chars();
    while let Some(letter) = letters.next() {
        if letter == '\x1b' {
            out.push(letter);
            for letter in letters.by_ref() {
                out.push(letter);
                if letter.is_ascii_alphabetic() {
                    break;
                }
            }
        } else if shown + 1 < width {
            out.push(letter);
            shown += 1;
        } else if shown < width {
            out.push('…');
            shown = width;
        }
    }
    out
}

/// A bar that is filled up to a part of 1.
fn bar(part: f64) -> String {
    let filled = ((part.clamp(0.0, 1.0) * BAR as f64).round() as usize).min(BAR);
    format!("{}{}", "█".repeat(filled), "░".repeat(BAR - filled))
}

fn proxies(count: u64) -> String {
    if count == 1 { "1 proxy".to_owned() } else { format!("{count} proxies") }
}

fn thieving(thief: &Counters) -> String {
    match (thief.requests, thief.successes) {
        (0, _) => "–".to_owned(),
        (requests, 0) => format!("{} ({requests} times)", "denied".red()),
        (_, successes) => format!("{} ({successes} times)", "served".yellow()),
    }
}

fn describe(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Edited(change) => {
            let objects = change.added.iter().map(|object| format!("+ {object}"));
            let objects = objects.chain(change.changed.iter().map(|object| format!("~ {object}")));
            let objects: Vec<_> =
                objects.chain(change.removed.iter().map(|object| format!("- {object}"))).collect();
            let objects = match objects.as_slice() {
                [] => "nothing that matters".to_owned(),
                [one] => one.clone(),
                [first, rest @ ..] => format!("{first} and {} more", rest.len()),
            };
            match change.acknowledged_ms {
                Some(after) => format!(
                    "{objects} {} {}, the last after {after:.1} ms",
                    "→".dimmed(),
                    proxies(change.proxies)
                ),
                None => format!("{objects} {} some proxies have not acknowledged it", "→".red()),
            }
        }
        Outcome::Rotated { certificates, after_ms } => {
            format!("{certificates} certificates exchanged, all proxies have theirs after {after_ms:.0} ms")
        }
        Outcome::Exchanged { root, trusted: _, after_ms, requests, failures } => {
            let failed = if *failures == 0 { "0".green().to_string() } else { failures.red().to_string() };
            let seconds = after_ms / 1e3;
            format!(
                "root {root} signs and is trusted alone after {seconds:.1} s; {requests} requests meanwhile, {failed} failed"
            )
        }
        Outcome::Replaced { gap_ms, resources, proxies } => {
            format!("gone for {gap_ms} ms; {proxies} proxies came back and were sent {resources} resources")
        }
        Outcome::Reported(finding) => finding.text.clone(),
        Outcome::Mended => "the file is whole again".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_is_as_wide_as_every_other() {
        for part in [-1.0, 0.0, 0.5, 0.999, 1.0, 7.0] {
            assert_eq!(bar(part).chars().count(), BAR, "{part}");
        }
        assert!(bar(0.5).starts_with('█') && bar(0.5).ends_with('░'));
    }

    #[test]
    fn a_line_is_cut_where_the_terminal_ends_and_keeps_its_colours() {
        assert_eq!(fit("abc", 10), "abc");
        assert_eq!(fit("abcdef", 4), "abc…");
        let coloured = format!("{}def", "abc".red());
        assert_eq!(fit(&coloured, 5), format!("{}d…", "abc".red()));
        assert!(fit(&coloured, 2).ends_with("\x1b[39m"), "the colour ends");
    }

    #[test]
    fn a_change_of_several_objects_is_one_line() {
        let change = Change {
            added: vec![
                "TrafficTarget shop/a (a.yaml:1)".to_owned(),
                "TCPRoute shop/b (a.yaml:9)".to_owned(),
            ],
            proxies: 2,
            acknowledged_ms: Some(3.21),
            ..Change::default()
        };
        let text = describe(&Outcome::Edited(change));
        assert!(
            text.contains("TrafficTarget shop/a (a.yaml:1) and 1 more") && text.contains("3.2 ms"),
            "{text}"
        );
    }
}
