//! What happened, for whoever asks what came after something.

use std::collections::VecDeque;
use std::sync::Mutex;
use std::time::{Duration, SystemTime};

use tokio::sync::watch;

use super::api::{Event, Events, Happening};

/// How many events are remembered.
const REMEMBERED: usize = 2000;
/// How many are given at once.
const AT_ONCE: usize = 500;

/// The newest events of a mesh, numbered from 1.
#[derive(Debug)]
pub struct EventLog {
    events: Mutex<VecDeque<Event>>,
    last: watch::Sender<u64>,
}

impl Default for EventLog {
    fn default() -> Self {
        Self { events: Mutex::default(), last: watch::Sender::new(0) }
    }
}

impl EventLog {
    /// Adds an event.
    pub fn add(&self, what: Happening) {
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let at_ms = u64::try_from(since.as_millis()).unwrap_or(u64::MAX);
        let mut events = self.events.lock().expect("no holder of the lock panics");
        let number = *self.last.borrow() + 1;
        tracing::info!(number, event = ?what, "event");
        events.push_back(Event { number, at_ms, what });
        if events.len() > REMEMBERED {
            events.pop_front();
        }
        self.last.send_replace(number);
    }

    /// The events after a number: at once if there are any, else as soon as there
    /// is one, else none when the time is over.
    pub async fn after(&self, number: u64, wait: Duration) -> Events {
        let mut last = self.last.subscribe();
        // Both ways of ending lead to the same answer.
        tokio::time::timeout(wait, last.wait_for(|last| *last > number)).await.ok();
        let events = self.events.lock().expect("no holder of the lock panics");
        let found: Vec<Event> =
            events.iter().filter(|event| event.number > number).take(AT_ONCE).cloned().collect();
        let last = found.last().map_or(number, |event| event.number);
        Events { events: found, last }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[tokio::test]
    async fn events_come_in_order_once_and_wake_who_waits() {
        let log = Arc::new(EventLog::default());
        assert_eq!(log.after(0, Duration::ZERO).await.events, []);
        let waiting = tokio::spawn({
            let log = Arc::clone(&log);
            async move { log.after(0, Duration::from_secs(60)).await }
        });
        tokio::task::yield_now().await;
        log.add(Happening::Rotating);
        let first = waiting.await.expect("it ends");
        assert_eq!((first.last, first.events[0].what.clone()), (1, Happening::Rotating));
        log.add(Happening::Stopping);
        let next = log.after(first.last, Duration::ZERO).await;
        assert_eq!((next.last, next.events.len(), next.events[0].what.clone()), (2, 1, Happening::Stopping));
    }
}
