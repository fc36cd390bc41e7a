//! Flags that several commands have.

use clap::Args;

use super::connection::ClusterArgs;
use super::table::Output;

/// Which mesh of which cluster.
#[derive(Debug, Clone, Args)]
pub struct NamedMeshArgs {
    /// The name of the mesh
    #[arg(long, value_name = "NAME", default_value = "osm", env = "OSM_MESH_NAME")]
    pub mesh_name: String,
    /// Which cluster
    #[command(flatten)]
    pub cluster: ClusterArgs,
}

/// Which mesh is looked at, and how that is printed.
#[derive(Debug, Clone, Args)]
pub struct LookArgs {
    /// Which mesh
    #[command(flatten)]
    pub at: NamedMeshArgs,
    /// How it is printed
    #[arg(short, long, value_name = "FORMAT", default_value = "table")]
    pub output: Output,
}

/// Whose sidecars are listed, and how that is printed.
#[derive(Debug, Clone, Args)]
pub struct SidecarsArgs {
    /// Only those of this namespace
    #[arg(short, long, value_name = "NAMESPACE")]
    pub namespace: Option<String>,
    /// How it is printed
    #[arg(short, long, value_name = "FORMAT", default_value = "table")]
    pub output: Output,
    /// Which cluster
    #[command(flatten)]
    pub cluster: ClusterArgs,
}

#[cfg(test)]
mod tests {
    use clap::ArgMatches;

    use super::*;
    use crate::cli::command;

    /// What the command at the end of a command line was given.
    fn given(line: &str) -> ArgMatches {
        let mut matches = command().try_get_matches_from(line.split(' ')).unwrap();
        while let Some((_, inner)) = matches.remove_subcommand() {
            matches = inner;
        }
        matches
    }

    #[test]
    fn commands_that_list_sidecars_take_the_same_flags() {
        for command in ["certs status", "proxy list"] {
            let given = given(&format!("osm {command} -n shop --output=json --osm-namespace mesh"));
            assert_eq!(given.get_one("namespace"), Some(&"shop".to_owned()), "{command}");
            assert_eq!(given.get_one("output"), Some(&Output::Json), "{command}");
            assert_eq!(given.get_one("osm_namespace"), Some(&"mesh".to_owned()), "{command}");
        }
    }

    #[test]
    fn commands_about_a_mesh_take_its_name_alike() {
        let looks = [
            "policy check-pods a/b c/d -o json",
            "verify control-plane -o json",
            "verify injection -o json",
            "verify connectivity --from-pod a/b --to-pod c/d -o json",
        ];
        for command in looks {
            assert_eq!(given(&format!("osm {command}")).get_one("output"), Some(&Output::Json), "{command}");
        }
        let acts = ["namespace add shop", "namespace remove shop", "uninstall", "support bug-report"];
        for command in looks.into_iter().chain(acts) {
            let given = given(&format!("osm {command} --mesh-name blue --osm-namespace mesh"));
            assert_eq!(given.get_one("mesh_name"), Some(&"blue".to_owned()), "{command}");
            assert_eq!(given.get_one("osm_namespace"), Some(&"mesh".to_owned()), "{command}");
        }
    }
}
