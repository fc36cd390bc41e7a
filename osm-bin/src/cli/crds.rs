//! `osm crds`: the definitions of the mesh's kinds.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Args;
use osm_k8s::crds::{Definition, definitions};
use osm_k8s::yaml;

/// Prints the definitions of the mesh's kinds (CustomResourceDefinitions), to be applied to a cluster
#[derive(Debug, Clone, Args)]
pub struct CrdsArgs {
    /// Write a file for each kind into this folder instead
    #[arg(long, value_name = "FOLDER")]
    folder: Option<PathBuf>,
}

impl CrdsArgs {
    /// Runs the command.
    ///
    /// # Errors
    /// When the output can't be written.
    pub fn run(&self) -> Result<ExitCode> {
        let definitions = definitions();
        match &self.folder {
            Some(folder) => write_files(folder, &definitions)?,
            None => std::io::stdout().write_all(stream(&definitions).as_bytes()).context("writing")?,
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn write_files(folder: &Path, definitions: &[Definition]) -> Result<()> {
    std::fs::create_dir_all(folder).with_context(|| format!("making the folder {}", folder.display()))?;
    for definition in definitions {
        let path = folder.join(definition.file_name());
        let text = yaml::write(&definition.object);
        std::fs::write(&path, text).with_context(|| format!("writing {}", path.display()))?;
    }
    Ok(())
}

/// All of them as one file.
fn stream(definitions: &[Definition]) -> String {
    definitions.iter().map(|one| format!("---\n{}", yaml::write(&one.object))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_printed_is_a_stream_of_definitions_and_files_hold_the_same() {
        let definitions = definitions();
        let printed = yaml::read(&stream(&definitions)).expect("YAML");
        assert_eq!(printed, definitions.iter().map(|one| one.object.clone()).collect::<Vec<_>>());
        let folder = tempfile::tempdir().expect("a folder");
        write_files(folder.path(), &definitions).expect("files");
        for definition in &definitions {
            let text = std::fs::read_to_string(folder.path().join(definition.file_name())).expect("a file");
            assert_eq!(yaml::read(&text).expect("YAML"), std::slice::from_ref(&definition.object));
        }
    }
}
