//! Files as people and strangers write them.

use super::*;

fn problem(text: &str) -> Problem {
    let found = read(text.as_bytes());
    assert_eq!(found.len(), 1, "{found:?}");
    match &found[0].outcome {
        Outcome::Unreadable(problem) => problem.clone(),
        other => panic!("{other:?}"),
    }
}

fn summary(bytes: &[u8]) -> Vec<(u32, String)> {
    let text = |outcome: Outcome| match outcome {
        Outcome::Manifest(manifest) => manifest.reference().to_string(),
        Outcome::Other(kind) => format!("other {kind}"),
        Outcome::NotYet(kind) => format!("not yet {kind}"),
        Outcome::Unreadable(problem) => format!("{} at {} {}", problem.code, problem.line, problem.field),
    };
    read(bytes).into_iter().map(|one| (one.line, text(one.outcome))).collect()
}

const ACCOUNT: &str = "apiVersion: v1\nkind: ServiceAccount\nmetadata:\n  name: a\n";

#[test]
fn each_document_has_its_line_and_the_others_count_when_one_does_not_parse() {
    let text = format!(
        "# shop\n{ACCOUNT}---\nkind: [\n---\n# empty\n---\n{ACCOUNT}  nmae: x\n---\nkind: ConfigMap\n"
    );
    assert_eq!(
        summary(text.as_bytes()),
        [
            (2, "ServiceAccount default/a".to_owned()),
            (7, "bad-document at 7 kind".to_owned()),
            (11, "ServiceAccount default/a".to_owned()),
            (17, "other ConfigMap".to_owned()),
        ]
    );
}

#[test]
fn a_mistake_is_named_by_line_field_and_object() {
    let text = "
apiVersion: access.smi-spec.io/v1alpha3
kind: TrafficTarget
metadata: {name: buy, namespace: shop}
spec:
  destination: {kind: ServiceAccount, name: store, namespace: shop}
  sources:
  - kind: ServiceAccount
    name: buyer
    namespaces: shop
";
    let problem = problem(text);
    assert_eq!((problem.line, problem.field.as_str()), (10, "spec.sources[0].namespaces"));
    assert_eq!(problem.object.as_ref().expect("an object").to_string(), "TrafficTarget shop/buy");
    assert!(problem.message.contains("namespaces"), "{problem}");
    assert!(!problem.message.contains("line"), "the line is told once: {problem}");
}

#[test]
fn json_is_read_like_yaml_with_tabs_and_escapes() {
    let json = "{\n\t\"apiVersion\": \"v1\",\n\t\"kind\": \"ServiceAccount\",\n\t\"metadata\": {\"name\": \"\\u0061\"}\n}\n";
    assert_eq!(summary(json.as_bytes()), [(1, "ServiceAccount default/a".to_owned())]);
    let broken = json.replace("\"a\"", "").replace("}\n}", "}");
    assert_eq!(read(broken.as_bytes()).len(), 1);
    assert!(matches!(read(broken.as_bytes())[0].outcome, Outcome::Unreadable(_)));
}

#[test]
fn json_objects_one_after_another_are_documents_and_a_broken_one_stands_alone() {
    let one = |name: &str| {
        format!(
            "{{\"apiVersion\": \"v1\", \"kind\": \"ServiceAccount\",\n\"metadata\": {{\"name\": \"{name}\"}}}}"
        )
    };
    let account = |line, name| (line, format!("ServiceAccount default/{name}"));
    let lines = format!("\n{}\n\n{}{}\n", one("a"), one("b"), one("c"));
    assert_eq!(summary(lines.as_bytes()), [account(2, "a"), account(5, "b"), account(6, "c")]);
    let broken = format!("{}\n{}\n{{\"kind\": [\n", one("a"), one("b"));
    assert_eq!(
        summary(broken.as_bytes()),
        [account(1, "a"), account(3, "b"), (5, "bad-document at 5 ".to_owned())]
    );
}

#[test]
fn the_items_of_a_list_are_objects_with_their_own_lines() {
    let text = "apiVersion: v1
kind: List
items:
- apiVersion: v1
  kind: ServiceAccount
  metadata: {name: a}
- apiVersion: specs.smi-spec.io/v1alpha4
  kind: TCPRoute
  metadata: {name: r}
  spec: {matches: {port: [1]}}
- {apiVersion: v1, kind: Secret, metadata: {name: s}}
- {apiVersion: v1, kind: List, items: []}
- 7
";
    assert_eq!(
        summary(text.as_bytes()),
        [
            (4, "ServiceAccount default/a".to_owned()),
            (7, "bad-object at 7 spec.matches.port".to_owned()),
            (11, "other v1 Secret".to_owned()),
            (12, "nested-list at 12 ".to_owned()),
            (13, "bad-object at 13 ".to_owned()),
        ]
    );
}

#[test]
fn another_version_of_a_known_kind_is_named_with_the_supported_one() {
    for (version, kind) in [
        ("split.smi-spec.io/v1alpha1", "TrafficSplit"),
        ("extensions/v1beta1", "Deployment"),
        ("v2", "Service"),
        ("", "Pod"),
    ] {
        let problem = problem(&format!("{{apiVersion: '{version}', kind: {kind}, metadata: {{name: a}}}}"));
        assert_eq!((problem.code, problem.field.as_str()), ("unsupported-version", "apiVersion"));
        let supported = ManifestKind::from_name(kind).expect("a kind").api_version();
        assert!(problem.message.contains(supported), "{problem}");
    }
    assert_eq!(
        summary(b"{apiVersion: serving.knative.dev/v1, kind: Service}"),
        [(1, "other serving.knative.dev/v1 Service".to_owned())]
    );
}

#[test]
fn every_version_of_a_split_that_is_read_is_named_where_another_is_written() {
    let problem =
        problem("{apiVersion: split.smi-spec.io/v1alpha1, kind: TrafficSplit, metadata: {name: a}}");
    for version in ["v1alpha2", "v1alpha3", "v1alpha4"] {
        assert!(problem.message.contains(&format!("`split.smi-spec.io/{version}`")), "{problem}");
        let text = format!(
            "{{apiVersion: split.smi-spec.io/{version}, kind: TrafficSplit, metadata: {{name: a}}, \
             spec: {{service: a, backends: []}}}}"
        );
        assert_eq!(summary(text.as_bytes()), [(1, "TrafficSplit default/a".to_owned())]);
    }
}

#[test]
fn each_kind_of_smi_is_read_in_the_version_that_open_service_mesh_served() {
    let target = "destination: {kind: ServiceAccount, name: a}, sources: [], rules: []";
    let served = [
        ("access.smi-spec.io/v1alpha3", "TrafficTarget", target),
        ("specs.smi-spec.io/v1alpha4", "HTTPRouteGroup", "matches: []"),
        ("specs.smi-spec.io/v1alpha4", "TCPRoute", "matches: {ports: [80]}"),
        ("split.smi-spec.io/v1alpha2", "TrafficSplit", "service: a, backends: []"),
    ];
    for (version, kind, spec) in served {
        let text =
            format!("{{apiVersion: {version}, kind: {kind}, metadata: {{name: a}}, spec: {{{spec}}}}}");
        assert_eq!(summary(text.as_bytes()), [(1, format!("{kind} default/a"))]);
    }
}

#[test]
fn a_kind_that_nobody_knows_in_a_group_of_meshes_is_a_mistake() {
    for (version, kind, kinds) in [
        ("access.smi-spec.io/v1alpha3", "TraficTarget", "TrafficTarget"),
        ("specs.smi-spec.io/v1alpha4", "HttpRouteGroup", "HTTPRouteGroup and TCPRoute"),
        ("config.openservicemesh.io/v1alpha2", "Meshconfig", "MeshConfig and MeshRootCertificate"),
        ("acess.smi-spec.io/v1alpha3", "TraficTarget", "no kind of its group"),
    ] {
        let problem = problem(&format!("{{apiVersion: {version}, kind: {kind}, metadata: {{name: a}}}}"));
        assert_eq!((problem.code, problem.field.as_str()), ("unknown-kind", "kind"));
        assert!(problem.message.contains(kinds), "{problem}");
    }
    for (version, kind) in
        [("policy.openservicemesh.io/v1alpha1", "Egress"), ("specs.smi-spec.io/v1alpha4", "UDPRoute")]
    {
        let text = format!("{{apiVersion: {version}, kind: {kind}, metadata: {{name: a}}}}");
        assert_eq!(summary(text.as_bytes()), [(1, format!("not yet {version} {kind}"))]);
    }
    for version in ["notsmi-spec.io/v1", "flagger.app/v1beta1"] {
        let text = format!("{{apiVersion: {version}, kind: Canary, metadata: {{name: a}}}}");
        assert_eq!(summary(text.as_bytes()), [(1, format!("other {version} Canary"))]);
    }
}

#[test]
fn what_is_no_object_is_a_problem() {
    for text in ["7", "text", "[1, 2]", "{a: 1}", "{kind: ''}", "kind: [a]", "apiVersion: v1\nkind: Pod\n"] {
        let problem = problem(text);
        assert_eq!(problem.line, if text.contains('\n') { problem.line } else { 1 }, "{text}");
    }
}

#[test]
fn names_are_checked_while_they_are_read() {
    for name in ["''", "Big", "a/b", "'a\nb'", "-a", &"x".repeat(300)] {
        let problem =
            problem(&format!("{{apiVersion: v1, kind: ServiceAccount, metadata: {{name: {name}}}}}"));
        assert_eq!(problem.field, "metadata.name", "{problem}");
        assert!(problem.message.len() < 400 && !problem.message.contains('\n'), "{problem}");
    }
}

#[test]
fn a_key_that_stands_twice_does_not_parse() {
    let twice = format!("{ACCOUNT}  name: b\n");
    assert_eq!(problem(&twice).line, 5);
}

#[test]
fn aliases_that_multiply_are_stopped() {
    let mut text = "apiVersion: v1\nkind: Namespace\nmetadata:\n  name: a\nspec:\n  a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..12 {
        let previous = format!("*a{}, ", level - 1).repeat(10);
        text.push_str(&format!("  a{level}: &a{level} [{previous}]\n"));
    }
    assert_eq!(problem(&text).code, "bad-document");
}

#[test]
fn deep_nesting_is_stopped_in_every_form() {
    for depth in [100, 100_000] {
        let flow =
            format!("{{apiVersion: v1, kind: Namespace, x: {}1{}}}", "[".repeat(depth), "]".repeat(depth));
        assert_eq!(problem(&flow).code, "bad-document");
        let open = "[".repeat(depth);
        assert_eq!(problem(&open).code, "bad-document");
        let maps = "{a: ".repeat(depth);
        assert_eq!(problem(&maps).code, "bad-document");
    }
    let sequence = format!("apiVersion: v1\nkind: Namespace\nspec:\n {}x\n", "- ".repeat(10_000));
    assert_eq!(problem(&sequence).code, "bad-document");
}

#[test]
fn bytes_that_are_no_text_are_refused_with_their_line() {
    assert_eq!(summary(b"a: 1\n\xff\xfe"), [(1 + 1, "not-text at 2 ".to_owned())]);
    assert_eq!(summary(b"kind: a\n\n\0"), [(3, "not-text at 3 ".to_owned())]);
    assert_eq!(summary(&[0xef, 0xbb, 0xbf]), []);
}

#[test]
fn a_large_object_is_read_and_a_too_large_one_is_named() {
    let with = |size: usize| format!("{ACCOUNT}  annotations: {{x: {}}}\n", "y".repeat(size));
    assert_eq!(summary(with(1024 * 1024).as_bytes()), [(1, "ServiceAccount default/a".to_owned())]);
    assert_eq!(summary(with(MAX_DOCUMENT_BYTES).as_bytes()), [(1, "document-too-large at 1 ".to_owned())]);
}

#[test]
fn the_object_of_a_document_that_does_not_parse_is_guessed_from_its_lines() {
    let text =
        "apiVersion: v1\nkind: Service\nmetadata:\n  name: web\n  namespace: shop\nspec:\n  ports: [\n";
    assert_eq!(problem(text).object.expect("an object").to_string(), "Service shop/web");
    assert_eq!(problem("kind: Deployment\nmetadata: [\n").object, None);
}

proptest::proptest! {
    #[test]
    fn no_bytes_make_it_panic(bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..300)) {
        let _ = read(&bytes);
    }

    #[test]
    fn no_text_makes_it_panic(text in "[-a-z: \\n\\[\\]{}&*!|>'\"%#,?\t]{0,120}") {
        let _ = read(text.as_bytes());
    }

    #[test]
    fn a_file_cut_anywhere_never_yields_an_object_that_is_not_in_it(cut in 0_usize..400) {
        let text = format!("{ACCOUNT}  namespace: shop\n---\n{}", ACCOUNT.replace("name: a", "name: buyer"));
        let cut = cut.min(text.len());
        for document in read(&text.as_bytes()[..cut]) {
            if let Outcome::Manifest(manifest) = document.outcome {
                let name = manifest.metadata().name.to_string();
                proptest::prop_assert!("a" == name || "buyer".starts_with(&name), "{}", name);
            }
        }
    }
}
