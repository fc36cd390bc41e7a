//! The Go that helm and Kubernetes are built with. Debian's is too old, so it is the
//! user who brings it.

use std::process::Command;

use anyhow::{Result, bail};

use crate::workspace::output;

/// The oldest Go that fetches by itself the release that a module asks for.
const OLDEST: u32 = 21;

/// Sees to it that there is a Go that can build something.
///
/// # Errors
/// When there is none, or it is too old; `instead` says what to do without one.
pub fn require(what: &str, instead: &str) -> Result<()> {
    let advice = format!("install Go 1.{OLDEST} or newer (https://go.dev/dl), or {instead}");
    match output(Command::new("go").args(["env", "GOVERSION"])) {
        Err(_) => bail!("building {what} needs Go: {advice}"),
        Ok(said) if minor(&said).is_none_or(|minor| minor < OLDEST) => {
            bail!("building {what}: the Go on this machine is {}, which is too old: {advice}", said.trim())
        }
        Ok(_) => Ok(()),
    }
}

fn minor(said: &str) -> Option<u32> {
    said.trim().strip_prefix("go1.")?.split(|letter: char| !letter.is_ascii_digit()).next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_old_go_is_known_by_what_it_says() {
        assert_eq!(minor("go1.26.8\n"), Some(26));
        assert_eq!(minor("go1.19"), Some(19));
        assert_eq!(minor("go1.22rc1"), Some(22));
        assert_eq!(minor("devel"), None);
    }
}
