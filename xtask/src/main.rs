//! `cargo xtask VERB`: the command line of the workspace's tasks. What a verb
//! does stands in the library.

use std::path::Path;
use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::{CommandFactory, Parser, Subcommand};
use xtask::cluster::{self, Layout};
use xtask::{
    bench, cert_manager, check, demo, e2e, envoy, fuzz, goldens, grpc, helm, images, openbao, suite, tidy,
    workspace,
};

/// Tasks of this workspace, each what a person or CI would otherwise type by hand.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", disable_help_subcommand = true)]
struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// The fast part: format, tidy, lints, documentation, build, and the tests that need nothing but Rust
    Check,
    /// Everything that `check` does, then the tests that need Envoy, root or a cluster, with what they need brought
    Test,
    /// The tests that need a Kubernetes cluster: that of `$KUBECONFIG`, else one of the project's own
    E2e {
        /// Only the test targets whose name begins so
        #[arg(default_value = "cluster_")]
        target: String,
        /// Only tests whose name contains this
        filter: Option<String>,
    },
    /// A Kubernetes of one node on this machine
    #[command(subcommand)]
    Cluster(ClusterVerb),
    /// Packs the images of the mesh and of its tests as archives, and prints where they are
    Images,
    /// The bookstore on this machine, with real Envoys
    Demo {
        /// Passed to `osm local demo`, for example `--once`
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Fetches the Envoy that the demo and the tests use, and prints where it is
    Envoy,
    /// Installs gRPC's own library for Python, which the tests of its xDS client use, and prints where it is
    Grpc,
    /// Builds the helm that the tests of the chart use, and prints where it is
    Helm,
    /// Fetches the OpenBao server that the tests of the issuer on Vault use, and prints where it is
    Openbao,
    /// Builds the cert-manager that the tests of the issuer on it use, and prints where it is
    CertManager,
    /// Measures
    #[command(subcommand)]
    Bench(Bench),
    /// Writes the goldens of all scenarios again, to be reviewed as a change of behaviour
    Goldens,
    /// Plays made-up input against what reads the input of strangers
    Fuzz {
        /// Only this one: discovery, encoding, identities or manifests
        target: Option<String>,
        /// For how long each
        #[arg(long, default_value_t = 60)]
        seconds: u32,
        /// Keep what was found for the target as its corpus in the tree, as little as reaches as much
        #[arg(long, requires = "target", conflicts_with = "seconds")]
        minimise: bool,
    },
    /// Only the rules about the workspace's own text and dependencies (part of `check`)
    Tidy,
}

#[derive(Debug, Subcommand)]
enum ClusterVerb {
    /// Starts it, and prints the path of its kubeconfig; one that is up is left alone
    Up,
    /// Ends it; nothing is left of it but logs
    Down,
    /// Gives the one that is up the images of the mesh and of its tests
    Load,
    /// Takes a program of the one that is up away, as a crash would, such as `kube-apiserver` or `etcd`
    Stop {
        /// Its name
        program: String,
    },
    /// Starts a program again that was taken away
    Start {
        /// Its name
        program: String,
    },
    /// Kills a container of the one that is up, without asking its API server
    Kill {
        /// Its number, as the pod's status says it
        container: String,
    },
    /// The process that a cluster lives by
    #[command(hide = true)]
    Keep {
        #[command(flatten)]
        layout: Layout,
        /// End when standard input does
        #[arg(long)]
        tied: bool,
    },
    /// The first process of a cluster
    #[command(hide = true)]
    FirstProcess {
        #[command(flatten)]
        layout: Layout,
    },
}

#[derive(Debug, Subcommand)]
enum Bench {
    /// The controller as a process of its own, and many simulated proxies
    Fleet {
        /// Passed to `osm-fleet`, for example `--proxies 1000`
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// The same with the objects in a real API server
    Source {
        /// Passed to `osm-fleet`, for example `--services 1000 --endpoints 20`
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Pods that are admitted
    Admission {
        /// Passed to `osm-admission`, for example `--pods 1000`
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Snapshots of meshes of several sizes: from scratch, and after one change
    Snapshot {
        /// Passed to `osm-snapshot`, for example `--runs 20`
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Certificates, beside the signatures and keys that they can't be had without
    Certificates {
        /// Passed to `osm-certificates`, for example `--runs 9`
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
}

fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => return refuse(&error),
    };
    match run(arguments.verb) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("\nxtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(verb: Verb) -> anyhow::Result<()> {
    let root = workspace::root();
    match verb {
        Verb::Check => check::run(&root),
        Verb::Test => suite::run(&root),
        Verb::E2e { target, filter } => e2e::run(&root, &target, filter.as_deref()),
        Verb::Cluster(verb) => run_cluster(&root, verb),
        Verb::Images => {
            for image in images::make(&root)?.1 {
                println!("{}", image.file.display());
            }
            Ok(())
        }
        Verb::Demo { arguments } => demo::run(&root, &arguments),
        Verb::Envoy => {
            println!("{}", envoy::ensure()?.display());
            Ok(())
        }
        Verb::Grpc => {
            println!("{}", grpc::ensure(&root)?.display());
            Ok(())
        }
        Verb::Helm => {
            println!("{}", helm::ensure()?.display());
            Ok(())
        }
        Verb::Openbao => {
            println!("{}", openbao::ensure(&root)?.display());
            Ok(())
        }
        Verb::CertManager => {
            println!("{}", cert_manager::ensure(&root)?.display());
            Ok(())
        }
        Verb::Bench(Bench::Fleet { arguments }) => bench::fleet(&root, &arguments),
        Verb::Bench(Bench::Source { arguments }) => bench::source(&root, &arguments),
        Verb::Bench(Bench::Admission { arguments }) => bench::admission(&root, &arguments),
        Verb::Bench(Bench::Snapshot { arguments }) => bench::alone(&root, "osm-snapshot", &arguments),
        Verb::Bench(Bench::Certificates { arguments }) => bench::alone(&root, "osm-certificates", &arguments),
        Verb::Goldens => goldens::run(&root),
        Verb::Fuzz { target: Some(target), minimise: true, .. } => fuzz::minimise(&root, &target),
        Verb::Fuzz { target, seconds, .. } => fuzz::run(&root, target.as_deref(), seconds),
        Verb::Tidy => tidy::run(&root),
    }
}

fn run_cluster(root: &Path, verb: ClusterVerb) -> anyhow::Result<()> {
    match verb {
        ClusterVerb::Up => {
            println!("{}", cluster::up(root)?.display());
            Ok(())
        }
        ClusterVerb::Down => cluster::down(root),
        ClusterVerb::Load => {
            images::make(root)?.1.iter().try_for_each(|image| cluster::load(root, &image.file))
        }
        ClusterVerb::Stop { program } => cluster::stop(root, &program),
        ClusterVerb::Start { program } => cluster::start_again(root, &program),
        ClusterVerb::Kill { container } => cluster::kill_container(root, &container),
        ClusterVerb::Keep { layout, tied } => cluster::keep(&layout, tied),
        ClusterVerb::FirstProcess { layout } => cluster::first_process(&layout),
    }
}

/// Prints what is wrong with the command line; a verb that does not exist is
/// answered with those that do.
fn refuse(error: &clap::Error) -> ExitCode {
    if error.kind() == ErrorKind::InvalidSubcommand {
        eprintln!("{error}\nVerbs:");
        for verb in Arguments::command().get_subcommands() {
            let about = verb.get_about().map(ToString::to_string).unwrap_or_default();
            eprintln!("  {:8} {about}", verb.get_name());
        }
        return ExitCode::from(2);
    }
    // Nothing is left to do about a terminal that can't be written to.
    error.print().ok();
    ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2))
}
