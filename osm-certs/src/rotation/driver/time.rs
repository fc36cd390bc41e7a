//! What time it is, for somebody who believes no clock that jumps ahead. Pure.

use std::time::{Duration, SystemTime};

/// How much a proxy's clock may be behind.
const CLOCK_DIFFERENCE: Duration = Duration::from_secs(120);

/// The time by a clock that is slow: what the clock shows, but no more than what it showed at the beginning and the time that
/// has passed since then by a clock that nobody sets. One that jumps ahead would end patience, and certificates that live.
pub(super) fn slow(shown: SystemTime, at_first: SystemTime, passed: Duration) -> SystemTime {
    let now = at_first.checked_add(passed).map_or(shown, |latest| latest.min(shown));
    now.checked_sub(CLOCK_DIFFERENCE).unwrap_or(SystemTime::UNIX_EPOCH)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_jumps_ahead_is_not_believed_and_one_that_is_set_back_is() {
        let (second, hour) = (Duration::from_secs(1), Duration::from_secs(3600));
        let first = SystemTime::UNIX_EPOCH + hour * 24;
        let slow = |shown, passed| slow(shown, first, passed) + CLOCK_DIFFERENCE;
        assert_eq!(slow(first + second, second), first + second);
        assert_eq!(slow(first + hour, second), first + second);
        assert_eq!(slow(first - hour, second), first - hour);
    }
}
