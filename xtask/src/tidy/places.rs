//! Nothing in the project names a place that only one machine has, or a registry:
//! where packages come from is the setting of whoever builds.

use super::Finding;
use super::tree::Tree;

/// Places, each in two halves so that this file does not name them.
const PLACES: [(&str, &str); 10] = [
    ("/wo", "rk/"),
    ("/ro", "ot/"),
    ("/fa", "rm/"),
    ("/tmp/w", "t/"),
    ("pypi", ".org"),
    ("python", "hosted.org"),
    ("crates", ".io"),
    ("npmjs", ".org"),
    ("deb.de", "bian.org"),
    ("proxy.go", "lang.org"),
];

/// Lines that name one.
#[must_use]
pub fn check(tree: &Tree) -> Vec<Finding> {
    let places: Vec<String> = PLACES.iter().map(|(one, other)| [*one, *other].concat()).collect();
    let mut findings = Vec::new();
    // Cargo writes the lock files, and they name the registry.
    for (path, text) in tree.texts.iter().filter(|(path, _)| !path.ends_with("Cargo.lock")) {
        for (number, line) in text.lines().enumerate() {
            let named = places.iter().filter(|place| line.contains(place.as_str()));
            findings.extend(named.map(|place| {
                Finding::new(
                    path,
                    number + 1,
                    format!("names {place}, which is one machine's or a registry's"),
                )
            }));
        }
    }
    findings
}
