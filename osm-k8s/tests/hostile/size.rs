//! Very many objects, and very large ones, in files. What very many of one kind cost
//! behind the files, `osm-core` tests.

use std::time::{Duration, Instant};

use crate::mesh::Mesh;

/// The most documents of one file.
const PER_FILE: usize = 10_000;
/// Tests without optimisation on a busy machine have time.
const BOUND: Duration = Duration::from_secs(300);

fn account(name: &str, rest: &str) -> String {
    format!("{{apiVersion: v1, kind: ServiceAccount, metadata: {{name: {name}, namespace: shop{rest}}}}}")
}

#[test]
fn a_hundred_thousand_objects_are_taken_in() {
    let text = |file: usize| {
        let each = (0..PER_FILE).map(|at| account(&format!("a{file}-{at}"), ""));
        each.collect::<Vec<_>>().join("\n---\n")
    };
    let texts: Vec<String> = (0..10).map(text).collect();
    let began = Instant::now();
    let mesh = Mesh::beside(&texts);
    assert!(began.elapsed() < BOUND, "{:?}", began.elapsed());
    assert_eq!(mesh.codes(), Vec::<String>::new());
    mesh.shop_works();
}

#[test]
fn one_object_more_than_a_file_may_have_is_named() {
    let texts: Vec<String> = (0..=PER_FILE).map(|at| account(&format!("a{at}"), "")).collect();
    let mesh = Mesh::beside(&[texts.join("\n---\n")]);
    assert_eq!(mesh.codes(), ["too-many-documents"]);
    mesh.shop_works();
}

#[test]
fn objects_of_a_megabyte_are_read_and_larger_ones_named() {
    let large = |size: usize| account("large", &format!(", annotations: {{x: {}}}", "y".repeat(size)));
    let mesh = Mesh::beside(&[large(1 << 20), large(5 << 20), large(17 << 20)]);
    assert_eq!(mesh.codes(), ["document-too-large", "file-too-large"]);
    mesh.shop_works();
}

#[test]
fn documents_that_unfold_are_named_before_they_do() {
    let mut laughs =
        "apiVersion: v1\nkind: Service\nmetadata: {name: x, namespace: shop}\nspec:\n  a0: &a0 [x]\n"
            .to_owned();
    for level in 1..30 {
        laughs.push_str(&format!(
            "  a{level}: &a{level} [{}]\n",
            vec![format!("*a{}", level - 1); 10].join(", ")
        ));
    }
    let deep = format!(
        "{{apiVersion: v1, kind: Service, metadata: {{name: y, namespace: shop}}, spec: {}",
        "[".repeat(100_000)
    );
    let merged = format!(
        "apiVersion: v1\nkind: Service\nmetadata: {{name: z, namespace: shop}}\na: &a {{<<: *a}}\n{}",
        "x: *a\n"
    );
    let began = Instant::now();
    let mesh = Mesh::beside(&[laughs, deep, merged]);
    assert!(began.elapsed() < BOUND, "{:?}", began.elapsed());
    assert!(mesh.codes().len() >= 2, "{:?}", mesh.codes());
    mesh.shop_works();
}

#[test]
fn mistakes_without_number_are_a_few_findings() {
    let rules = vec!["{kind: HTTPRouteGroup, name: routes, matches: [x, y, z]}"; 256].join(", ");
    let target = format!(
        "{{apiVersion: access.smi-spec.io/v1alpha3, kind: TrafficTarget, metadata: {{name: t, namespace: shop}}, \
         spec: {{destination: {{kind: ServiceAccount, name: store, namespace: shop}}, \
         sources: [{{kind: ServiceAccount, name: thief, namespace: shop}}], rules: [{rules}]}}}}"
    );
    let mesh = Mesh::beside(&[target]);
    mesh.shop_works();
    let codes = mesh.codes();
    assert_eq!(codes.len(), 65, "64, and that there are more");
    assert!(codes.contains(&"too-many-findings".to_owned()), "{codes:?}");
}
