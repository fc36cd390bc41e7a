//! Policies that are to be created or changed: the findings that they would have.

use osm_core::diagnostic::{Diagnostic, Severity};
use osm_core::snapshot::{MeshOptions, SnapshotBuilder};
use osm_core::source::SourceEvent;

use super::review::{Answer, Request};
use crate::manifest::{Conversion, Manifest, ManifestKind};

/// Findings of linking that an object has whatever else there is. Others depend on objects
/// that may come later, and are shown in its status.
const OF_ITSELF: [&str; 3] = ["foreign-destination", "invalid-regex", "split-without-weight"];

/// Decides about an object of any kind that the mesh reads; others are none of its business.
pub(super) fn answer(request: &Request) -> Answer {
    if !matches!(request.operation.as_str(), "CREATE" | "UPDATE") || !request.sub_resource.is_empty() {
        return Answer::nothing();
    }
    let kind = ManifestKind::from_name(&request.kind.kind);
    let of_this_api = |kind: &ManifestKind| kind.api_versions().contains(&&*request.kind.api_version());
    let Some(kind) = kind.filter(of_this_api) else { return Answer::nothing() };
    match read(kind, request) {
        Ok(manifest) => {
            let findings = findings(manifest.facts());
            let of = |severity| findings.iter().filter(move |finding| finding.severity == severity).map(text);
            let errors: Vec<String> = of(Severity::Error).collect();
            if errors.is_empty() {
                Answer::Take(Vec::new(), of(Severity::Warning).collect())
            } else {
                Answer::Refuse(format!("{}: {}", subject(request), errors.join("; ")))
            }
        }
        Err(reason) => Answer::Refuse(format!("{}: {reason}", subject(request))),
    }
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
