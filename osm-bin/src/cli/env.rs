//! `osm env`: what the environment sets for this program.

use std::process::ExitCode;

use anyhow::Result;
use clap::{Args, Command};

use super::local::lines::print;

/// Shows the variables of the environment that this program reads, and what they are set to
#[derive(Debug, Clone, Args)]
pub struct EnvArgs {}

impl EnvArgs {
    /// Does it.
    ///
    /// # Errors
    /// When nothing can be printed.
    pub fn run(self, program: &Command) -> Result<ExitCode> {
        for name in variables(program) {
            match std::env::var(&name) {
                Ok(value) => print(&format!("{name}={value:?}"))?,
                Err(_) => print(&format!("# {name} is not set"))?,
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// The variables that any flag of a program or its commands may be set by, in order.
fn variables(program: &Command) -> std::collections::BTreeSet<String> {
    let own = program.get_arguments().filter_map(|flag| flag.get_env());
    let own = own.map(|name| name.to_string_lossy().into_owned());
    own.chain(program.get_subcommands().flat_map(variables)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_are_those_of_the_flags() {
        let variables = variables(&crate::cli::command());
        for name in ["KUBECONFIG", "OSM_MESH_NAME", "OSM_NAMESPACE", "OSM_LOCAL_STATE"] {
            assert!(variables.contains(name), "{name} is not in {variables:?}");
        }
    }
}
