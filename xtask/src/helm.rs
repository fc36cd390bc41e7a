//! The helm for tests of the chart: built once by Go, which checks its source, and
//! kept in the user's cache. Users of the mesh need no helm.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result};

use crate::{envoy, go, workspace};

/// The release that the chart is tested with.
pub const VERSION: &str = "3.19.5";

/// The helm to use: `$OSM_HELM` when that is set, else one in the user's cache,
/// which is built now if it is not there yet.
///
/// # Errors
/// When `$OSM_HELM` is no file, or there is no Go that can build it.
pub fn ensure() -> Result<PathBuf> {
    if let Some(given) = workspace::given("OSM_HELM")? {
        return Ok(given);
    }
    let home = envoy::cache()?;
    let program = home.join(format!("helm-{VERSION}/helm"));
    if !program.is_file() {
        workspace::step(&format!("building helm {VERSION} into {}", program.display()), || {
            build(&home, &program)
        })?;
    }
    Ok(program)
}

/// Builds beside the place and renames, so that nobody ever sees half of it.
fn build(home: &Path, program: &Path) -> Result<()> {
    let workshop = envoy::Workshop::make(home)?;
    go::require("helm", "set $OSM_HELM to a helm")?;
    workspace::succeed(&mut go_install(workshop.path()))?;
    let folder = program.parent().context("the program has a folder")?;
    std::fs::create_dir_all(folder).with_context(|| format!("making {}", folder.display()))?;
    std::fs::rename(workshop.path().join("helm"), program)
        .with_context(|| format!("writing {}", program.display()))
}

fn go_install(folder: &Path) -> Command {
    let mut go = Command::new("go");
    go.arg("install").arg(format!("helm.sh/helm/v3/cmd/helm@v{VERSION}"));
    // What Go says goes beside the results of tests, not among them.
    go.env("GOBIN", folder).env("CGO_ENABLED", "0").stdin(Stdio::null()).stdout(std::io::stderr());
    go
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn go_is_told_the_release_and_where_to_leave_it() {
        let go = go_install(Path::new("/there"));
        assert_eq!(workspace::shown(&go), "go install helm.sh/helm/v3/cmd/helm@v3.19.5");
        assert!(go.get_envs().any(|(name, value)| name == "GOBIN" && value.is_some_and(|at| at == "/there")));
    }
}
