//! Which images there are, and what goes into each. Data only.

use super::archive::Content;

/// An image and its parts.
#[derive(Debug)]
pub(super) struct Recipe {
    pub(super) content: Content,
    pub(super) parts: &'static [Part],
}

/// Something that goes into an image, with what it links against.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    /// A program of the workspace.
    Workspace(&'static str),
    /// The Envoy that the mesh is tested with.
    Envoy,
    /// A program of this machine, under the names by which it is called.
    Machine { program: &'static str, names: &'static [&'static str] },
    /// The extensions that iptables loads.
    IptablesExtensions,
    /// An empty folder.
    Folder(&'static str),
}

/// Where programs are found in every image.
const PATH: &[&str] = &["PATH=/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"];
/// Nobody in particular: the number that distroless images use.
const NOBODY: &str = "65532";

const CONTROLLER: &[Part] = &[Part::Workspace("osm-controller"), Part::Workspace("osm")];
const CONTROLLER_NEXT: &[Part] =
    &[Part::Workspace("osm-controller"), Part::Workspace("osm"), Part::Folder("next")];

const NFT: &[&str] = &[
    "iptables",
    "iptables-restore",
    "iptables-save",
    "iptables-nft-restore",
    "iptables-nft-save",
    "ip6tables",
    "ip6tables-restore",
    "ip6tables-save",
    "ip6tables-nft-restore",
    "ip6tables-nft-save",
];
const LEGACY: &[&str] = &[
    "iptables-legacy",
    "iptables-legacy-restore",
    "iptables-legacy-save",
    "ip6tables-legacy",
    "ip6tables-legacy-restore",
    "ip6tables-legacy-save",
];

pub(super) const ALL: &[Recipe] = &[
    Recipe {
        content: Content {
            name: "bookstore-app:dev",
            command: &["bookstore-app"],
            user: NOBODY,
            environment: PATH,
        },
        parts: &[Part::Workspace("bookstore-app")],
    },
    Recipe {
        content: Content {
            name: "openservicemesh/osm-controller:dev",
            command: &["osm-controller"],
            user: NOBODY,
            environment: PATH,
        },
        parts: CONTROLLER,
    },
    // Another image that does the same: what an upgrade goes to.
    Recipe {
        content: Content {
            name: "openservicemesh/osm-controller-next:dev",
            command: &["osm-controller"],
            user: NOBODY,
            environment: PATH,
        },
        parts: CONTROLLER_NEXT,
    },
    Recipe {
        content: Content {
            name: "openservicemesh/init:dev",
            command: &["iptables-restore"],
            user: "0",
            environment: PATH,
        },
        parts: &[
            Part::Machine { program: "/bin/sh", names: &["sh"] },
            Part::Machine { program: "/usr/sbin/xtables-nft-multi", names: NFT },
            Part::Machine { program: "/usr/sbin/xtables-legacy-multi", names: LEGACY },
            Part::IptablesExtensions,
            // For the lock of the legacy kind.
            Part::Folder("run"),
        ],
    },
    Recipe {
        content: Content { name: "osm-sidecar:dev", command: &["envoy"], user: NOBODY, environment: PATH },
        parts: &[Part::Envoy],
    },
    Recipe {
        content: Content {
            name: "osm-traffic:dev",
            command: &["osm-traffic"],
            user: NOBODY,
            environment: PATH,
        },
        parts: &[Part::Workspace("osm-traffic")],
    },
];

impl Recipe {
    /// The name without a tag.
    pub(super) fn file(&self) -> &str {
        self.content.file()
    }
}
