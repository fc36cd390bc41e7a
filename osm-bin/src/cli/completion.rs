//! `osm completion`: what a shell has to know to complete commands.

use std::io::Write;
use std::process::ExitCode;

use anyhow::Result;
use clap::{Args, Command};
use clap_complete::Shell;

/// Prints a script that completes commands in a shell
///
/// For bash: `source <(osm completion bash)`.
#[derive(Debug, Clone, Args)]
pub struct CompletionArgs {
    /// The shell
    pub shell: Shell,
}

impl CompletionArgs {
    /// Does it.
    ///
    /// # Errors
    /// When nothing can be printed.
    pub fn run(self, mut program: Command) -> Result<ExitCode> {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut program, "osm", &mut script);
        std::io::stdout().write_all(&script)?;
        Ok(ExitCode::SUCCESS)
    }
}
