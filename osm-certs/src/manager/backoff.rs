//! How long to wait after a failure.

use std::time::Duration;

/// Waits that double from failure to failure, up to a bound, each shortened by
/// chance so that those who failed together do not come back together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backoff {
    /// The wait after the first failure.
    pub first: Duration,
    /// The longest wait.
    pub most: Duration,
}

impl Backoff {
    /// The wait after so many failures in a row, the first being 1: between half
    /// of the full wait and all of it, as the seed decides.
    #[must_use]
    pub fn delay(&self, failures: u32, seed: u64) -> Duration {
        let doubled = 2_u32.saturating_pow(failures.saturating_sub(1).min(31));
        let full = self.first.saturating_mul(doubled).min(self.most);
        full.mul_f64(0.5 + 0.5 * fraction(seed ^ u64::from(failures)))
    }
}

/// A number from 0 to 1 (less than 1), the same for the same seed, and without
/// likeness for seeds that are alike.
pub(super) fn fraction(seed: u64) -> f64 {
    // The finalizer of splitmix64: every bit of the seed moves every bit of the result.
    let mut mixed = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^= mixed >> 31;
    (mixed >> 11) as f64 / (1_u64 << 53) as f64
}

/// A seed from a text (FNV-1a).
pub(super) fn seed(text: &str) -> u64 {
    text.bytes()
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_wait_is_within_half_of_the_full_and_the_bound(failures in 1..200_u32, seed: u64) {
            let backoff = Backoff { first: Duration::from_secs(1), most: Duration::from_secs(60) };
            let full = Duration::from_secs(2_u64.saturating_pow(failures - 1).min(60));
            let delay = backoff.delay(failures, seed);
            prop_assert!(delay >= full / 2 && delay <= full, "{delay:?} of {full:?}");
        }
    }

    #[test]
    fn seeds_that_are_alike_spread_over_the_whole_range() {
        let mut tenths = [0; 10];
        for number in 0..10_000 {
            tenths[(fraction(seed(&format!("spiffe://td/{number}/ns"))) * 10.0) as usize] += 1;
        }
        assert!(tenths.iter().all(|count| (800..1200).contains(count)), "{tenths:?}");
    }
}
