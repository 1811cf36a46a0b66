//! From slugs back to a key, and the domains of a single key.

use smallvec::SmallVec;

use super::{Column, Domains, Entry, Places};
use crate::key::Key;

impl Domains {
    /// The places that slugs stand for, given in the order of the path; none if one of them isn't listed. An open column
    /// lists what was seen.
    pub fn of_slugs(&self, slugs: &[&str]) -> Option<Places> {
        let mut places: SmallVec<[u32; 4]> = SmallVec::from_elem(0, self.columns.len());
        for column in self.order.iter().copied() {
            let parents: SmallVec<[u32; 4]> = self.columns[column].with.iter().map(|other| places[*other]).collect();
            places[column] = self.columns[column].of_slug(&parents, slugs.get(column)?)?;
        }
        Some(Places(places))
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
