//! The conformance kit for sources.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use futures::stream::StreamExt;

use crate::diagnostic::Diagnostic;
use crate::model::MeshObject;
use crate::name::ObjectRef;
use crate::source::{ConfigSource, SourceEvent};

/// What a source has said so far, checked while it says it.
#[derive(Debug, Clone, Default)]
pub struct SourceCheck {
    objects: BTreeMap<ObjectRef, MeshObject>,
    /// What was told since `Reset`, while the source is telling.
    round: Option<BTreeMap<ObjectRef, MeshObject>>,
    diagnostics: Vec<Diagnostic>,
    is_ready: bool,
}

impl SourceCheck {
    /// Takes in the next event.
    ///
    /// # Errors
    /// When a source must not say this now, with the rule that it breaks.
    pub fn take(&mut self, event: SourceEvent) -> Result<(), String> {
        if !self.is_ready && self.round.is_none() && event != SourceEvent::Reset {
            return Err(format!("the first event is {event:?}; a source starts with Reset"));
        }
        match event {
            SourceEvent::Reset => self.round = Some(BTreeMap::new()),
            SourceEvent::Apply(object) => {
                self.telling().insert(object.object_ref(), *object);
            }
            SourceEvent::Delete(object) => {
                if self.telling().remove(&object).is_none() {
                    return Err(format!("{object} is deleted, but nobody was told that it exists"));
                }
            }
            SourceEvent::Diagnostics(diagnostics) => self.diagnostics = diagnostics,
            SourceEvent::Ready => {
                self.objects = self.round.take().ok_or("Ready came twice without a Reset between")?;
                self.is_ready = true;
            }
        }
        Ok(())
    }

    /// The objects that are in force: while a source tells everything anew, those
    /// that it told before.
    #[must_use]
    pub fn objects(&self) -> &BTreeMap<ObjectRef, MeshObject> {
        &self.objects
    }

    /// The findings told last.
    #[must_use]
    pub fn diagnostics(&self) -> &[Diagnostic] {
        &self.diagnostics
    }

    /// Whether everything was told at least once.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.is_ready
    }

    fn telling(&mut self) -> &mut BTreeMap<ObjectRef, MeshObject> {
        self.round.as_mut().unwrap_or(&mut self.objects)
    }
}

/// A change to what a source reads, and what it must have said some time after.
pub struct SourceStep<'a> {
    name: &'static str,
    change: Box<dyn FnOnce() + 'a>,
    is_told: Box<dyn Fn(&SourceCheck) -> bool + 'a>,
}

impl fmt::Debug for SourceStep<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SourceStep").field("name", &self.name).finish_non_exhaustive()
    }
}

impl<'a> SourceStep<'a> {
    /// A change by its name, and how to see that it was told. An object that is
    /// there before and after must not be deleted on the way.
    pub fn new(
        name: &'static str,
        change: impl FnOnce() + 'a,
        is_told: impl Fn(&SourceCheck) -> bool + 'a,
    ) -> Self {
        Self { name, change: Box::new(change), is_told: Box::new(is_told) }
    }
}

/// Checks a source against what [`ConfigSource`] promises: `Reset` first, then
/// everything, then `Ready`, before the first change; no deletion of what nobody
/// was told of; no object that goes and comes back where it never went; and each
/// step told in the end. Give it a source, and steps that change what it reads.
///
/// It waits for what was promised, so give it a deadline.
///
/// ```
/// use osm_core::model::Namespace;
/// use osm_core::source::MemorySource;
/// use osm_core::testing::{SourceStep, source_conformance};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), String> {
/// let (source, writer) = MemorySource::new([]);
/// let shop = Namespace::new("shop".parse().expect("a name"));
/// let steps = vec![SourceStep::new("an object", || writer.apply(shop), |told| told.objects().len() == 1)];
/// source_conformance(Box::new(source), steps).await?;
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// The rule that was broken, and in which step.
pub async fn source_conformance(
    source: Box<dyn ConfigSource>,
    steps: Vec<SourceStep<'_>>,
) -> Result<SourceCheck, String> {
    let mut events = source.into_events();
    let mut told = SourceCheck::default();
    while !told.is_ready {
        let event = events.next().await.ok_or("the source ended before it was ready")?;
        told.take(event).map_err(|broken| format!("at the start: {broken}"))?;
    }
    for SourceStep { name, change, is_told } in steps {
        change();
        let mut deleted = BTreeSet::new();
        while !is_told(&told) {
            let event =
                events.next().await.ok_or_else(|| format!("{name}: the source ended without a word"))?;
            if let SourceEvent::Delete(object) = &event {
                deleted.insert(object.clone());
            }
            told.take(event).map_err(|broken| format!("{name}: {broken}"))?;
        }
        if let Some(object) = deleted.iter().find(|object| told.objects.contains_key(object)) {
            return Err(format!("{name}: {object} was deleted and told again; it should have stayed"));
        }
    }
    Ok(told)
}
