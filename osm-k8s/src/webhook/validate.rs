//! Policies that are to be created or changed: the findings that they would have.

mod roots;

use osm_core::diagnostic::{Diagnostic, Severity};
use osm_core::snapshot::{MeshOptions, SnapshotBuilder};
use osm_core::source::SourceEvent;

use super::review::{Answer, Request};
use crate::manifest::{Conversion, Manifest, ManifestKind};
use roots::Undecided;

pub use roots::RootObjects;

/// Who deletes what is in a namespace that goes. Everything goes with it, and nothing may stand in its way.
const NAMESPACE_CONTROLLER: &str = "system:serviceaccount:kube-system:namespace-controller";

/// Findings of linking that an object has whatever else there is. Others depend on objects
/// that may come later, and are shown in its status.
const OF_ITSELF: [&str; 3] = ["foreign-destination", "invalid-regex", "split-without-weight"];

/// Decides about an object of any kind that the mesh reads; others are none of its business.
pub(super) async fn answer(roots: &RootObjects, request: &Request) -> Answer {
    let Some(kind) = kind(request).filter(|_| request.sub_resource.is_empty()) else {
        return Answer::nothing();
    };
    let is_root = kind == ManifestKind::MeshRootCertificate;
    let after = match request.operation.as_str() {
        "CREATE" | "UPDATE" => match read(kind, request) {
            Ok(manifest) => Some(manifest),
            Err(reason) => return Answer::Refuse(format!("{}: {reason}", subject(request))),
        },
        "DELETE" if is_root && request.user_info.username != NAMESPACE_CONTROLLER => None,
        _ => return Answer::nothing(),
    };
    let mut found = after.as_ref().map(|manifest| findings(manifest.facts())).unwrap_or_default();
    if is_root {
        let root = match &after {
            Some(Manifest::MeshRootCertificate(manifest)) => Some(manifest.root()),
            _ => None,
        };
        match roots.findings(request, root.as_ref()).await {
            Ok(more) => found.extend(more),
            Err(Undecided::Refuse(reason)) => {
                return Answer::Refuse(format!("{}: {reason}", subject(request)));
            }
            Err(Undecided::Unavailable(reason)) => {
                return Answer::Unavailable(format!("{}: {reason}", subject(request)));
            }
        }
    }
    judge(request, &found)
}

/// Refuses what has an error, and passes warnings on.
fn judge(request: &Request, found: &[Diagnostic]) -> Answer {
    let of = |severity| found.iter().filter(move |finding| finding.severity == severity).map(text);
    let errors: Vec<String> = of(Severity::Error).collect();
    match errors.is_empty() {
        true => Answer::Take(Vec::new(), of(Severity::Warning).collect()),
        false => Answer::Refuse(format!("{}: {}", subject(request), errors.join("; "))),
    }
}

/// The kind of the object, if it is one that the mesh reads in this version.
fn kind(request: &Request) -> Option<ManifestKind> {
    let of_this_api = |kind: &ManifestKind| kind.api_versions().contains(&&*request.kind.api_version());
    ManifestKind::from_name(&request.kind.kind).filter(of_this_api)
}

fn read(kind: ManifestKind, request: &Request) -> Result<Manifest, String> {
    let mut track = serde_path_to_error::Track::new();
    let object = serde_path_to_error::Deserializer::new(&request.object, &mut track);
    let read = Manifest::read(kind, object);
    read.map_err(|error| {
        let message = osm_core::diagnostic::harmless(&error.to_string(), 1000).to_string();
        match track.path().to_string().as_str() {
            "" | "." => format!("{message} (unreadable)"),
            field => format!("{field}: {message} (unreadable)"),
        }
    })
}

/// What converting and linking the object alone finds.
fn findings(conversion: Conversion) -> Vec<Diagnostic> {
    let Conversion { objects, mut diagnostics } = conversion;
    let mut builder = SnapshotBuilder::new(MeshOptions::default());
    SourceEvent::round(objects).for_each(|event| builder.apply(event));
    if let Some((snapshot, _)) = builder.build() {
        let linked = snapshot.diagnostics().filter(|finding| OF_ITSELF.contains(&finding.code));
        diagnostics.extend(linked.cloned());
    }
    diagnostics
}

fn text(finding: &Diagnostic) -> String {
    match finding.field.as_str() {
        "" => format!("{} ({})", finding.message, finding.code),
        field => format!("{field}: {} ({})", finding.message, finding.code),
    }
}

fn subject(request: &Request) -> String {
    let name = osm_core::diagnostic::harmless(&request.name, 253);
    match request.namespace.as_str() {
        "" => format!("{} {name}", request.kind.kind),
        namespace => format!("{} {namespace}/{name}", request.kind.kind),
    }
}
