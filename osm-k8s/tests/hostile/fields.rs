//! Fields with what nobody should write in them: each is named by object and field,
//! and the rest of the mesh does what it did.

use osm_core::diagnostic::harmless;

use crate::mesh::Mesh;

/// Checks for each document what is said of it. All that differ are told at once.
fn say(cases: &[(&str, String, &[&str])]) {
    let mut wrong = String::new();
    for (title, document, expected) in cases {
        let mesh = Mesh::beside(&[document]);
        mesh.shop_works();
        let found = mesh.findings();
        if mesh.codes() != *expected {
            wrong.push_str(&format!("{title}: {:?}\n", mesh.codes()));
        }
        for one in &found {
            let text = one.to_string();
            assert!(text.len() < 2_000, "{title}: {} bytes", text.len());
            assert_eq!(harmless(&text, usize::MAX), text, "{title}");
            let is_named = one.object.is_some() || one.location.as_ref().is_some_and(|at| at.line > 0);
            assert!(is_named, "{title}: {text}");
        }
    }
    assert!(wrong.is_empty(), "other than expected:\n{wrong}");
}

fn object(api: &str, kind: &str, rest: &str) -> String {
    format!("{{apiVersion: {api}, kind: {kind}, metadata: {{name: x, namespace: shop}}, {rest}}}")
}

fn service(spec: &str) -> String {
    object("v1", "Service", &format!("spec: {{{spec}}}"))
}

fn group(one_match: &str) -> String {
    object(
        "specs.smi-spec.io/v1alpha4",
        "HTTPRouteGroup",
        &format!("spec: {{matches: [{{name: m, {one_match}}}]}}"),
    )
}

/// A group that a target uses, so that its expressions are looked at.
fn used(one_match: &str) -> String {
    let target = object(
        "access.smi-spec.io/v1alpha3",
        "TrafficTarget",
        "spec: {destination: {kind: ServiceAccount, name: store, namespace: shop}, \
         sources: [{kind: ServiceAccount, name: thief, namespace: shop}], \
         rules: [{kind: HTTPRouteGroup, name: x}]}",
    );
    format!("{}\n---\n{target}", group(one_match))
}

/// A split of a service of its own.
fn split(spec: &str) -> String {
    let shelf = "{apiVersion: v1, kind: Service, metadata: {name: shelf, namespace: shop}, \
         spec: {clusterIP: 10.96.1.1, selector: {app: nobody}, ports: [{name: web, port: 80}]}}";
    let split = object("split.smi-spec.io/v1alpha2", "TrafficSplit", &format!("spec: {{{spec}}}"));
    format!("{shelf}\n---\n{split}")
}

#[test]
fn ports_that_are_none_are_named() {
    say(&[
        ("zero", service("clusterIP: 10.96.1.1, ports: [{port: 0}]"), &["bad-document spec.ports[0].port"]),
        (
            "too high",
            service("clusterIP: 10.96.1.1, ports: [{port: 65536}]"),
            &["bad-document spec.ports[0].port"],
        ),
        (
            "negative",
            service("clusterIP: 10.96.1.1, ports: [{port: -1}]"),
            &["bad-document spec.ports[0].port"],
        ),
        (
            "a part",
            service("clusterIP: 10.96.1.1, ports: [{port: 1.5}]"),
            &["bad-document spec.ports[0].port"],
        ),
        (
            "target too high",
            service("clusterIP: 10.96.1.1, ports: [{port: 80, targetPort: 65536}]"),
            &["bad-document spec.ports[0].targetPort"],
        ),
        (
            "twice",
            service(
                "clusterIP: 10.96.1.1, selector: {app: nobody}, ports: [{name: a, port: 80}, {name: b, port: 80}]",
            ),
            &["duplicate-port spec.ports[1]"],
        ),
        (
            "of a TCPRoute",
            object("specs.smi-spec.io/v1alpha4", "TCPRoute", "spec: {matches: {ports: [70000]}}"),
            &["bad-document spec.matches.ports[0]"],
        ),
    ]);
}

#[test]
fn addresses_that_are_none_are_named() {
    let at = |address: &str| {
        service(&format!("clusterIP: '{address}', selector: {{app: nobody}}, ports: [{{port: 80}}]"))
    };
    let cases = [
        "10.96.1",
        "10.96.1.256",
        "0.0.0.0",
        "127.0.0.1",
        "169.254.1.1",
        "224.0.0.1",
        "::",
        "fe80::1",
        "10.0.0.0/8",
        "10.0.0.1%eth0",
    ];
    for address in cases {
        let mesh = Mesh::beside(&[at(address)]);
        mesh.shop_works();
        assert!(
            mesh.codes().contains(&"bad-address spec.clusterIP".to_owned()),
            "{address}: {:?}",
            mesh.codes()
        );
    }
    say(&[
        ("that of another service", at("10.96.0.1"), &["duplicate-address spec.clusterIPs"]),
        ("the same in other words", at("::ffff:10.96.0.1"), &["duplicate-address spec.clusterIPs"]),
        ("that of a pod", at("10.244.0.1"), &[]),
    ]);
}

#[test]
fn ranges_that_are_none_are_named() {
    let config = |range: &str| {
        format!(
            "{{apiVersion: config.openservicemesh.io/v1alpha2, kind: MeshConfig, \
             metadata: {{name: osm-mesh-config, namespace: osm-system}}, \
             spec: {{traffic: {{outboundIPRangeExclusionList: ['{range}']}}}}}}"
        )
    };
    for range in ["10.0.0.0/33", "300.0.0.0/8", "10.0.0.0", "::/129", "", "10.0.0.0/8/8", "0.0.0.0/-1"] {
        let mesh = Mesh::beside(&[config(range)]);
        mesh.shop_works();
        let codes = mesh.codes();
        assert!(codes.iter().any(|code| code.contains("outboundIPRangeExclusionList")), "{range}: {codes:?}");
    }
}

#[test]
fn headers_and_methods_that_no_proxy_takes_fit_no_request() {
    let header = ["bad-header-name spec.matches[0].headers"];
    let none = [
        "empty-rule spec.rules[0].matches",
        "no-matches spec.rules[0].name",
        "bad-header-name spec.matches[0].headers",
    ];
    let regex = ["invalid-regex spec.rules[0].matches"];
    say(&[
        ("pseudo header", used("headers: [{':path': a}]"), &none),
        ("pseudo method", group("headers: [{':method': a}]"), &header),
        ("empty name", group("headers: [{'': a}]"), &header),
        ("space in a name", group("headers: [{'x y': a}]"), &header),
        ("NUL in a name", group("headers: [{\"x\\0\": a}]"), &header),
        ("other letters in a name", group("headers: [{'ä': a}]"), &header),
        ("bidirectional name", group("headers: [{\"x\\u202ey\": a}]"), &header),
        ("long name", group(&format!("headers: [{{{}: a}}]", "x".repeat(257))), &header),
        ("upper case", group("headers: [{'X-A': a}]"), &[]),
        ("empty value", used("headers: [{x: ''}]"), &regex),
        ("other letters in a value", used("headers: [{x: 'ä'}]"), &regex),
        ("long value", used(&format!("headers: [{{x: {}}}]", "a".repeat(65_536))), &regex),
        ("no method", group("methods: ['']"), &["unknown-method spec.matches[0].methods[0]"]),
        (
            "unknown method",
            group("methods: [\"GET\\r\\nX: y\"]"),
            &["unknown-method spec.matches[0].methods[0]"],
        ),
    ]);
}

#[test]
fn expressions_that_proxies_refuse_allow_nothing() {
    let regex = ["invalid-regex spec.rules[0].matches"];
    say(&[
        ("64 KiB", used(&format!("pathRegex: '/{}'", "a".repeat(65_536))), &regex),
        ("large program", used("pathRegex: '((a{100}){100}){100}'"), &regex),
        ("look-around", used("pathRegex: '(?=a)b'"), &regex),
        ("reference", used(r"pathRegex: '(a)\1'"), &regex),
        ("not closed", used("pathRegex: '('"), &regex),
        ("deep", used(&format!("pathRegex: '{}a{}'", "(".repeat(500), ")".repeat(500))), &regex),
        ("other letters", used("pathRegex: '/ü'"), &regex),
        ("control characters", used("pathRegex: \"/(\\e[2J\\u202e\""), &regex),
    ]);
}

#[test]
fn weights_and_backends_that_make_no_sense_are_named() {
    let many = vec!["{service: store, weight: 1000000}"; 64].join(", ");
    say(&[
        (
            "zero",
            split("service: shelf, backends: [{service: store, weight: 0}]"),
            &["split-without-weight spec.backends"],
        ),
        (
            "too heavy",
            split("service: shelf, backends: [{service: store, weight: 4294967296}]"),
            &["bad-document spec.backends[0].weight"],
        ),
        (
            "negative",
            split("service: shelf, backends: [{service: store, weight: -1}]"),
            &["bad-document spec.backends[0].weight"],
        ),
        ("itself as often as may be", split(&format!("service: shelf, backends: [{many}]")), &[]),
        ("nobody", split("service: shelf, backends: []"), &["no-backends spec.backends"]),
        (
            "elsewhere",
            split("service: shelf, backends: [{service: store.bank, weight: 1}]"),
            &["service-in-other-namespace spec.backends[0].service"],
        ),
    ]);
}

#[test]
fn names_that_could_be_others_are_refused_and_shown_harmlessly() {
    let named = |name: &str| {
        format!("{{apiVersion: v1, kind: ServiceAccount, metadata: {{name: {name}, namespace: shop}}}}")
    };
    let bad: &[&str] = &["bad-document metadata.name"];
    say(&[
        ("escape sequences", named("\"a\\e]0;x\\a\""), bad),
        ("turned reading", named("\"a\\u202eb\""), bad),
        ("look-alike letters", named("'ѕtore'"), bad),
        ("no width", named("\"sto\\u200bre\""), bad),
        ("line break", named("\"a\\nlevel=error\""), bad),
        ("NUL", named("\"a\\0\""), bad),
        ("long", named(&"a".repeat(254)), bad),
        ("longest", named(&"a".repeat(253)), &[]),
        ("dots", named("a.b.c"), &[]),
        ("path", named("'../../etc'"), bad),
        ("namespace with dots", "{apiVersion: v1, kind: ServiceAccount, metadata: {name: a, namespace: a.b}}".into(), &["bad-document metadata.namespace"]),
        (
            "service with dots",
            "{apiVersion: v1, kind: Service, metadata: {name: a.b, namespace: shop}, spec: {clusterIP: 10.96.1.1, ports: [{port: 80}]}}".into(),
            &["bad-name metadata.name"],
        ),
        (
            "long service",
            format!("{{apiVersion: v1, kind: Service, metadata: {{name: {}, namespace: shop}}, spec: {{clusterIP: 10.96.1.1, ports: [{{port: 80}}]}}}}", "a".repeat(64)),
            &["bad-name metadata.name"],
        ),
        (
            "match with escape sequences",
            used("pathRegex: '('").replace("name: m,", "name: \"\\e[31m\\u202em\","),
            &["invalid-regex spec.rules[0].matches"],
        ),
        (
            "very long match",
            used("pathRegex: '('").replace("name: m,", &format!("name: {},", "m".repeat(1_000_000))),
            &["invalid-regex spec.rules[0].matches"],
        ),
    ]);
}

#[test]
fn labels_of_any_characters_select_only_what_is_written() {
    let pod = |labels: &str| {
        format!(
            "{{apiVersion: v1, kind: Pod, metadata: {{name: y, namespace: shop, labels: {{{labels}}}}}, \
             spec: {{serviceAccountName: thief}}, status: {{podIP: 10.244.9.9, conditions: [{{type: Ready, status: 'True'}}]}}}}"
        )
    };
    say(&[
        ("nearly the selector's", pod("app: 'store '"), &[]),
        ("look-alike", pod("app: 'ѕtore'"), &[]),
        ("NUL after it", pod("app: \"store\\0\""), &[]),
        ("upper case", pod("App: store"), &[]),
        (
            "hostile proxy",
            pod("osm-proxy-uuid: \"a/b\\e\""),
            &["bad-proxy-uuid metadata.labels.osm-proxy-uuid"],
        ),
        (
            "the proxy of another",
            pod("osm-proxy-uuid: store"),
            &["duplicate-proxy metadata.labels[osm-proxy-uuid]"],
        ),
    ]);
}

#[test]
fn a_service_that_selects_nobody_or_everybody_changes_nothing_for_the_others() {
    let with = |selector: &str| {
        service(&format!("clusterIP: 10.96.1.1, {selector} ports: [{{port: 80, targetPort: 8080}}]"))
    };
    for selector in ["", "selector: {},", "selector: null,"] {
        let mesh = Mesh::beside(&[with(selector)]);
        mesh.shop_works();
        let name = "shop/x".parse().expect("a name");
        assert!(mesh.snapshot.service(&name).expect("it is there").members.is_empty(), "{selector}");
    }
    let mesh = Mesh::beside(&[with("selector: {app: store},")]);
    mesh.shop_works();
}
