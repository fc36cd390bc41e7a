//! When an object may be written again: who undoes each edit of another one at once, who
//! does the same, keeps an API server busy without end. Pure.

use std::time::Duration;

use tokio::time::Instant;

/// How long to wait after a write.
pub(crate) const LEAST: Duration = Duration::from_secs(2);
/// How long to wait at most, when what was written does not stay.
pub(crate) const MOST: Duration = Duration::from_secs(60);

/// The pace at which one object is written.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Pace {
    /// When it was written last, and how long to wait from then on.
    written: Option<(Instant, Duration)>,
    /// When a write that failed may be tried again.
    retry: Option<Instant>,
}

impl Pace {
    /// Until when to wait; `None` if it may be written now.
    pub(crate) fn wait(&self, now: Instant) -> Option<Instant> {
        let again = self.written.map(|(at, pause)| at + pause);
        self.retry.max(again).filter(|next| *next > now)
    }

    /// Takes in that it was written. Where that is needed again and again, waits grow.
    pub(crate) fn on_written(&mut self, now: Instant) {
        let soon = self.written.filter(|(at, pause)| now < *at + *pause * 2);
        let pause = soon.map_or(LEAST, |(_, pause)| (pause * 2).min(MOST));
        *self = Self { written: Some((now, pause)), retry: None };
    }

    /// Takes in that it could not be written. Where the server has refused it, waits grow, as nobody
    /// knows for how long it does. Else that is tried at an even pace: a server that was away for
    /// long is not punished for it.
    pub(crate) fn on_failed(&mut self, is_refusal: bool, now: Instant) {
        if is_refusal {
            self.on_written(now);
        } else {
            self.retry = Some(now + LEAST);
        }
    }
}

/// The earlier of two times; `None` is never.
pub(crate) fn earlier(one: Option<Instant>, other: Option<Instant>) -> Option<Instant> {
    one.into_iter().chain(other).min()
}

/// Waits until then; for ever if there is no such time.
pub(crate) async fn until(time: Option<Instant>) {
    match time {
        Some(time) => tokio::time::sleep_until(time).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How long each write has to wait, if the next is due so long after each.
    fn waits(due: Duration, count: usize) -> Vec<u64> {
        let (mut pace, mut now) = (Pace::default(), Instant::now());
        let mut waits = Vec::new();
        for _ in 0..count {
            let next = pace.wait(now).unwrap_or(now);
            waits.push((next - now).as_secs());
            now = next;
            pace.on_written(now);
            now += due;
        }
        waits
    }

    #[test]
    fn waits_grow_to_a_minute_while_an_object_is_written_again_and_again() {
        assert_eq!(waits(Duration::ZERO, 8), [0, 2, 4, 8, 16, 32, 60, 60]);
        assert_eq!(waits(Duration::from_secs(10), 3), [0, 0, 0], "now and then is at once");
    }

    #[test]
    fn after_a_quiet_time_it_is_as_at_first() {
        let (mut pace, mut now) = (Pace::default(), Instant::now());
        for _ in 0..10 {
            now = pace.wait(now).unwrap_or(now);
            pace.on_written(now);
        }
        now += MOST * 2;
        assert_eq!(pace.wait(now), None);
        pace.on_written(now);
        assert_eq!(pace.wait(now), Some(now + LEAST));
    }

    #[test]
    fn a_write_that_is_refused_is_tried_again_more_and_more_rarely() {
        let (mut pace, begun) = (Pace::default(), Instant::now());
        let mut now = begun;
        for _ in 0..6 {
            pace.on_failed(true, now);
            now = pace.wait(now).expect("a wait");
        }
        assert_eq!(now - begun, Duration::from_secs(2 + 4 + 8 + 16 + 32 + 60));
    }

    #[test]
    fn a_write_that_fails_is_tried_again_at_an_even_pace() {
        let (mut pace, mut now) = (Pace::default(), Instant::now());
        for _ in 0..5 {
            pace.on_failed(false, now);
            assert_eq!(pace.wait(now), Some(now + LEAST));
            now += LEAST;
            assert_eq!(pace.wait(now), None);
        }
    }
}
