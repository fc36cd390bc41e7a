//! `osm local exec`: a program inside a pod.

use std::io::IsTerminal;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, ExitCode};

use anyhow::{Context, Result};
use clap::Args;

use crate::local::client::Client;
use crate::local::requirements::{Tools, search_path};
use crate::local::user_namespace::is_another;

/// Which program, in which pod.
#[derive(Debug, Clone, Args)]
pub struct ExecArgs {
    /// The pod: `namespace/name`, or `name` where only one is called so
    pub pod: String,
    /// The program and its arguments
    #[arg(last = true, required = true, value_name = "CMD")]
    pub command: Vec<String>,
}

/// Becomes the program. Returns only when it can't.
pub(super) async fn run(args: &ExecArgs, client: &Client) -> Result<ExitCode> {
    let (program, arguments) = args.command.split_first().context("no program is named")?;
    let terminal = std::env::var("TERM").ok().map(|terminal| ("TERM".to_owned(), terminal));
    let entry = client.enter(&args.pod, program, terminal.into_iter().collect()).await?;
    let mesh = client.process().await?;
    let system = search_path();
    let tools = Tools::find(&system)?;
    let words: Vec<String> = entry.prefix.into_iter().chain(arguments.iter().cloned()).collect();
    let script = system.iter().map(|folder| folder.join("script")).find(|path| path.is_file());
    let user = is_another(mesh).context("looking for the mesh")?.then_some("--user");
    let error = Command::new(&tools.nsenter)
        .args(["--target", &mesh.to_string()])
        .args(user)
        .args(["--mount", "--pid", "--net", "--ipc", "--uts", "--"])
        .args(with_terminal(words, script))
        .env_clear()
        .exec();
    Err(error).with_context(|| format!("starting {}", tools.nsenter.display()))
}

/// The words that give a program a terminal of its own, where there is one and
/// the tool for it: job control does not reach from the terminal outside into
/// other namespaces of processes.
fn with_terminal(words: Vec<String>, script: Option<PathBuf>) -> Vec<String> {
    let interactive = std::io::stdin().is_terminal() && std::io::stdout().is_terminal();
    match script {
        Some(script) if interactive => {
            let script = script.display().to_string();
            let quoted = words.iter().map(|word| quote(word)).collect::<Vec<_>>().join(" ");
            vec![script, "-q".to_owned(), "-e".to_owned(), "-c".to_owned(), quoted, "/dev/null".to_owned()]
        }
        _ => words,
    }
}

/// A word as a shell reads it back.
fn quote(word: &str) -> String {
    format!("'{}'", word.replace('\'', "'\\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shell_reads_a_quoted_word_back_as_it_was() {
        for word in ["", "a b", "it's", "$(x) \"y\" \\ \n", "'"] {
            let output = Command::new("/bin/sh").args(["-c", &format!("printf %s {}", quote(word))]).output();
            assert_eq!(String::from_utf8_lossy(&output.expect("sh runs").stdout), word);
        }
    }
}
