//! Combinations of values: which of them exist, which are published, and which of them a selector means.

use std::collections::{HashMap, HashSet};

use smallvec::SmallVec;

use super::{Domains, Entry, Places};
use crate::key::KeyValue;
use crate::template::scope::{Allowed, KeyFilter, Scope};

/// For every key column the places that a selector chose; `None` means any.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chosen(pub Vec<Option<HashSet<u32>>>);

/// Places of a column by those of the columns that it belongs to.
type Children<'a> = HashMap<(usize, &'a [u32]), Vec<u32>>;

impl Domains {
    /// The places of a column's entries that pass.
    pub fn choose(&self, column: usize, test: &dyn Fn(&Entry) -> bool) -> HashSet<u32> {
        (0..).zip(&self.columns[column].entries).filter(|(_, entry)| test(entry)).map(|(place, _)| place).collect()
    }

    /// The filter that lets the chosen combinations through, and no others.
    pub fn filter(&self, chosen: &Chosen) -> KeyFilter {
        let allowed = |(column, places): (usize, &Option<HashSet<u32>>)| {
            let with = &self.columns[column].with;
            let values = |place: &u32| {
                let entry = &self.columns[column].entries[*place as usize];
                let parents = with.iter().zip(&entry.parents);
                let parents = parents.map(|(other, place)| &self.columns[*other].entries[*place as usize]);
                parents.chain([entry]).map(|entry| entry.value.clone()).collect()
            };
            Some(Allowed::new(with.clone(), places.as_ref()?.iter().map(values)))
        };
        KeyFilter(chosen.0.iter().enumerate().map(allowed).collect())
    }

    /// Any one of the chosen combinations that exists, and is published if it must be.
    ///
    /// Which values of open columns stand together is known from rows only, so here all of them do.
    pub fn find(&self, chosen: &Chosen, must_be_published: bool) -> Option<Places> {
        let children = self.children(Some(chosen), must_be_published);
        let mut places = vec![0; self.columns.len()];
        // Columns that have nothing to do with each other are looked at apart, not in every combination.
        let found = self.families().iter().all(|family| self.first(family, &children, &mut places));
        found.then(|| Places(places.into()))
    }

    /// Publishes what a scope means, whatever the hot set is: a read for one reader may be about any valid key.
    pub fn publish_all_of(&mut self, scope: &Scope) {
        for column in 0..self.columns.len() {
            let meant: Option<HashSet<&KeyValue>> = match scope {
                Scope::All => None,
                Scope::Some(filters) => {
                    let sets = filters.iter().map(|filter| Some(filter.0[column].as_ref()?.own().collect::<Vec<_>>()));
                    sets.collect::<Option<Vec<_>>>().map(|sets| sets.into_iter().flatten().collect())
                }
            };
            for entry in &mut self.columns[column].entries {
                entry.published = meant.as_ref().is_none_or(|meant| meant.contains(&entry.value));
            }
        }
    }

    /// How many published combinations of values there are, up to `limit`; `None` if there are more.
    pub fn count_published<'a>(&self, seen: impl Iterator<Item = &'a [u32]>, limit: usize) -> Option<usize> {
        let mut count = 0;
        let complete = self.each_published(seen, &mut |_| {
            count += 1;
            count <= limit
        });
        complete.then_some(count)
    }

    /// Shows every published combination of values, until `show` has had enough; says whether it saw all of them.
    ///
    /// Open columns take part with the combinations in `seen` only, so they never make a document by themselves.
    pub fn each_published<'a>(
        &self,
        seen: impl Iterator<Item = &'a [u32]>,
        show: &mut dyn FnMut(&Places) -> bool,
    ) -> bool {
        let open: Vec<usize> = (0..self.columns.len()).filter(|column| self.columns[*column].open).collect();
        let mut starts: Vec<Places> = if open.is_empty() {
            vec![Places(SmallVec::from_elem(0, self.columns.len()))]
        } else {
            let masked = seen.map(|places| {
                let place = |column| if open.contains(&column) { places[column] } else { 0 };
                Places((0..self.columns.len()).map(place).collect())
            });
            masked.collect()
        };
        starts.sort_unstable_by(|a, b| a.0.cmp(&b.0));
        starts.dedup();
        let closed: Vec<usize> = self.order.iter().copied().filter(|column| !open.contains(column)).collect();
        let children = self.children(None, true);
        starts.into_iter().all(|mut start| self.combine(&closed, &children, &mut start, show))
    }

    fn combine(
        &self,
        columns: &[usize],
        children: &Children<'_>,
        places: &mut Places,
        show: &mut dyn FnMut(&Places) -> bool,
    ) -> bool {
        let Some((column, rest)) = columns.split_first() else {
            return show(places);
        };
        let parents: Vec<u32> = self.columns[*column].with.iter().map(|other| places.0[*other]).collect();
        for place in children.get(&(*column, parents.as_slice())).into_iter().flatten() {
            places.0[*column] = *place;
            if !self.combine(rest, children, places, show) {
                return false;
            }
        }
        true
    }

    /// The chosen entries by the places that they belong to; only the published ones if they must be.
    fn children(&self, chosen: Option<&Chosen>, must_be_published: bool) -> Children<'_> {
        let mut children: Children<'_> = HashMap::new();
        for (at, column) in self.columns.iter().enumerate() {
            let mut add = |place: u32| {
                let entry = &column.entries[place as usize];
                if entry.published || !must_be_published {
                    children.entry((at, &*entry.parents)).or_default().push(place);
                }
            };
            match chosen.and_then(|chosen| chosen.0[at].as_ref()) {
                Some(places) => places.iter().copied().for_each(&mut add),
                None => (0..).zip(&column.entries).for_each(|(place, _)| add(place)),
            }
        }
        children
    }

    /// Finds the first combination of some columns; an open column without values holds nobody up.
    fn first(&self, columns: &[usize], children: &Children<'_>, places: &mut Vec<u32>) -> bool {
        let Some((column, rest)) = columns.split_first() else { return true };
        let target = &self.columns[*column];
        if target.open && target.entries.is_empty() {
            return self.first(rest, children, places);
        }
        let parents: Vec<u32> = target.with.iter().map(|other| places[*other]).collect();
        children.get(&(*column, parents.as_slice())).into_iter().flatten().any(|place| {
            places[*column] = *place;
            self.first(rest, children, places)
        })
    }

    /// The columns in groups that belong together, each in an order in which a column comes after its parents.
    fn families(&self) -> Vec<Vec<usize>> {
        let mut family: Vec<usize> = (0..self.columns.len()).collect();
        for (column, other) in
            (0..).zip(&self.columns).flat_map(|(at, column)| column.with.iter().map(move |other| (at, *other)))
        {
            let (from, to): (usize, usize) = (family[column], family[other]);
            family.iter_mut().filter(|name| **name == from).for_each(|name| *name = to);
        }
        let of = |name: usize| self.order.iter().copied().filter(|column| family[*column] == name).collect();
        (0..self.columns.len()).map(of).collect()
    }
}
