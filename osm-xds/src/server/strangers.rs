//! The bounded room for clients that have not proved who they are.
//!
//! Whoever can open a connection is let in as a stranger. Strangers have a room
//! of their own, so that however many there are, they take no place of a proxy.
//! When the room is full, the address that fills it most loses its oldest
//! stranger to one from elsewhere, and is refused itself: an address that floods
//! displaces nobody but its own.
//!
//! It is not the place that decides how long a stranger may stay (`peer`), nor
//! how many proxies there may be (`admission`).

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;

use parking_lot::Mutex;
use rustc_hash::FxHashMap;
use tokio_util::sync::CancellationToken;

/// A room for so many strangers.
#[derive(Debug)]
pub(super) struct Strangers {
    limit: usize,
    room: Mutex<Room>,
}

#[derive(Debug, Default)]
struct Room {
    last: u64,
    count: usize,
    /// Those of each source, oldest first.
    by_source: FxHashMap<IpAddr, BTreeMap<u64, CancellationToken>>,
}

/// A stranger's place; dropping it gives it back.
#[derive(Debug)]
pub(super) struct Stranger {
    strangers: Arc<Strangers>,
    source: IpAddr,
    number: u64,
    displaced: CancellationToken,
}

impl Strangers {
    pub(super) fn new(limit: usize) -> Arc<Self> {
        Arc::new(Self { limit, room: Mutex::default() })
    }

    /// A place for a stranger from this address; `None` when there is none.
    pub(super) fn enter(self: &Arc<Self>, address: IpAddr) -> Option<Stranger> {
        let source = source(address);
        let mut room = self.room.lock();
        if room.count >= self.limit && !room.make_room(source) {
            return None;
        }
        room.last += 1;
        room.count += 1;
        let (number, displaced) = (room.last, CancellationToken::new());
        room.by_source.entry(source).or_default().insert(number, displaced.clone());
        Some(Stranger { strangers: Arc::clone(self), source, number, displaced })
    }

    /// How many there are.
    #[cfg(test)]
    fn len(&self) -> usize {
        self.room.lock().count
    }
}

impl Room {
    /// Takes the place of the oldest stranger of the source that has most, if that
    /// leaves it no fewer than the newcomer's source then has.
    fn make_room(&mut self, newcomer: IpAddr) -> bool {
        let own = self.by_source.get(&newcomer).map_or(0, BTreeMap::len);
        let fullest = self.by_source.iter().map(|(source, of)| (of.len(), *source)).max();
        match fullest {
            Some((most, source)) if most > own + 1 => {
                let oldest = self.by_source.get(&source).and_then(|of| of.first_key_value());
                let Some((number, displaced)) = oldest.map(|(number, token)| (*number, token.clone())) else {
                    return false;
                };
                displaced.cancel();
                self.leave(source, number);
                true
            }
            _ => false,
        }
    }

    fn leave(&mut self, source: IpAddr, number: u64) {
        let Some(of) = self.by_source.get_mut(&source) else { return };
        self.count -= usize::from(of.remove(&number).is_some());
        if of.is_empty() {
            self.by_source.remove(&source);
        }
    }
}

impl Stranger {
    /// Waits until this place was given to somebody else. Cancel safe.
    pub(super) async fn displaced(&self) {
        self.displaced.cancelled().await;
    }

    /// Cancelled when this place was given to somebody else.
    pub(super) fn token(&self) -> CancellationToken {
        self.displaced.clone()
    }
}

impl Drop for Stranger {
    fn drop(&mut self) {
        self.strangers.room.lock().leave(self.source, self.number);
    }
}

/// Whom an address belongs to: a client of IPv6 picks any address of its /64.
fn source(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX)).into(),
        address => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from(last: u8) -> IpAddr {
        IpAddr::from([10, 0, 0, last])
    }

    #[test]
    fn an_address_that_floods_displaces_nobody_but_its_own() {
        let strangers = Strangers::new(4);
        let honest = strangers.enter(from(1)).expect("there is room");
        let flood: Vec<_> = (0..100).map(|_| strangers.enter(from(2))).collect();
        let let_in: Vec<_> = flood.iter().flatten().collect();
        assert_eq!((let_in.len(), strangers.len()), (3, 4));
        assert!(!honest.token().is_cancelled());

        let second = strangers.enter(from(3)).expect("the flood makes room");
        let gone = |stranger: &&&Stranger| stranger.token().is_cancelled();
        assert_eq!(let_in.iter().filter(gone).count(), 1);
        assert!(let_in[0].token().is_cancelled(), "the oldest goes");
        assert!(strangers.enter(from(2)).is_none(), "it has as many as anybody could have");
        drop((honest, second));
        assert_eq!(strangers.len(), 2);
    }

    #[test]
    fn where_nobody_has_more_than_others_the_newest_is_refused() {
        let strangers = Strangers::new(3);
        let let_in: Vec<_> = (1..=3).map(|last| strangers.enter(from(last)).expect("room")).collect();
        assert!(strangers.enter(from(4)).is_none() && strangers.enter(from(1)).is_none());
        assert!(let_in.iter().all(|stranger| !stranger.token().is_cancelled()));
    }

    #[test]
    fn nothing_is_kept_of_those_who_left() {
        let strangers = Strangers::new(2);
        for last in 0..100 {
            let let_in = [strangers.enter(from(last)), strangers.enter(from(last))];
            let displacing = strangers.enter(from(200));
            assert!(let_in.iter().all(Option::is_some) && displacing.is_some());
        }
        assert_eq!((strangers.len(), strangers.room.lock().by_source.len()), (0, 0));
    }

    #[test]
    fn a_client_of_ipv6_is_its_network() {
        let one: IpAddr = "2001:db8::1".parse().expect("an address");
        let other: IpAddr = "2001:db8::ffff:2".parse().expect("an address");
        assert_eq!(source(one), source(other));
        assert_ne!(source(one), source("2001:db8:0:1::1".parse().expect("an address")));
        assert_eq!(source("::ffff:10.0.0.1".parse().expect("an address")), from(1));
    }
}
