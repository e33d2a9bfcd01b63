//! Finds places by hash: open addressing in one array of 32-bit places. Knows nothing of what lies there.

/// Slots are kept at most this full, in percent.
const FULL: usize = 70;

/// Places by hash.
#[derive(Debug, Default)]
pub(super) struct Slots {
    /// Places plus one; 0 is free. As many as a power of two, or none.
    places: Vec<u32>,
    pub(super) used: usize,
}

impl Slots {
    /// The place of this hash for which `is` holds.
    pub(super) fn find(&self, hash: u64, is: impl Fn(u32) -> bool) -> Option<u32> {
        let mask = self.places.len().checked_sub(1)?;
        let mut slot = first(hash, mask);
        loop {
            let place = self.places.get(slot)?.checked_sub(1)?;
            if is(place) {
                return Some(place);
            }
            slot = (slot + 1) & mask;
        }
    }

    /// Adds a place; `hash_of` says the hash of any that is in.
    pub(super) fn insert(&mut self, hash: u64, place: u32, hash_of: impl Fn(u32) -> u64) {
        if (self.used + 1) * 100 > self.places.len() * FULL {
            let larger = vec![0; (self.places.len() * 2).max(16)];
            for old in std::mem::replace(&mut self.places, larger) {
                if let Some(place) = old.checked_sub(1) {
                    self.put(hash_of(place), old);
                }
            }
        }
        self.put(hash, place + 1);
        self.used += 1;
    }

    /// Bytes in use.
    pub(super) fn bytes(&self) -> usize {
        self.places.capacity() * size_of::<u32>()
    }

    fn put(&mut self, hash: u64, value: u32) {
        let mask = self.places.len() - 1;
        let mut slot = first(hash, mask);
        while self.places.get(slot).is_some_and(|&taken| taken != 0) {
            slot = (slot + 1) & mask;
        }
        if let Some(slot) = self.places.get_mut(slot) {
            *slot = value;
        }
    }
}

/// The low bits, of which `mask` has as many as there are slots.
fn first(hash: u64, mask: usize) -> usize {
    usize::try_from(hash & mask as u64).unwrap_or_default()
}
