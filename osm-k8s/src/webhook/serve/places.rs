//! How many connections there may be, of each address and of all.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use parking_lot::Mutex;

/// The most of one address. An API server asks on few.
const OF_ONE: usize = 64;
/// The most of all.
const OF_ALL: usize = 2048;

/// The connections that are open, by address.
#[derive(Debug, Clone, Default)]
pub(super) struct Places(Arc<Mutex<Taken>>);

#[derive(Debug, Default)]
struct Taken {
    all: usize,
    by_address: HashMap<IpAddr, usize>,
}

/// A place; dropping it gives it back.
#[derive(Debug)]
pub(super) struct Place {
    places: Places,
    address: IpAddr,
}

impl Places {
    /// A place for one more connection of this address, if there is one.
    pub(super) fn take(&self, address: IpAddr) -> Option<Place> {
        let address = address.to_canonical();
        let mut taken = self.0.lock();
        let of_one = taken.by_address.get(&address).copied().unwrap_or(0);
        if taken.all >= OF_ALL || of_one >= OF_ONE {
            return None;
        }
        taken.all += 1;
        taken.by_address.insert(address, of_one + 1);
        Some(Place { places: self.clone(), address })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.places.0.lock();
        taken.all -= 1;
        if let Some(of_one) = taken.by_address.get_mut(&self.address) {
            *of_one -= 1;
            if *of_one == 0 {
                taken.by_address.remove(&self.address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_that_takes_all_it_may_leaves_room_for_others() {
        let places = Places::default();
        let of = |last: u8| places.take(IpAddr::from([10, 0, 0, last]));
        let greedy: Vec<_> = (0..OF_ONE + 10).filter_map(|_| of(1)).collect();
        assert_eq!(greedy.len(), OF_ONE);
        assert!(of(1).is_none() && of(2).is_some());
        drop(greedy);
        assert!(of(1).is_some());
        let taken = places.0.lock();
        assert_eq!((taken.all, taken.by_address.len()), (0, 0));
    }
}
