//! Who may be shown a certificate of which it is not known whether clients believe it.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Instant;

use parking_lot::Mutex;

/// Of so many addresses it is remembered that a client there took something not.
const REMEMBERED: usize = 65_536;

/// The addresses from which what is tried out was not taken lately, and until when they are left alone.
#[derive(Debug, Default)]
pub(super) struct Trials(Mutex<BTreeMap<IpAddr, Instant>>);

impl Trials {
    /// Begins anew.
    pub(super) fn clear(&self) {
        self.0.lock().clear();
    }

    /// A client at this address did not take it. It is left alone until then.
    pub(super) fn failed(&self, address: IpAddr, now: Instant, until: Instant) {
        let mut failed = self.0.lock();
        if make_room(&mut failed, now) || failed.contains_key(&address) {
            failed.insert(address, until);
        }
    }

    /// When a client at this address may be shown it, if that is not now. Where nothing more can be remembered nobody is.
    pub(super) fn next(&self, address: IpAddr, now: Instant) -> Option<Instant> {
        let mut failed = self.0.lock();
        let until = match failed.get(&address).copied() {
            Some(until) => Some(until),
            None if make_room(&mut failed, now) => None,
            None => failed.values().min().copied(),
        };
        until.filter(|until| *until > now)
    }
}

/// Forgets what is over where there is no room. Says whether there is.
fn make_room(failed: &mut BTreeMap<IpAddr, Instant>, now: Instant) -> bool {
    if failed.len() >= REMEMBERED {
        failed.retain(|_, until| *until > now);
    }
    failed.len() < REMEMBERED
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const PAUSE: Duration = Duration::from_secs(15);

    #[test]
    fn an_address_is_left_alone_for_a_while_after_a_client_there_did_not_take_it() {
        let trials = Trials::default();
        let (one, other) = (IpAddr::from([10, 0, 0, 1]), IpAddr::from([10, 0, 0, 2]));
        let start = Instant::now();
        let until = start + PAUSE;
        assert_eq!(trials.next(one, start), None);
        trials.failed(one, start, until);
        assert_eq!((trials.next(one, start), trials.next(other, start)), (Some(until), None));
        assert_eq!(trials.next(one, until), None);
        trials.clear();
        assert_eq!(trials.next(one, start), None);
    }

    #[test]
    fn what_is_remembered_is_bounded_and_then_nobody_is_tried_until_there_is_room() {
        let trials = Trials::default();
        let start = Instant::now();
        let until = start + PAUSE;
        for number in 0..REMEMBERED as u32 + 10 {
            trials.failed(IpAddr::from(number.to_be_bytes()), start, until);
        }
        assert_eq!(trials.0.lock().len(), REMEMBERED);
        let new = IpAddr::from([255, 0, 0, 1]);
        assert_eq!(trials.next(new, start), Some(until));
        assert_eq!(trials.next(new, until), None);
        assert_eq!(trials.0.lock().len(), 0);
    }
}
