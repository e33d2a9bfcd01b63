//! A map of bounded size: what has not been asked for since the hand last came by makes room (second chance, which is near to
//! least recently used and needs no change to find something).

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use crate::host::Host;

/// The map. Clients choose the hosts, so the hash is one that they cannot aim at.
#[derive(Debug)]
pub(super) struct Ring<V> {
    most: usize,
    slots: Vec<Slot<V>>,
    places: HashMap<Host, usize>,
    hand: usize,
}

#[derive(Debug)]
struct Slot<V> {
    host: Host,
    value: V,
    used: AtomicBool,
}

impl<V> Ring<V> {
    /// `most`: at least 1.
    pub(super) fn new(most: usize) -> Self {
        Self {
            most: most.max(1),
            slots: Vec::new(),
            places: HashMap::new(),
            hand: 0,
        }
    }

    pub(super) fn get(&self, host: &Host) -> Option<&V> {
        let slot = self.slots.get(*self.places.get(host)?)?;
        // Read first: a line of memory that is only read stays in every core's cache.
        if !slot.used.load(Relaxed) {
            slot.used.store(true, Relaxed);
        }
        Some(&slot.value)
    }

    pub(super) fn get_mut(&mut self, host: &Host) -> Option<&mut V> {
        let slot = self.slots.get_mut(*self.places.get(host)?)?;
        Some(&mut slot.value)
    }

    pub(super) fn values_mut(&mut self) -> impl Iterator<Item = &mut V> {
        self.slots.iter_mut().map(|slot| &mut slot.value)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&Host, &V)> {
        self.slots.iter().map(|slot| (&slot.host, &slot.value))
    }

    pub(super) fn len(&self) -> usize {
        self.slots.len()
    }

    pub(super) fn insert(&mut self, host: &Host, value: V) {
        if let Some(known) = self.get_mut(host) {
            *known = value;
            return;
        }
        if self.slots.len() >= self.most {
            self.make_room();
        }
        self.places.insert(host.clone(), self.slots.len());
        self.slots.push(Slot {
            host: host.clone(),
            value,
            used: AtomicBool::new(false),
        });
    }

    pub(super) fn remove(&mut self, host: &Host) -> Option<V> {
        let place = self.places.remove(host)?;
        if place >= self.slots.len() {
            return None;
        }
        let gone = self.slots.swap_remove(place);
        if let Some(moved) = self.slots.get(place)
            && let Entry::Occupied(mut at) = self.places.entry(moved.host.clone())
        {
            at.insert(place);
        }
        Some(gone.value)
    }

    pub(super) fn clear(&mut self) {
        self.slots.clear();
        self.places.clear();
    }

    /// Ends: every slot that is passed has lost its mark when the hand comes again.
    fn make_room(&mut self) {
        while !self.slots.is_empty() {
            self.hand %= self.slots.len();
            let slot = self.slots.get(self.hand);
            let Some(slot) = slot.filter(|slot| !slot.used.swap(false, Relaxed)) else {
                self.hand += 1;
                continue;
            };
            let host = slot.host.clone();
            self.remove(&host);
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    fn host(number: u8) -> Host {
        Host::parse(&format!("h{number}.example.com")).unwrap()
    }

    proptest! {
        #[test]
        fn holds_what_was_put_and_never_more_than_it_may(
            most in 1_usize..9,
            steps in prop::collection::vec((0_u8..20, 0_u8..4), 0..200),
        ) {
            let mut ring = Ring::new(most);
            let mut put = BTreeMap::new();
            for (step, (number, what)) in steps.into_iter().enumerate() {
                let host = host(number);
                match what {
                    0 => {
                        let known = ring.get(&host).copied();
                        prop_assert_eq!(ring.remove(&host), known);
                        prop_assert_eq!(ring.get(&host), None);
                    }
                    1 => {
                        let found = ring.get(&host);
                        prop_assert!(found.is_none() || found == put.get(&number));
                    }
                    _ => {
                        ring.insert(&host, step);
                        put.insert(number, step);
                        prop_assert_eq!(ring.get(&host), Some(&step));
                    }
                }
                prop_assert!(ring.len() <= most);
                prop_assert_eq!(ring.len(), ring.places.len());
                for (host, value) in ring.iter() {
                    let place = ring.places.get(host).and_then(|&place| ring.slots.get(place));
                    prop_assert_eq!(place.map(|slot| &slot.value), Some(value));
                }
            }
        }
    }

    #[test]
    fn what_is_asked_for_stays_and_the_rest_makes_room() {
        let mut ring = Ring::new(4);
        for number in 0..4 {
            ring.insert(&host(number), number);
        }
        for number in 4..100 {
            assert!(ring.get(&host(1)).is_some(), "asked for all the time");
            ring.insert(&host(number), number);
        }
        assert_eq!(ring.len(), 4);
        assert_eq!(ring.get(&host(0)), None);
    }
}
