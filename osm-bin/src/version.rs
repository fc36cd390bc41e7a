//! Which build this is.

use std::collections::BTreeMap;
use std::fmt;

use osm_k8s::ManifestKind;
use serde::Serialize;

/// Which build a program is, as `/version` and `--version` tell it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Version {
    /// The version of the release.
    pub version: &'static str,
    /// The commit that it was built from, where the build knew it.
    pub commit: Option<&'static str>,
    /// The Rust target family it runs on, such as `linux/x86_64`.
    pub platform: String,
}

impl Version {
    /// This build.
    #[must_use]
    pub fn current() -> Self {
        Self {
            version: env!("CARGO_PKG_VERSION"),
            commit: option_env!("OSM_COMMIT"),
            platform: format!("{}/{}", std::env::consts::OS, std::env::consts::ARCH),
        }
    }
}

/// The kinds of the Service Mesh Interface that this build reads, each with the group and the newest version
/// of its API, as `/smi/version` tells them.
#[must_use]
pub fn smi_versions() -> BTreeMap<&'static str, &'static str> {
    let kinds = ManifestKind::ALL.iter().filter(|kind| kind.group().ends_with(".smi-spec.io"));
    kinds.map(|kind| (kind.name(), kind.api_version())).collect()
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.version, self.platform)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_the_service_mesh_interface_has_its_version() {
        let expected = [
            ("HTTPRouteGroup", "specs.smi-spec.io/v1alpha4"),
            ("TCPRoute", "specs.smi-spec.io/v1alpha4"),
            ("TrafficSplit", "split.smi-spec.io/v1alpha4"),
            ("TrafficTarget", "access.smi-spec.io/v1alpha3"),
        ];
        assert_eq!(smi_versions(), BTreeMap::from(expected));
    }
}
