//! The API groups of meshes: a kind that nobody knows there is a mistake, not
//! somebody else's.

use super::yaml;
use crate::manifest::ManifestKind;

/// How the groups end that only meshes have.
const ENDINGS: [&str; 2] = ["smi-spec.io", "openservicemesh.io"];

/// Kinds of SMI and of Open Service Mesh that are not carried, by group.
const NOT_CARRIED: [(&str, &str); 9] = [
    ("specs.smi-spec.io", "UDPRoute"),
    ("metrics.smi-spec.io", "TrafficMetrics"),
    ("policy.openservicemesh.io", "Egress"),
    ("policy.openservicemesh.io", "IngressBackend"),
    ("policy.openservicemesh.io", "Retry"),
    ("policy.openservicemesh.io", "Telemetry"),
    ("policy.openservicemesh.io", "UpstreamTrafficSetting"),
    ("config.openservicemesh.io", "ExtensionService"),
    ("config.openservicemesh.io", "MultiClusterService"),
];

/// Whether an `apiVersion` is in a group of meshes.
pub(super) fn is_of_meshes(version: &str) -> bool {
    let group = group_of(version);
    ENDINGS
        .iter()
        .any(|ending| group.strip_suffix(ending).is_some_and(|rest| rest.is_empty() || rest.ends_with('.')))
}

/// Whether a kind exists that is not carried.
pub(super) fn is_known_elsewhere(version: &str, kind: &str) -> bool {
    NOT_CARRIED.contains(&(group_of(version), kind))
}

/// Says that there is no such kind, and which there are.
pub(super) fn no_such_kind(version: &str, kind: &str) -> String {
    let group = group_of(version);
    let of_group = |kind: &&ManifestKind| kind.group() == group;
    let kinds: Vec<&str> = ManifestKind::ALL.iter().filter(of_group).map(|kind| kind.name()).collect();
    let (version, kind) = (yaml::plain(version), yaml::plain(kind));
    if kinds.is_empty() {
        return format!("`{version}` has no kind `{kind}`; no kind of its group is read. Check both words");
    }
    format!("`{version}` has no kind `{kind}`; what is read of its group is {}", kinds.join(" and "))
}

fn group_of(version: &str) -> &str {
    version.split_once('/').map_or("", |(group, _)| group)
}
