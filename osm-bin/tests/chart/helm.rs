//! `osm` against the real helm: the same objects for the same values, and the same refusals.

use std::path::{Path, PathBuf};
use std::process::Command;

use osm_bin::chart::{Chart, Overrides};
use serde_json::Value;

/// The Kubernetes that helm is to take for granted; built from source it takes one that is too old for any chart.
const KUBERNETES: &str = "1.32.0";

/// One installation: its release and namespace, and what its user says.
#[derive(Debug, Default)]
struct Case<'a> {
    release: &'a str,
    namespace: &'a str,
    values: &'a [&'a str],
    set: &'a [&'a str],
    set_string: &'a [&'a str],
}

/// Values of which one each is taken, in all combinations.
const MATRIX: &[&[&str]] = &[
    &["osm.meshName=osm", "osm.meshName=blue,osm.enforceSingleMesh=false"],
    &[
        "osm.osmController.autoScale.enable=false,osm.osmController.replicaCount=3",
        "osm.osmController.autoScale.enable=true",
    ],
    &[
        "osm.image.tag=1.2",
        "osm.image.registry=,osm.image.tag=x",
        "osm.image.digest.osmController=sha256:bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb",
    ],
    &[
        "osm.openShift=false",
        "osm.openShift=true,osm.networkPolicy.enable=true,osm.enableReconciler=true,osm.sidecarIdentity=secret",
    ],
    &[
        "osm.osmController.nodeSelector.disk=ssd",
        "osm.osmController.tolerations[0].operator=Exists,osm.osmController.affinity=null",
    ],
    &[
        "osm.outboundPortExclusionList={22,80}",
        "osm.certificateProvider.certKeyBitSize=2048,osm.maxDataPlaneConnections=12345678",
    ],
];

fn helm() -> PathBuf {
    std::env::var_os("OSM_HELM").expect("OSM_HELM names a helm; `cargo xtask helm` fetches one").into()
}

fn chart_folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../charts/osm")
}

fn file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/chart").join(name)
}

/// What helm makes of a case, or says against it.
fn by_helm(case: &Case<'_>) -> Result<Vec<Value>, String> {
    let mut command = Command::new(helm());
    command.arg("template").arg(case.release).arg(chart_folder());
    command.args(["--namespace", case.namespace, "--kube-version", KUBERNETES]);
    for values in case.values {
        command.arg("--values").arg(file(values));
    }
    for (flag, settings) in [("--set", case.set), ("--set-string", case.set_string)] {
        command.args(settings.iter().flat_map(|setting| [flag, *setting]));
    }
    let output = command.output().expect("helm starts");
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into_owned());
    }
    Ok(osm_k8s::yaml::read(&String::from_utf8(output.stdout).expect("a text")).expect("YAML"))
}

fn by_osm(case: &Case<'_>) -> Result<Vec<Value>, String> {
    let owned = |settings: &[&str]| settings.iter().map(|setting| (*setting).to_owned()).collect();
    let overrides = Overrides {
        files: case.values.iter().map(|name| file(name)).collect(),
        set: owned(case.set),
        set_string: owned(case.set_string),
        ..Overrides::default()
    };
    let overrides = overrides.read().map_err(|error| error.to_string())?;
    let chart = Chart::built_in().expect("a chart");
    chart.render(case.release, case.namespace, &overrides).map_err(|error| error.to_string())
}

/// Objects in an order of their own: helm sorts in another way, which has no meaning.
fn sorted(mut objects: Vec<Value>) -> Vec<Value> {
    objects.sort_by_key(|object| format!("{} {}", object["kind"], object["metadata"]["name"]));
    objects
}

#[track_caller]
fn agree(case: &Case<'_>) {
    match (by_helm(case), by_osm(case)) {
        (Ok(helm), Ok(osm)) => {
            let (helm, osm) = (sorted(helm), sorted(osm));
            assert_eq!(helm.len(), osm.len(), "{case:?}");
            for (helm, osm) in helm.iter().zip(&osm) {
                assert_eq!(osm_k8s::yaml::write(osm), osm_k8s::yaml::write(helm), "{case:?}");
            }
        }
        (Err(_), Err(_)) => {}
        (Ok(_), Err(osm)) => panic!("{case:?}: only osm refuses: {osm}"),
        (Err(helm), Ok(_)) => panic!("{case:?}: only helm refuses: {helm}"),
    }
}

fn case<'a>(set: &'a [&'a str]) -> Case<'a> {
    Case { release: "osm", namespace: "osm-system", set, ..Case::default() }
}

#[test]
#[ignore = "needs helm: OSM_HELM"]
fn helm_finds_nothing_wrong_with_the_chart() {
    let mut command = Command::new(helm());
    command.args(["lint", "--strict", "--kube-version", KUBERNETES]).arg(chart_folder());
    let output = command.output().expect("helm starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
}

#[test]
#[ignore = "needs helm: OSM_HELM"]
fn osm_renders_what_helm_renders_for_every_combination_of_the_matrix() {
    let mut combinations: Vec<Vec<&str>> = vec![Vec::new()];
    for choices in MATRIX {
        combinations = combinations
            .iter()
            .flat_map(|chosen| choices.iter().map(|choice| [chosen.as_slice(), &[*choice]].concat()))
            .collect();
    }
    for set in combinations {
        let case = Case { set: &set, ..case(&[]) };
        assert!(by_osm(&case).is_ok(), "{case:?}");
        agree(&case);
    }
}

#[test]
#[ignore = "needs helm: OSM_HELM"]
fn osm_renders_what_helm_renders_for_files_and_texts() {
    agree(&case(&[]));
    agree(&Case { release: "another", namespace: "mesh", ..Case::default() });
    agree(&Case { values: &["everything.values.yaml"], ..case(&[]) });
    agree(&Case {
        values: &["everything.values.yaml"],
        ..case(&["osm.meshName=red,osm.image.digest.osmController="])
    });
    agree(&Case {
        set_string: &["osm.osmController.podLabels.build=0017"],
        ..case(&["osm.osmNamespace=elsewhere"])
    });
    agree(&case(&["osm.osmController.podAnnotations.example\\.org/x=a\\,b"]));
    agree(&case(&["osm.osmController.resource.limits.cpu=null,osm.osmController.resource.limits.memory=2G"]));
}

#[test]
#[ignore = "needs helm: OSM_HELM"]
fn osm_refuses_what_helm_refuses() {
    for set in [
        &["osm.meshname=x"] as &[&str],
        &["osm.meshName=Not_a_label"],
        &["osm.meshName=5"],
        &["osm.osmController.replicaCount=0"],
        &["osm.osmController.replicaCount=two"],
        &["osm.image.pullPolicy=Sometimes"],
        &["osm.image.digest.osmController=abc"],
        &["osm.outboundIPRangeExclusionList={10.0.0.0}"],
        &["osm.inboundPortExclusionList={0}"],
        &["osm.certificateProvider.kind=vault"],
        &["osm=1"],
        &["a"],
        &["unknown=1"],
    ] {
        let case = case(set);
        assert!(by_osm(&case).is_err(), "{set:?}");
        agree(&case);
    }
}
