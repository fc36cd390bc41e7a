//! Responses on their way: what was sent and not yet acknowledged.

use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use crate::resource::{Resource, ResourceKey, ResourceName, Version};

/// The number of a response within its stream, from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Nonce(pub(super) u64);

impl Nonce {
    /// Reads the text form; `None` when it is not one of ours.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        text.parse().ok().map(Self)
    }
}

impl fmt::Display for Nonce {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What the proxy has under a name.
#[derive(Debug, Clone)]
pub(super) enum Has {
    /// Nothing.
    Nothing,
    /// This resource.
    Resource(Arc<Resource>),
    /// A resource of this version, from before this stream.
    Version(Version),
    /// Something from before this stream that we never made.
    Unknown,
    /// Perhaps something from before this stream, which it keeps as long as it is
    /// told this, which it refuses (state of the world).
    Kept(Arc<Resource>),
}

impl Has {
    pub(super) fn of(resource: Option<&Arc<Resource>>) -> Self {
        resource.map_or(Self::Nothing, |resource| Self::Resource(Arc::clone(resource)))
    }

    pub(super) fn nothing(&self) -> bool {
        matches!(self, Self::Nothing)
    }

    pub(super) fn version(&self) -> Option<Version> {
        match self {
            Self::Resource(resource) => Some(resource.version),
            Self::Version(version) => Some(*version),
            Self::Nothing | Self::Unknown | Self::Kept(_) => None,
        }
    }

    /// What a response that holds everything has to hold, so that this stays.
    pub(super) fn repeated(&self) -> Option<&Arc<Resource>> {
        match self {
            Self::Resource(resource) | Self::Kept(resource) => Some(resource),
            _ => None,
        }
    }

    pub(super) fn resource(&self) -> Option<&Arc<Resource>> {
        match self {
            Self::Resource(resource) => Some(resource),
            _ => None,
        }
    }

    /// Whether both are the same, as far as that is known.
    pub(super) fn same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Nothing, Self::Nothing) | (Self::Unknown, Self::Unknown) => true,
            _ => self.version().is_some() && self.version() == other.version(),
        }
    }

    /// What it needs; `None` when that is not known.
    pub(super) fn needs(&self) -> Option<&[ResourceKey]> {
        match self {
            Self::Nothing => Some(&[]),
            Self::Resource(resource) => Some(&resource.needs),
            Self::Version(_) | Self::Unknown | Self::Kept(_) => None,
        }
    }
}

/// What a response says under one name.
#[derive(Debug, Clone)]
pub(super) enum Said {
    /// The resource is like this.
    Resource(Arc<Resource>),
    /// There is no such resource.
    Gone(ResourceName),
}

impl Said {
    pub(super) fn into_resource(self) -> Option<Arc<Resource>> {
        match self {
            Self::Resource(resource) => Some(resource),
            Self::Gone(_) => None,
        }
    }
}

/// One name in a response.
#[derive(Debug)]
pub(super) struct Item {
    pub(super) said: Said,
    /// What the proxy had before.
    pub(super) had: Has,
    /// Whether that is in doubt: it may have applied parts of what it refused.
    pub(super) doubtful: bool,
}

impl Item {
    pub(super) fn name(&self) -> &ResourceName {
        match &self.said {
            Said::Resource(resource) => &resource.key.name,
            Said::Gone(name) => name,
        }
    }

    /// What the proxy has when it accepts this.
    pub(super) fn now(&self) -> Has {
        Has::of(self.resource())
    }

    pub(super) fn resource(&self) -> Option<&Arc<Resource>> {
        match &self.said {
            Said::Resource(resource) => Some(resource),
            Said::Gone(_) => None,
        }
    }
}

/// A response that waits for its acknowledgement.
#[derive(Debug)]
pub(super) struct Record {
    pub(super) nonce: Nonce,
    pub(super) sent_at: Instant,
    /// Whether nothing waits for it any more.
    pub(super) expired: bool,
    /// Whether it repeats something that was refused since: its own refusal then
    /// says nothing about what it changes.
    pub(super) tainted: bool,
    /// In order of their names.
    items: Box<[Item]>,
}

impl Record {
    pub(super) fn new(nonce: Nonce, sent_at: Instant, mut items: Vec<Item>) -> Self {
        items.sort_unstable_by(|one, other| one.name().cmp(other.name()));
        Self { nonce, sent_at, expired: false, tainted: false, items: items.into() }
    }

    pub(super) fn items(&self) -> &[Item] {
        &self.items
    }

    /// Takes in items of a refused response that this one repeats. A proxy that said
    /// which others were at fault has most likely applied these.
    pub(super) fn absorb(&mut self, refused: Vec<Item>, are_applied: bool) {
        let mut items = std::mem::take(&mut self.items).into_vec();
        for item in refused {
            match items.iter_mut().find(|own| own.name() == item.name()) {
                Some(own) if are_applied => own.doubtful = true,
                Some(own) => (own.had, own.doubtful) = (item.had, true),
                None => {
                    let had = if are_applied { item.now() } else { item.had };
                    items.push(Item { said: item.said, had, doubtful: true });
                }
            }
        }
        items.sort_unstable_by(|one, other| one.name().cmp(other.name()));
        self.items = items.into();
    }

    pub(super) fn into_items(self) -> Vec<Item> {
        self.items.into_vec()
    }

    pub(super) fn item(&self, name: &ResourceName) -> Option<&Item> {
        self.position(name).map(|place| &self.items[place])
    }

    pub(super) fn item_mut(&mut self, name: &ResourceName) -> Option<&mut Item> {
        self.position(name).map(|place| &mut self.items[place])
    }

    fn position(&self, name: &ResourceName) -> Option<usize> {
        self.items.binary_search_by(|item| item.name().cmp(name)).ok()
    }
}
