//! The keys that a build has seen.
//!
//! A build remembers every key until its last row, to notice one that comes back and to know those that had no rows.
//! With a million of them a set of keys would be the largest thing in memory, and larger by half while it grows. So
//! their places stand behind each other in one list, and the set holds their numbers only.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher as _;

use hashbrown::HashTable;

use super::Places;

/// A set of keys, each as its places.
#[derive(Debug)]
pub struct Seen {
    /// How many places a key has.
    width: usize,
    places: Vec<u32>,
    numbers: HashTable<u32>,
    hasher: RandomState,
}

impl Seen {
    /// None yet, of keys with `width` columns.
    pub fn of(width: usize) -> Seen {
        Seen { width, places: Vec::new(), numbers: HashTable::new(), hasher: RandomState::new() }
    }

    /// Adds a key; `false` if it is there already.
    pub fn insert(&mut self, places: &Places) -> bool {
        let Seen { width, places: all, numbers, hasher } = self;
        let at = |number: u32| &all[number as usize * *width..][..*width];
        let hash = hasher.hash_one(&places.0[..]);
        if numbers.find(hash, |number| at(*number) == &places.0[..]).is_some() {
            return false;
        }
        // A build of four thousand million keys would have run out of memory long before.
        let number = u32::try_from(numbers.len()).unwrap_or(u32::MAX);
        numbers.insert_unique(hash, number, |number| hasher.hash_one(at(*number)));
        all.extend_from_slice(&places.0);
        true
    }

    /// True if the key is there.
    pub fn contains(&self, places: &Places) -> bool {
        let hash = self.hasher.hash_one(&places.0[..]);
        self.numbers.find(hash, |number| self.at(*number) == &places.0[..]).is_some()
    }

    /// All of them, in the order in which they came.
    pub fn iter(&self) -> impl Iterator<Item = &[u32]> {
        // Every key has a column; none would make no template.
        self.places.chunks_exact(self.width.max(1))
    }

    fn at(&self, number: u32) -> &[u32] {
        &self.places[number as usize * self.width..][..self.width]
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn it_is_a_set(keys in prop::collection::vec(prop::collection::vec(0_u32..7, 3), 0..400)) {
            let (mut seen, mut expected, mut order) = (Seen::of(3), HashSet::new(), Vec::new());
            for key in &keys {
                let is_new = expected.insert(key.clone());
                if is_new {
                    order.push(key.clone());
                }
                let places = Places(key.iter().copied().collect());
                prop_assert_eq!(seen.contains(&places), !is_new);
                prop_assert_eq!(seen.insert(&places), is_new);
                prop_assert!(seen.contains(&places));
            }
            prop_assert_eq!(seen.iter().map(<[u32]>::to_vec).collect::<Vec<_>>(), order);
        }
    }
}
