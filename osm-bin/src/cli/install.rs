//! `osm install` and `osm upgrade`: a mesh in a cluster, as the chart has it.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Result;
use clap::{ArgAction, Args, ValueEnum};
use osm_k8s::objects::Applied;
use serde_json::Value;

use super::connection::{Cluster, ClusterArgs};
use super::local::lines::print;
use super::uninstall::removal;
use crate::chart::{Chart, Overrides};
use crate::install::{self, Record, Release, Removal, Step};

/// Installs a mesh into a cluster
///
/// What is applied is what `helm template` makes of the chart for the same values. Values that are not set are the
/// chart's own.
#[derive(Debug, Clone, Args)]
pub struct InstallArgs {
    /// Which cluster
    #[command(flatten)]
    pub cluster: ClusterArgs,
    /// What is installed
    #[command(flatten)]
    pub values: ValueArgs,
    /// Take away what was applied if something fails
    #[arg(long)]
    pub atomic: bool,
    /// How it is done
    #[command(flatten)]
    pub manner: MannerArgs,
}

/// Changes a mesh that is installed, or brings it to this version
///
/// Values that are not set are the chart's own again, whatever they were before. The MeshConfig is left as it is.
#[derive(Debug, Clone, Args)]
pub struct UpgradeArgs {
    /// Which cluster
    #[command(flatten)]
    pub cluster: ClusterArgs,
    /// What is installed
    #[command(flatten)]
    pub values: ValueArgs,
    /// How it is done
    #[command(flatten)]
    pub manner: MannerArgs,
}

/// What a mesh is to be like.
#[derive(Debug, Clone, Args)]
pub struct ValueArgs {
    /// The name of the mesh [default: osm, or what the values say]
    #[arg(long, value_name = "NAME", env = "OSM_MESH_NAME")]
    pub mesh_name: Option<String>,
    /// Whether this mesh is to be the only one of the cluster [default: true, or what the values say]
    #[arg(long, value_name = "BOOL", action = ArgAction::Set, num_args = 0..=1, default_missing_value = "true")]
    pub enforce_single_mesh: Option<bool>,
    /// A file of values for the chart; may be repeated, and the last counts
    #[arg(short = 'f', long = "values", value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// A value for the chart, as in `osm.image.tag=1.2`; may be repeated
    #[arg(long, value_name = "NAME=VALUE")]
    pub set: Vec<String>,
    /// The same, where the value is a text whatever it looks like
    #[arg(long, value_name = "NAME=TEXT")]
    pub set_string: Vec<String>,
    /// The same, where the value is what a file holds
    #[arg(long, value_name = "NAME=FILE")]
    pub set_file: Vec<String>,
}

/// How a mesh is applied.
#[derive(Debug, Clone, Args)]
pub struct MannerArgs {
    /// Whether to wait until the control plane is ready
    #[arg(long, value_name = "BOOL", action = ArgAction::Set, num_args = 0..=1, default_value_t = true,
          default_missing_value = "true")]
    pub wait: bool,
    /// How long to wait, in seconds or as in `5m`
    #[arg(long, value_name = "TIME", default_value = "5m", value_parser = duration)]
    pub timeout: Duration,
    /// Print what would be applied, and ask no cluster
    #[arg(long)]
    pub dry_run: bool,
    /// How it is printed
    #[arg(short, long, value_name = "FORMAT", default_value = "yaml", requires = "dry_run")]
    pub output: OutputFormat,
}

/// How objects are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum OutputFormat {
    /// YAML documents.
    Yaml,
    /// One JSON list.
    Json,
}

impl InstallArgs {
    /// Does it.
    ///
    /// # Errors
    /// When it can't be done; the text says what to do next.
    pub fn run(self) -> Result<ExitCode> {
        let release = self.values.release(&self.cluster.osm_namespace)?;
        if self.manner.dry_run {
            return show(&release, self.manner.output);
        }
        self.cluster.run(async |cluster: Cluster| {
            let objects = &cluster.objects;
            let before = install::check_install(objects, &release).await?;
            let done = async {
                install::bring(objects, &release, before, &mut tell).await?;
                self.manner.wait_for(&cluster, &release).await
            };
            if let Err(error) = done.await {
                return Err(if self.atomic { roll_back(&cluster, &release, error).await } else { error });
            }
            let Release { mesh, namespace, .. } = &release;
            print(&format!(
                "mesh {mesh} is installed in {namespace}; add a namespace to it with \
                 `osm namespace add NAMESPACE --mesh-name {mesh}`"
            ))?;
            Ok(ExitCode::SUCCESS)
        })
    }
}

impl UpgradeArgs {
    /// Does it.
    ///
    /// # Errors
    /// When it can't be done; the text says what to do next.
    pub fn run(self) -> Result<ExitCode> {
        let release = self.values.release(&self.cluster.osm_namespace)?;
        if self.manner.dry_run {
            return show(&release, self.manner.output);
        }
        self.cluster.run(async |cluster: Cluster| {
            let before = install::check_upgrade(&cluster.objects, &release).await?;
            install::bring(&cluster.objects, &release, before, &mut tell).await?;
            self.manner.wait_for(&cluster, &release).await?;
            print(&format!("mesh {} is upgraded to {}", release.mesh, env!("CARGO_PKG_VERSION")))?;
            Ok(ExitCode::SUCCESS)
        })
    }
}

impl ValueArgs {
    fn release(&self, namespace: &str) -> Result<Release> {
        let Self { mesh_name, enforce_single_mesh, files, set, set_string, set_file } = self.clone();
        let mut overrides = Overrides { files, set, set_string, set_file }.read()?;
        if let Some(single) = enforce_single_mesh {
            overrides["osm"]["enforceSingleMesh"] = single.into();
        }
        Release::of(&Chart::built_in()?, mesh_name.as_deref(), namespace, overrides)
    }
}

impl MannerArgs {
    async fn wait_for(&self, cluster: &Cluster, release: &Release) -> Result<()> {
        if self.wait {
            install::wait(&cluster.objects, release, self.timeout, &mut tell).await?;
        }
        Ok(())
    }
}

/// Takes away what a failed installation has applied, and says what became of it.
async fn roll_back(cluster: &Cluster, release: &Release, error: anyhow::Error) -> anyhow::Error {
    let taken = async {
        let record = Record::read(&cluster.objects, &release.mesh, &release.namespace).await?;
        let with_namespace = record.is_some_and(|record| record.created_namespace);
        let removal =
            Removal { with_namespace, ..removal(&release.mesh, &release.namespace, &release.definitions) };
        install::uninstall(&cluster.objects, &removal, &mut tell).await
    };
    match taken.await {
        Ok(()) => error.context("the installation failed, and what it had applied is taken away"),
        Err(also) => error.context(format!("the installation failed, and so did taking it away: {also:#}")),
    }
}

fn show(release: &Release, output: OutputFormat) -> Result<ExitCode> {
    let all: Vec<&Value> = release.definitions.iter().chain(&release.objects).collect();
    match output {
        OutputFormat::Json => print(&serde_json::to_string_pretty(&all)?)?,
        OutputFormat::Yaml => {
            let documents: Vec<String> = all.into_iter().map(osm_k8s::yaml::write).collect();
            print(documents.join("---\n").trim_end())?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Says what happens. That nobody reads it any more is no reason to stop half way.
pub(super) fn tell(step: Step) {
    let line = match step {
        Step::Applied(_, Applied::Unchanged) => return,
        Step::Applied(key, Applied::Created) => format!("created {key}"),
        Step::Applied(key, Applied::Changed) => format!("changed {key}"),
        Step::Removed(key) => format!("removed {key}"),
        Step::Kept(key, why) => format!("kept    {key}: {why}"),
        Step::Waiting(what) => format!("waiting {what}"),
    };
    print(&line).ok();
}

/// A time as in `90`, `90s`, `5m` or `1h30m`.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("{text:?} is no time; write it as `90s` or `5m`");
    let mut seconds = 0_u64;
    let mut number = String::new();
    for character in text.chars() {
        let unit = match character {
            '0'..='9' => {
                number.push(character);
                continue;
            }
            's' => 1,
            'm' => 60,
            'h' => 3600,
            _ => return Err(wrong()),
        };
        let count: u64 = std::mem::take(&mut number).parse().map_err(|_| wrong())?;
        seconds = count.checked_mul(unit).and_then(|more| seconds.checked_add(more)).ok_or_else(wrong)?;
    }
    if !number.is_empty() {
        if seconds > 0 {
            return Err(wrong());
        }
        seconds = number.parse().map_err(|_| wrong())?;
    }
    Ok(Duration::from_secs(seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_as_go_writes_them_or_as_seconds() {
        for (text, seconds) in [("90", 90), ("5m", 300), ("1h30m", 5400), ("0s", 0)] {
            assert_eq!(duration(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
        for text in ["m", "5x", "1h30", "-1s"] {
            assert!(duration(text).is_err(), "{text}");
        }
    }

    fn release(values: ValueArgs) -> Result<Release> {
        values.release("osm-system")
    }

    fn no_values() -> ValueArgs {
        ValueArgs {
            mesh_name: None,
            enforce_single_mesh: None,
            files: Vec::new(),
            set: Vec::new(),
            set_string: Vec::new(),
            set_file: Vec::new(),
        }
    }

    #[test]
    fn a_flag_counts_more_than_a_value_and_a_value_more_than_the_chart() {
        let set = vec!["osm.meshName=blue,osm.enforceSingleMesh=false,osm.osmNamespace=there".to_owned()];
        let by_value = release(ValueArgs { set: set.clone(), ..no_values() }).unwrap();
        assert_eq!((by_value.mesh.as_str(), by_value.namespace.as_str()), ("blue", "there"));
        assert!(!by_value.single);
        let flags = ValueArgs {
            mesh_name: Some("red".to_owned()),
            enforce_single_mesh: Some(true),
            set,
            ..no_values()
        };
        let by_flag = release(flags).unwrap();
        assert_eq!((by_flag.mesh.as_str(), by_flag.single), ("red", true));
        let default = release(no_values()).unwrap();
        assert_eq!((default.mesh.as_str(), default.namespace.as_str()), ("osm", "osm-system"));
    }
}
