//! From slugs back to a key, and the domains of a single key.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use smallvec::SmallVec;

use super::{Column, Domains, Entry, Template};
use crate::key::{Key, KeyValue};

/// The values of open columns as the documents of a release have them, by column and slug.
#[derive(Debug, Default)]
pub struct OpenValues(HashMap<usize, HashMap<Arc<str>, KeyValue>>);

impl OpenValues {
    /// Takes them from keys of a template; `None` if every column has a domain of its own.
    pub fn of<'a>(template: &Template, keys: impl Iterator<Item = &'a Key>) -> Option<OpenValues> {
        let is_own = |name: &String| template.domains.iter().any(|domain| domain.column == *name);
        // A column that stands in another one's domain isn't open; what is known of it here is never asked for.
        let open = template.columns().iter().enumerate().filter(|(_, name)| !is_own(name));
        let mut seen: HashMap<usize, HashSet<&KeyValue>> = open.map(|(column, _)| (column, HashSet::new())).collect();
        if seen.is_empty() {
            return None;
        }
        for key in keys {
            for (column, values) in &mut seen {
                values.extend(key.0.get(*column));
            }
        }
        // A slug takes longer to make than a value to compare.
        let by_slug =
            |values: HashSet<&KeyValue>| values.into_iter().map(|value| (value.slug().into(), value.clone())).collect();
        Some(OpenValues(seen.into_iter().map(|(column, values)| (column, by_slug(values))).collect()))
    }

    fn value(&self, column: usize, slug: &str) -> Option<&KeyValue> {
        self.0.get(&column)?.get(slug)
    }
}

impl Domains {
    /// The key that slugs stand for, given in the order of the path; none if one of them isn't listed. What an open column
    /// may be is in `seen`.
    pub fn key_of(&self, slugs: &[&str], seen: Option<&OpenValues>) -> Option<Key> {
        let mut places: SmallVec<[u32; 4]> = SmallVec::from_elem(0, self.columns.len());
        let mut values: SmallVec<[Option<KeyValue>; 4]> = SmallVec::from_elem(None, self.columns.len());
        for at in self.order.iter().copied() {
            let (column, slug) = (&self.columns[at], slugs.get(at)?);
            if column.open {
                // No other column belongs to an open one, so it needs no place.
                values[at] = Some(seen?.value(at, slug)?.clone());
                continue;
            }
            let parents: SmallVec<[u32; 4]> = column.with.iter().map(|other| places[*other]).collect();
            places[at] = column.of_slug(&parents, slug)?;
            values[at] = Some(column.entries[places[at] as usize].value.clone());
        }
        Some(Key(values.into_iter().collect::<Option<_>>()?))
    }

    /// Domains in which only this key exists, and is published: enough to make its document, whatever its domains are.
    pub fn of_one_key(key: &Key, slugs: &[&str]) -> Domains {
        let column = |(value, slug): (_, &&str)| {
            let mut column = Column::default();
            let (slug, parents) = ((*slug).into(), Box::default());
            column.push(Entry { value: Clone::clone(value), slug, label: None, published: true, parents });
            column
        };
        Domains { columns: key.0.iter().zip(slugs).map(column).collect(), order: (0..key.0.len()).collect() }
    }
}
