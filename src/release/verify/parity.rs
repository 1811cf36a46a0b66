//! Parity: a few keys picked by chance, to be built from the database once more and compared with what is published.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::super::catalogue;
use super::super::manifest::Manifest;
use super::super::row::Row;

/// Documents by template.
pub type Sample = BTreeMap<String, Vec<Arc<Row>>>;

/// Picks so many documents of a release, always the same for the same seed. Those that a rollback holds differ from the
/// database because somebody wanted it so, and aren't picked; nor is the catalogue.
pub fn sample(manifest: &Manifest, count: usize, seed: u64) -> Sample {
    let rows = manifest.rows.iter().filter(|(name, _)| *name != catalogue::NAME);
    let documents: Vec<(&String, &Arc<Row>)> = rows
        .flat_map(|(name, rows)| rows.iter().map(move |row| (name, row)))
        .filter(|(_, row)| row.document.is_some() && !row.origin.held)
        .collect();
    let mut sample = Sample::new();
    for at in pick(documents.len(), count, seed) {
        let (name, row) = documents[at];
        sample.entry(name.clone()).or_default().push(Arc::clone(row));
    }
    sample
}

/// So many different numbers below `of`, or all of them: Floyd's way, which needs no list of them all.
pub(super) fn pick(of: usize, count: usize, seed: u64) -> BTreeSet<usize> {
    let mut random = seed;
    let mut picked = BTreeSet::new();
    for most in of.saturating_sub(count)..of {
        let at = usize::try_from(next(&mut random) % (most as u64 + 1)).unwrap_or(most);
        if !picked.insert(at) {
            picked.insert(most);
        }
    }
    picked
}

/// `SplitMix64`: short, and good enough for picking.
fn next(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn as_many_as_there_are_and_each_once(of in 0..200_usize, count in 0..250_usize, seed: u64) {
            let picked = pick(of, count, seed);
            prop_assert_eq!(picked.len(), count.min(of));
            prop_assert!(picked.iter().all(|at| *at < of));
            prop_assert_eq!(picked, pick(of, count, seed));
        }
    }

    #[test]
    fn every_number_is_picked_sooner_or_later() {
        let picked: BTreeSet<usize> = (0..2000).flat_map(|seed| pick(100, 3, seed)).collect();
        assert_eq!(picked.len(), 100);
    }
}
