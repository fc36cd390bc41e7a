//! What the codes of findings mean: the words in brackets that logs, statuses and refusals of objects have.

use anyhow::{Result, bail};
use serde::Serialize;

use crate::cli::table::{Output, show};

/// A code and what it means.
#[derive(Debug, Clone, Copy, Serialize)]
struct Finding {
    code: &'static str,
    meaning: &'static str,
}

/// Prints what a code means, or all of them.
pub(super) fn print(code: Option<&str>, output: Output) -> Result<()> {
    let wanted: Vec<Finding> = FINDINGS
        .iter()
        .map(|&(code, meaning)| Finding { code, meaning })
        .filter(|finding| code.is_none_or(|code| code == finding.code))
        .collect();
    if let (Some(code), true) = (code, wanted.is_empty()) {
        bail!("there is no finding {code}; `osm support error-info` lists all");
    }
    show(output, &wanted, "", &["CODE", "MEANING"], |finding| {
        vec![finding.code.to_owned(), finding.meaning.to_owned()]
    })
}

/// In the order of their codes.
const FINDINGS: &[(&str, &str)] = &[
    (
        "backend-not-allowed",
        "A client may not reach a backend of a split, and gets none of its traffic there. Write a TrafficTarget for it.",
    ),
    ("bad-address", "A text is no IP address; that address is left out."),
    ("bad-document", "A document is no YAML or JSON of its kind. What was read of it before stays in force."),
    ("bad-duration", "A text is no duration; write it as `24h` or `1h30m`. The default is used."),
    (
        "bad-exclusion",
        "An annotation that excludes or includes ports or addresses can't be read; the pod is refused.",
    ),
    ("bad-header-name", "A header's name is none; that match fits no request."),
    ("bad-hostname", "A host name is none; nobody can ask for the pod by it."),
    ("bad-interface", "A name is not one of a network interface, and nothing is excluded by it."),
    (
        "bad-key-size",
        "RSA keys have 2048, 3072 or 4096 bits, those on an elliptic curve 256 or 384. ECDSA P-256 is used.",
    ),
    ("bad-name", "A name is not one of Kubernetes; what it stands in is not in force."),
    ("bad-object", "A document is no object of Kubernetes, or an item of a list is none."),
    ("bad-protocol", "A port's protocol is not TCP, UDP or SCTP; that port is left out."),
    ("bad-proxy-uuid", "The label osm-proxy-uuid of a pod can't name a proxy. Start the pod anew."),
    ("bad-service-name", "The label of an EndpointSlice names no service; its endpoints are left out."),
    ("bad-tls-range", "The oldest version of TLS is newer than the newest. TLS 1.2 and 1.3 are used."),
    (
        "destination-in-other-namespace",
        "A TrafficTarget is for an account of another namespace, and is not in force. Write it there.",
    ),
    ("document-too-large", "A document of a file is too large. Split it."),
    ("duplicate-address", "Two services have one address; the first by name has it."),
    ("duplicate-match", "Two matches of a group have one name; the first counts."),
    ("duplicate-object", "Two sources define one object; the first source counts."),
    ("duplicate-port", "A service has a port twice; the first counts."),
    ("duplicate-proxy", "Two pods have one osm-proxy-uuid. Start the one that copied it anew."),
    ("duplicate-split", "Two splits have one root; the first by name counts."),
    ("empty-rule", "A rule of a TrafficTarget leads to nothing that may be requested."),
    ("endpoint-outside-mesh", "An endpoint of a service is no pod of the mesh, and is left out."),
    ("endpoint-without-proxy", "A pod behind a service has no sidecar, and is left out. Start it anew."),
    ("external-name", "A service of the type ExternalName is an alias in DNS, and no service of the mesh."),
    ("file-too-large", "A file is too large. Split it."),
    ("folder-too-deep", "Folders in folders are looked into up to a depth."),
    (
        "foreign-destination",
        "A TrafficTarget grants access to another namespace's account, and is not in force.",
    ),
    (
        "half-saved",
        "A file ends where it did not before: it is being written, and its last good state stays.",
    ),
    ("insecure-tls", "TLS 1.0 and 1.1 are insecure. Write TLSv1_2 or TLSv1_3."),
    ("invalid-regex", "An expression is not one that proxies take; that match fits no request."),
    ("key-size-raised", "A key size between two that exist is raised to the next one."),
    ("link-loop", "A link leads to a folder that it is in, and is not followed."),
    ("matches-in-old-version", "A split with `matches` is of a version that has none. Write v1alpha4."),
    ("matches-without-effect", "A rule for TCP has `matches`, which only rules for HTTP have."),
    ("matches-without-requests", "The groups that a split names fit no request."),
    (
        "member-address-taken",
        "A pod behind a headless service has the address of another service, and is left out. Give that another one.",
    ),
    (
        "members-not-divided",
        "A split's root is headless: connections to a member that has a host name are not divided, requests are.",
    ),
    (
        "members-of-another",
        "The pods of a split's headless root are dialled as those of another service: there nothing is divided.",
    ),
    ("missing-namespace", "A reference to an account has no namespace."),
    ("missing-route-group", "A rule or split names an HTTPRouteGroup that is not there."),
    ("mixed-protocols", "The services of a split speak different protocols on one port."),
    ("name-taken", "A container has the name of one of the mesh's. Choose another one."),
    ("names-as-addresses", "An EndpointSlice has names in place of addresses; they are not carried."),
    ("nested-list", "A list of objects has a list in it."),
    ("no-active-root", "No root of certificates would sign. Set `role: active` in one MeshRootCertificate."),
    ("no-address", "A Service has no address and does not ask to have none; nobody can dial it yet."),
    ("no-backends", "A split has no backends, and is not in force."),
    (
        "no-cipher-suite",
        "No cipher suite is for the keys of workloads, and TLS 1.3 is off. The proxies' own list is used.",
    ),
    (
        "no-curve-for-keys",
        "Up to TLS 1.2 the curve of keys on P-384 has to be among the curves. It is added.",
    ),
    ("no-effect-yet", "A field is understood and has no effect in this version."),
    ("no-kind", "A document has no `kind` or no `apiVersion`."),
    ("no-matches", "An HTTPRouteGroup has no matches; no request fits it."),
    ("no-rules", "A TrafficTarget has no rules, and grants nothing."),
    ("no-service", "An EndpointSlice belongs to no service: it has no label that says to which."),
    ("no-sources", "A TrafficTarget has no sources, and grants nothing."),
    ("not-a-file", "Something in a folder of manifests is no regular file, and is ignored."),
    ("not-needed", "A field is understood and not needed. Remove it."),
    ("not-text", "A file is not UTF-8, or has a byte that no text has."),
    ("open-port", "A port of an EndpointSlice has no number, and is not carried."),
    ("other-kind", "An object is of a kind that the mesh does not read."),
    ("other-mesh-config", "A MeshConfig has another name than the one that counts, and has no effect."),
    (
        "other-mesh-root",
        "A MeshRootCertificate is in another namespace than the control plane, and has no effect.",
    ),
    (
        "other-trust-domain",
        "A root is for a trust domain that this mesh does not have. Identities stay where they are.",
    ),
    (
        "provider-elsewhere",
        "A mesh on one machine keeps its roots itself; one of Vault's or cert-manager's is not used there.",
    ),
    (
        "proxy-on-host-network",
        "A pod that shares the network of its node has a proxy's label; it is outside of the mesh. Take the label away.",
    ),
    (
        "root-changed",
        "Provider, trust domain and spiffeEnabled of a MeshRootCertificate never change. Make another one.",
    ),
    (
        "root-in-use",
        "A MeshRootCertificate is not deleted while the mesh may rely on its root. Make it inactive, and wait until it is unused.",
    ),
    ("service-in-other-namespace", "A split names a service of another namespace, and is not in force."),
    (
        "shared-provider",
        "Two MeshRootCertificates have one provider, and so one root, unless what that signs by has been replaced.",
    ),
    ("source-from-nowhere", "Nobody runs as an account that a TrafficTarget names as a source."),
    ("split-of-nothing", "A split has an empty list of `matches`. Leave it out to mean everything."),
    ("split-of-nowhere", "The root of a split is no service of the mesh."),
    ("split-to-nowhere", "A backend of a split is no service of the mesh."),
    ("split-without-weight", "The weights of a split sum to 0; every request fails."),
    ("target-port-unknown", "A service's target port is a name that its pods do not have."),
    ("target-to-nowhere", "Nobody runs as the account that a TrafficTarget grants access to."),
    ("too-many-addresses", "A pod or service has more addresses than count."),
    ("too-many-backends", "A split has more backends than it may."),
    ("too-many-documents", "A file has more documents than it may. Split it."),
    ("too-many-endpoints", "An EndpointSlice has more endpoints than it may."),
    ("too-many-files", "A folder has more files than are read."),
    ("too-many-findings", "An object or file has more findings than are kept; the rest is counted."),
    ("too-many-headers", "A match has more headers than it may, and fits no request."),
    ("too-many-matches", "A group, rule or split has more matches than it may."),
    ("too-many-ports", "A service or pod has more ports than count."),
    (
        "too-many-roots",
        "More than two roots of certificates would be in use. Set `role: inactive` in all but two.",
    ),
    ("too-many-rules", "A TrafficTarget has more rules than it may, and is not in force. Split it."),
    ("too-many-sources", "A TrafficTarget has more sources than it may, and is not in force. Split it."),
    (
        "two-active-roots",
        "Two roots of certificates are active; the one that signs goes on. Make it passive to have the other one sign.",
    ),
    ("unclear-annotation", "An annotation is neither `enabled` nor `disabled`; the pod is refused."),
    ("unknown-identity-kind", "Sources and destinations of a TrafficTarget are ServiceAccounts."),
    ("unknown-kind", "A group of SMI or of the mesh has no kind of that name."),
    ("unknown-match-kind", "The matches of a split are HTTPRouteGroups."),
    ("unknown-method", "A method is none of HTTP; write `*` for all."),
    ("unknown-rule-kind", "Rules of a TrafficTarget are HTTPRouteGroups and TCPRoutes."),
    ("unknown-tls-name", "A cipher suite or curve is not known, and is left out."),
    ("unreadable-file", "A file can't be read; its last good state stays."),
    (
        "unsupported-protocol",
        "The `appProtocol` of a port is not one that the mesh carries; that port is left out.",
    ),
    ("unsupported-version", "An object is of a version of its kind that is not read."),
    ("validity-too-short", "Certificates are valid for ten minutes at least."),
    (
        "vault-in-the-clear",
        "A Vault server is spoken to without TLS: whoever is in between can use the login. Use https.",
    ),
    (
        "vault-without-authority",
        "A Vault server is spoken to over TLS, and no authority of its certificate is given: nothing is signed. Give it.",
    ),
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::Path;

    use regex::Regex;

    use super::*;

    /// The texts of a crate's sources, without their tests.
    fn sources(folder: &Path, texts: &mut Vec<String>) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                sources(&path, texts);
            } else if path.extension().is_some_and(|end| end == "rs") && !path.ends_with("tests.rs") {
                let text = std::fs::read_to_string(&path).unwrap();
                texts.push(text.split("#[cfg(test)]\nmod tests {").next().unwrap().to_owned());
            }
        }
    }

    #[test]
    fn every_finding_that_is_made_is_explained() {
        let mut texts = Vec::new();
        for package in ["osm-core", "osm-k8s"] {
            sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(package).join("src"), &mut texts);
        }
        let made = Regex::new(r#"(?:findings\.(?:error|warning|info|add|find)\(|find\(|say\(|problem\(|in_file\(|\badd\(|code:|Severity::\w+,)[^"(){};]*?"([a-z0-9]+(?:-[a-z0-9]+)+)""#).unwrap();
        let made: BTreeSet<&str> = texts
            .iter()
            .flat_map(|text| made.captures_iter(text))
            .map(|found| found.get(1).unwrap().as_str())
            .collect();
        let explained: BTreeSet<&str> = FINDINGS.iter().map(|(code, _)| *code).collect();
        let missing: Vec<_> = made.difference(&explained).collect();
        assert!(missing.is_empty(), "explain these in FINDINGS: {missing:?}");
        assert!(FINDINGS.is_sorted(), "in the order of their codes");
        assert!(made.len() > 60, "the search finds them: {}", made.len());
    }
}
