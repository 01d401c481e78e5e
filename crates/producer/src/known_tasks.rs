//! The set of fingerprints that finds duplicates. It is most of a producer's memory, so it is
//! dense.
//!
//! A general hash set doubles its size when it is full, so it takes between 20 and 39 bytes for a
//! key of 16, and half as much again while it grows. This one grows by an eighth, one small part at
//! a time, and takes 19 to 22.

/// Parts that grow independently. A power of two, so that the first bits of a key choose one.
const SHARDS: usize = 256;
/// The slots of a part that has keys, at least.
const MIN_SLOTS: usize = 16;
/// Slots out of so many that are used, at most. Fuller parts would be searched for longer.
const MAX_LOAD: (usize, usize) = (17, 20);

/// Halves of fingerprints, its keys. They are hashes, so their bits are as good as
/// random.
pub(crate) struct KnownTasks {
    shards: Vec<Shard>,
    /// The key 0, which marks a free slot.
    has_zero: bool,
}

/// An open-addressing table with linear probing.
#[derive(Clone, Default)]
struct Shard {
    /// Zero if free.
    slots: Vec<u128>,
    used: usize,
}

impl KnownTasks {
    pub(crate) fn new() -> Self {
        Self { shards: vec![Shard::default(); SHARDS], has_zero: false }
    }

    /// Adds a key; `false` if it is known.
    pub(crate) fn insert(&mut self, key: u128) -> bool {
        if key == 0 {
            return !std::mem::replace(&mut self.has_zero, true);
        }
        let shard = (key >> (u128::BITS - SHARDS.ilog2())) as usize;
        self.shards[shard].insert(key)
    }

    /// Whether a key is known.
    pub(crate) fn contains(&self, key: u128) -> bool {
        if key == 0 {
            return self.has_zero;
        }
        let shard = &self.shards[(key >> (u128::BITS - SHARDS.ilog2())) as usize];
        !shard.slots.is_empty() && shard.slots[shard.slot_of(key)] == key
    }

    /// The memory of the set in bytes.
    #[cfg(test)]
    fn bytes(&self) -> usize {
        let slots: usize = self.shards.iter().map(|shard| shard.slots.capacity()).sum();
        slots * size_of::<u128>() + SHARDS * size_of::<Shard>()
    }
}

impl Shard {
    fn insert(&mut self, key: u128) -> bool {
        if (self.used + 1) * MAX_LOAD.1 > self.slots.len() * MAX_LOAD.0 {
            self.grow();
        }
        let slot = self.slot_of(key);
        if self.slots[slot] == key {
            return false;
        }
        self.slots[slot] = key;
        self.used += 1;
        true
    }

    /// The slot that holds a key, or the free one where it belongs. There is always a free slot.
    fn slot_of(&self, key: u128) -> usize {
        let slots = self.slots.len();
        // The bits behind those that choose the shard, scaled to the number of slots.
        let hash = (key << SHARDS.ilog2() >> 64) as u64;
        let mut slot = ((u128::from(hash) * slots as u128) >> 64) as usize;
        while self.slots[slot] != 0 && self.slots[slot] != key {
            slot = if slot + 1 == slots { 0 } else { slot + 1 };
        }
        slot
    }

    fn grow(&mut self) {
        let slots = (self.slots.len() + self.slots.len() / 8).max(MIN_SLOTS);
        for key in std::mem::replace(&mut self.slots, vec![0; slots]) {
            if key != 0 {
                let slot = self.slot_of(key);
                self.slots[slot] = key;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn a_key_is_new_once() {
        let mut known = KnownTasks::new();
        // Few distinct keys, so that many are repeated; all in one shard, and some are neighbours.
        let mut expected = HashSet::new();
        for round in 0..20_000_u128 {
            let key = match round % 3 {
                0 => rand::random_range(0..500),
                1 => u128::MAX - rand::random_range(0..500),
                _ => rand::random_range(0..500) << 64,
            };
            assert_eq!(known.contains(key), expected.contains(&key), "{key}");
            assert_eq!(known.insert(key), expected.insert(key), "{key}");
        }
        assert!(!known.insert(*expected.iter().next().unwrap()));
    }

    #[test]
    fn a_url_costs_at_most_24_bytes_whatever_their_number() {
        let mut known = KnownTasks::new();
        let mut most = 0.0_f64;
        for keys in 1..=1_000_000_usize {
            known.insert(rand::random());
            if keys >= 20_000 && keys % 997 == 0 {
                most = most.max(known.bytes() as f64 / keys as f64);
            }
        }
        assert!(most <= 24.0, "{most} bytes per URL");
    }
}
