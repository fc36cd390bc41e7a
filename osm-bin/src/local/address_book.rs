//! Which address every pod and service has: pure, and kept across restarts.
//!
//! A name keeps its address for as long as it exists, and gets it again when it
//! comes back, unless somebody else had to have it meanwhile. A released address
//! is the last to be given to another name: programs may still remember it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use osm_core::identity::ProxyUuid;
use osm_core::name::{QualifiedName, ServiceName};
use serde::{Deserialize, Serialize};

/// The network of pods, `/16`; its first address is the node's.
pub const POD_NETWORK: Ipv4Addr = Ipv4Addr::new(10, 244, 0, 0);
/// The network of services' virtual addresses, `/16`.
pub const SERVICE_NETWORK: Ipv4Addr = Ipv4Addr::new(10, 96, 0, 0);
/// The address of the node that all pods run on; the control plane listens there.
pub const NODE: Ipv4Addr = Ipv4Addr::new(10, 244, 0, 1);

/// The first number within a network that is given out, and the last.
const FIRST: u32 = 10;
const LAST: u32 = 65_000;
/// How many names that are gone are remembered with their address.
const REMEMBERED: usize = 1024;

/// The addresses of all pods and services, and the names of the pods' proxies.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AddressBook {
    pods: Pool,
    services: Pool,
    proxies: BTreeMap<String, String>,
}

/// The addresses of one network.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Pool {
    /// By name.
    held: BTreeMap<String, Ipv4Addr>,
    /// Of names that are gone, with the order in which they went.
    released: BTreeMap<String, (Ipv4Addr, u64)>,
    releases: u64,
    /// The number given out last; the search for the next one starts there.
    last: u32,
}

impl AddressBook {
    /// The address of a pod; `None` when the network is full.
    pub fn pod(&mut self, name: &QualifiedName) -> Option<Ipv4Addr> {
        self.pods.take(&name.to_string(), POD_NETWORK)
    }

    /// The address of a service that does not ask for a particular one; `None`
    /// when the network is full.
    pub fn service(&mut self, name: &ServiceName) -> Option<Ipv4Addr> {
        self.services.take(&name.to_string(), SERVICE_NETWORK)
    }

    /// Gives a service the address that it asks for. Whoever had it gets another
    /// one when it asks again.
    pub fn claim(&mut self, name: &ServiceName, address: Ipv4Addr) {
        self.services.held.retain(|_, held| *held != address);
        self.services.released.retain(|_, (released, _)| *released != address);
        self.services.held.insert(name.to_string(), address);
    }

    /// The name of the proxy beside a pod; `fresh` makes one for a new pod.
    pub fn proxy(&mut self, pod: &QualifiedName, fresh: impl FnOnce() -> ProxyUuid) -> ProxyUuid {
        let known = self.proxies.get(&pod.to_string()).and_then(|text| text.parse().ok());
        let uuid = known.unwrap_or_else(fresh);
        self.proxies.insert(pod.to_string(), uuid.to_string());
        uuid
    }

    /// Releases the addresses of all names but these.
    pub fn keep_only(&mut self, pods: &BTreeSet<QualifiedName>, services: &BTreeSet<ServiceName>) {
        let pods: BTreeSet<String> = pods.iter().map(ToString::to_string).collect();
        self.services.keep_only(&services.iter().map(ToString::to_string).collect());
        self.pods.keep_only(&pods);
        let remembered = &self.pods.released;
        self.proxies.retain(|name, _| pods.contains(name) || remembered.contains_key(name));
    }
}

impl Pool {
    fn take(&mut self, name: &str, network: Ipv4Addr) -> Option<Ipv4Addr> {
        if let Some(address) = self.held.get(name) {
            return Some(*address);
        }
        let address = match self.released.remove(name) {
            Some((address, _)) => address,
            None => self.next(network)?,
        };
        self.held.insert(name.to_owned(), address);
        Some(address)
    }

    /// The next number that nobody has and, if there is one, nobody had.
    fn next(&mut self, network: Ipv4Addr) -> Option<Ipv4Addr> {
        let held: BTreeSet<Ipv4Addr> = self.held.values().copied().collect();
        let remembered: BTreeSet<Ipv4Addr> = self.released.values().map(|(address, _)| *address).collect();
        let span = LAST - FIRST + 1;
        let start = self.last.clamp(FIRST - 1, LAST) + 1 - FIRST;
        let candidates = (0..span).map(|step| FIRST + (start + step) % span);
        let free = candidates
            .map(|number| (number, Ipv4Addr::from(u32::from(network) + number)))
            .filter(|(_, address)| !held.contains(address));
        let unused = free.clone().find(|(_, address)| !remembered.contains(address));
        let (number, address) = unused.or_else(|| self.longest_released(&held))?;
        self.released.retain(|_, (released, _)| *released != address);
        self.last = number;
        Some(address)
    }

    fn longest_released(&self, held: &BTreeSet<Ipv4Addr>) -> Option<(u32, Ipv4Addr)> {
        let free = self.released.values().filter(|(address, _)| !held.contains(address));
        let (address, _) = free.min_by_key(|(_, order)| *order)?;
        Some((u32::from(*address) & 0xffff, *address))
    }

    fn keep_only(&mut self, names: &BTreeSet<String>) {
        let gone: Vec<String> = self.held.keys().filter(|name| !names.contains(*name)).cloned().collect();
        for name in gone {
            if let Some(address) = self.held.remove(&name) {
                self.releases += 1;
                self.released.insert(name, (address, self.releases));
            }
        }
        while self.released.len() > REMEMBERED {
            let oldest =
                self.released.iter().min_by_key(|(_, (_, order))| *order).map(|(name, _)| name.clone());
            oldest.and_then(|name| self.released.remove(&name));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> QualifiedName {
        text.parse().expect("a name")
    }

    fn keep(book: &mut AddressBook, pods: &[&str]) {
        book.keep_only(&pods.iter().map(|text| name(text)).collect(), &BTreeSet::new());
    }

    #[test]
    fn a_pod_keeps_its_address_across_edits_and_restarts() {
        let mut book = AddressBook::default();
        let first = book.pod(&name("shop/a")).expect("an address");
        let second = book.pod(&name("shop/b")).expect("an address");
        assert_ne!(first, second);
        keep(&mut book, &["shop/a"]);
        let text = serde_json::to_string(&book).expect("JSON");
        let mut book: AddressBook = serde_json::from_str(&text).expect("an address book");
        assert_eq!(book.pod(&name("shop/a")), Some(first));
        assert_eq!(book.pod(&name("shop/b")), Some(second), "it is back, and nobody had its address");
    }

    #[test]
    fn a_released_address_goes_to_no_other_name_while_there_are_unused_ones() {
        let mut book = AddressBook::default();
        let old = book.pod(&name("shop/a"));
        keep(&mut book, &[]);
        for index in 0..50 {
            assert_ne!(book.pod(&name(&format!("shop/p{index}"))), old);
        }
    }

    #[test]
    fn a_full_network_gives_released_addresses_out_again_and_then_none() {
        let mut pool = Pool::default();
        let count = LAST - FIRST + 1;
        let held = (0..count).map(|n| (n.to_string(), Ipv4Addr::from(u32::from(POD_NETWORK) + FIRST + n)));
        pool.held = held.collect();
        assert_eq!(pool.take("x", POD_NETWORK), None);
        let freed = pool.held.remove("7").expect("held");
        pool.released.insert("7".to_owned(), (freed, 1));
        assert_eq!(pool.take("x", POD_NETWORK), Some(freed));
        assert_eq!(pool.take("7", POD_NETWORK), None);
    }

    #[test]
    fn a_claimed_address_is_taken_from_whoever_had_it_by_chance() {
        let mut book = AddressBook::default();
        let address = book.service(&name("shop/a")).expect("an address");
        book.claim(&name("shop/b"), address);
        assert_ne!(book.service(&name("shop/a")), Some(address));
        assert_eq!(book.service(&name("shop/b")), Some(address));
    }

    #[test]
    fn a_proxy_keeps_its_name_with_its_pod() {
        let mut book = AddressBook::default();
        let fresh = || "6f1a".parse().expect("a UUID");
        let uuid = book.proxy(&name("shop/a"), fresh);
        assert_eq!(book.proxy(&name("shop/a"), || panic!("it has one")), uuid);
        book.pod(&name("shop/a"));
        keep(&mut book, &[]);
        assert_eq!(book.proxy(&name("shop/a"), || panic!("it is remembered")), uuid);
    }
}
