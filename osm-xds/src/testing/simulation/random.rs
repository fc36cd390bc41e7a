//! Chance that can be had again.

use std::ops::RangeInclusive;
use std::time::Duration;

/// A generator whose numbers follow from its seed (SplitMix64).
#[derive(Debug, Clone)]
pub(super) struct Random(u64);

impl Random {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(super) fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below this one; 0 below 0.
    pub(super) fn below(&mut self, end: u64) -> u64 {
        self.number() % end.max(1)
    }

    /// A place in a list of this length.
    pub(super) fn place(&mut self, length: usize) -> usize {
        usize::try_from(self.below(length as u64)).unwrap_or_default()
    }

    /// Whether luck strikes, of a hundred times so many.
    pub(super) fn percent(&mut self, chance: u8) -> bool {
        self.below(100) < u64::from(chance)
    }

    pub(super) fn within(&mut self, range: &RangeInclusive<Duration>) -> Duration {
        let microseconds = |duration: &Duration| u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        let (low, high) = (microseconds(range.start()), microseconds(range.end()));
        Duration::from_micros(low + self.below(high.saturating_sub(low).saturating_add(1)))
    }
}
