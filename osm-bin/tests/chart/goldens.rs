//! What the chart renders to, for people to read in a review.

use std::path::Path;

use osm_bin::chart::{Chart, Overrides};

/// Renders with a file of values, or none, and compares with the golden of that name.
fn holds(name: &str) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/chart");
    let values = folder.join(format!("{name}.values.yaml"));
    let files = if values.exists() { vec![values] } else { Vec::new() };
    let overrides = Overrides { files, ..Overrides::default() }.read().expect("values");
    let objects =
        Chart::built_in().expect("a chart").render("osm", "osm-system", &overrides).expect("objects");
    let documents: Vec<String> = objects.iter().map(osm_k8s::yaml::write).collect();
    let rendered = documents.join("---\n");
    let golden = folder.join(format!("{name}.golden.yaml"));
    if std::env::var_os("UPDATE_GOLDENS").is_some() {
        std::fs::write(&golden, &rendered).expect("a golden");
    }
    let expected = std::fs::read_to_string(&golden).expect("a golden");
    assert_eq!(rendered, expected, "read the difference, and write it down with UPDATE_GOLDENS=1");
}

#[test]
fn the_default_installation_is_as_its_golden_says() {
    holds("default");
}

#[test]
fn an_installation_with_every_option_is_as_its_golden_says() {
    holds("everything");
}
