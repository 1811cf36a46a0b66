//! Domains: the values that the key columns of a template may take, and the slugs that stand for them.
//!
//! Every value of a key column gets a small number, its *place*. A column with a domain has all its places from the
//! start; an open column gets them as values are seen. A column may belong to others (`city` *with* `region`): then
//! only the listed combinations exist, and its slugs need to differ only within one combination of those.

use std::hash::{BuildHasher as _, Hash, RandomState};
use std::sync::Arc;

use hashbrown::HashTable;
use smallvec::SmallVec;

use super::{DomainSource, Template};
use crate::diagnostic::{Diagnostic, did_you_mean};
use crate::key::{Key, KeyError, KeyValue, MAX_SLUG_LEN, PathPattern, is_slug};

mod combinations;
mod lookup;
mod seen;

pub use combinations::Chosen;
pub use lookup::OpenValues;
pub use seen::Seen;

/// One row of a domain: values by key column, and what the query says besides.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DomainRow {
    /// One value for every column of [`DomainRows::columns`].
    pub values: Vec<KeyValue>,
    /// What a page shows for it.
    pub label: Option<String>,
    /// The path segment to use instead of the default.
    pub slug: Option<String>,
}

/// The answer of a domain's query, or its listed values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DomainRows {
    /// The key columns (by their place in the path) that the rows speak of.
    pub columns: Vec<usize>,
    /// The rows in the domain's own order.
    pub rows: Vec<DomainRow>,
}

/// One value of a key column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The value as queried.
    pub value: KeyValue,
    /// Its path segment.
    pub slug: Arc<str>,
    /// What a page shows for it, where that isn't the value itself.
    pub label: Option<String>,
    /// Whether documents of it are pre-built.
    pub published: bool,
    /// Places in the columns that this one belongs to.
    parents: Box<[u32]>,
}

/// One key column.
#[derive(Debug, Clone, Default)]
pub struct Column {
    /// The columns that this one belongs to.
    pub with: Vec<usize>,
    /// True where no domain says which values are valid.
    pub open: bool,
    /// Its values in the domain's order.
    pub entries: Vec<Entry>,
    /// Places by parents and value: a domain may have a million values, so none is kept twice.
    by_value: HashTable<u32>,
    /// Places by parents and slug.
    by_slug: HashTable<u32>,
    hasher: RandomState,
}

impl Column {
    fn of_value(&self, parents: &[u32], value: &KeyValue) -> Option<u32> {
        let is_it = |place: &u32| {
            let entry = &self.entries[*place as usize];
            *entry.parents == *parents && entry.value == *value
        };
        self.by_value.find(hash(&self.hasher, parents, value), is_it).copied()
    }

    fn of_slug(&self, parents: &[u32], slug: &str) -> Option<u32> {
        let is_it = |place: &u32| {
            let entry = &self.entries[*place as usize];
            *entry.parents == *parents && *entry.slug == *slug
        };
        self.by_slug.find(hash(&self.hasher, parents, slug), is_it).copied()
    }

    fn push(&mut self, entry: Entry) -> u32 {
        let place = u32::try_from(self.entries.len()).unwrap_or(u32::MAX);
        self.entries.push(entry);
        let (entries, hasher) = (&self.entries, &self.hasher);
        let value = |place: &u32| {
            let entry = &entries[*place as usize];
            hash(hasher, &entry.parents, &entry.value)
        };
        let slug = |place: &u32| {
            let entry = &entries[*place as usize];
            hash(hasher, &entry.parents, &*entry.slug)
        };
        self.by_value.insert_unique(value(&place), place, value);
        self.by_slug.insert_unique(slug(&place), place, slug);
        place
    }
}

fn hash(hasher: &RandomState, parents: &[u32], name: &(impl Hash + ?Sized)) -> u64 {
    hasher.hash_one((parents, name))
}

/// The domains of one template.
#[derive(Debug, Clone)]
pub struct Domains {
    columns: Vec<Column>,
    /// Columns in an order in which each comes after those that it belongs to.
    order: Vec<usize>,
}

/// A key with its places; the path and the published flag follow from them.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Places(pub SmallVec<[u32; 4]>);

/// Why a value has no place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DomainError {
    /// The domain doesn't list it, or lists what only looks like it: the text `2024` for the number.
    Outside { column: usize, value: KeyValue, listed: Option<KeyValue> },
    /// Another value of the column has the same slug.
    Collision { column: usize, first: KeyValue, second: KeyValue, slug: String },
    /// The `slug` column holds what can't stand in a path.
    Slug { column: usize, value: KeyValue, slug: String },
    /// The value can't be a key value.
    Value { column: usize, error: KeyError },
}

impl DomainError {
    /// The error as a finding about a template.
    pub fn diagnostic(&self, template: &Template) -> Diagnostic {
        let name = |column: &usize| template.columns()[*column].as_str();
        let source = |column: &usize| template.domains.iter().find(|domain| domain.column == name(column));
        let at = |finding: Diagnostic, column: &usize| match source(column) {
            Some(domain) => finding.at(domain.span.clone()),
            None => finding.at(template.span_of_column(name(column))),
        };
        match self {
            DomainError::Outside { column, value, listed: Some(listed) } => {
                other_kind(template, *column, value.kind(), listed)
            }
            DomainError::Outside { column, value, listed: None } => template
                .error(format!("the query returns the key {} = `{value}`, which its domain doesn't list", name(column)))
                .at(template.span_of_column(name(column)))
                .hint(format!("add it to [keys.{0}], or leave its rows out in the SQL", name(column))),
            DomainError::Collision { column, first, second, slug } => at(
                template.error(format!(
                    "two values of {} have one object path: `{first}` and `{second}` both give `{slug}`",
                    name(column)
                )),
                column,
            )
            .hint(match source(column) {
                Some(_) => {
                    format!("let the query of [keys.{}] return a `slug` column that tells them apart", name(column))
                }
                None => format!(
                    "add [keys.{0}] with a query that returns {0} and a `slug` column that tells them apart",
                    name(column)
                ),
            }),
            DomainError::Slug { column, value, slug } => at(
                template.error(format!("the slug `{slug}` of {} = `{value}` can't stand in a path", name(column))),
                column,
            )
            .hint(format!("slugs are 1 to {MAX_SLUG_LEN} of a-z, 0-9 and -")),
            DomainError::Value { column, error } => at(
                template.error(format!("a value of the domain of the key column `{}` {error}", name(column))),
                column,
            )
            .hint(error.hint()),
        }
    }
}

/// The finding that the query returns a key column as something else than the domain lists.
pub fn other_kind(template: &Template, column: usize, returned: &str, listed: &KeyValue) -> Diagnostic {
    let name = &template.columns()[column];
    template
        .error(format!(
            "the query returns {name} as {returned}, but its domain lists {}: `{listed}` is never found there",
            listed.kind()
        ))
        .at(template.span_of_column(name))
        .hint(format!(
            "let both be of one type: write `values` with or without quotes, or cast the column in [keys.{name}] or in the SQL"
        ))
}

impl Domains {
    /// Puts the answers of a template's domain queries together.
    pub fn new(template: &Template, answers: &[(&DomainSource, DomainRows)]) -> Result<Domains, DomainError> {
        let count = template.columns().len();
        let mut domains =
            Domains { columns: vec![Column { open: true, ..Column::default() }; count], order: Vec::new() };
        let own = |name: &str| template.columns().iter().position(|column| column == name);
        for (source, answer) in answers {
            if let Some(column) = own(&source.column) {
                domains.columns[column].with =
                    answer.columns.iter().copied().filter(|other| *other != column).collect();
                domains.columns[column].open = false;
            }
        }
        domains.order = order(&domains.columns);
        for column in domains.order.clone() {
            match answers.iter().find(|(source, _)| own(&source.column) == Some(column)) {
                Some((source, answer)) => domains.fill(column, answer, source.publish)?,
                None => domains.derive(column, answers)?,
            }
        }
        Ok(domains)
    }

    fn fill(&mut self, column: usize, answer: &DomainRows, publish: Option<usize>) -> Result<(), DomainError> {
        let with = self.columns[column].with.clone();
        let Some(own) = answer.columns.iter().position(|known| *known == column) else { return Ok(()) };
        for row in &answer.rows {
            let value = |name: usize| answer.columns.iter().position(|known| *known == name).map(|at| &row.values[at]);
            // A combination whose other half isn't valid doesn't exist: domains that share a column are joined.
            let parents: Option<Vec<u32>> = with.iter().map(|other| self.place(*other, &value)).collect();
            let Some(parents) = parents else { continue };
            let published = publish.is_none_or(|publish| self.columns[column].entries.len() < publish);
            self.insert(column, &parents, &row.values[own], row.slug.clone(), row.label.clone(), published)?;
        }
        Ok(())
    }

    /// A column that stands beside another in that one's domain, and has none of its own, takes its values from there.
    fn derive(&mut self, column: usize, answers: &[(&DomainSource, DomainRows)]) -> Result<(), DomainError> {
        for (_, answer) in answers {
            let Some(own) = answer.columns.iter().position(|known| *known == column) else { continue };
            self.columns[column].open = false;
            for row in &answer.rows {
                self.insert(column, &[], &row.values[own], None, None, true)?;
            }
        }
        Ok(())
    }

    /// The place of a column's value, given how to look every column's value up.
    fn place<'a>(&self, column: usize, value: &dyn Fn(usize) -> Option<&'a KeyValue>) -> Option<u32> {
        let parents: Option<Vec<u32>> =
            self.columns[column].with.iter().map(|other| self.place(*other, value)).collect();
        self.columns[column].of_value(&parents?, value(column)?)
    }

    fn insert(
        &mut self,
        column: usize,
        parents: &[u32],
        value: &KeyValue,
        slug: Option<String>,
        label: Option<String>,
        published: bool,
    ) -> Result<u32, DomainError> {
        value.check().map_err(|error| DomainError::Value { column, error })?;
        let target = &mut self.columns[column];
        if let Some(known) = target.of_value(parents, value) {
            return Ok(known);
        }
        let slug = slug.unwrap_or_else(|| value.slug());
        if !is_slug(&slug) {
            return Err(DomainError::Slug { column, value: value.clone(), slug });
        }
        if let Some(known) = target.of_slug(parents, &slug) {
            let first = target.entries[known as usize].value.clone();
            return Err(DomainError::Collision { column, first, second: value.clone(), slug });
        }
        let label = label.filter(|label| *label != value.to_string());
        let slug = match value {
            KeyValue::Text(text) if **text == *slug => Arc::clone(text),
            _ => slug.into(),
        };
        Ok(target.push(Entry { value: value.clone(), slug, label, published, parents: parents.into() }))
    }

    /// The key columns.
    pub fn columns(&self) -> &[Column] {
        &self.columns
    }

    /// Says whether the values of some column are known from rows only.
    pub fn has_open(&self) -> bool {
        self.columns.iter().any(|column| column.open)
    }

    /// Finds a key's places. A value of an open column that wasn't seen yet gets one.
    pub fn locate(&mut self, key: &Key) -> Result<Places, DomainError> {
        let mut places: SmallVec<[u32; 4]> = SmallVec::from_elem(0, self.columns.len());
        for at in 0..self.order.len() {
            let column = self.order[at];
            let parents: SmallVec<[u32; 4]> = self.columns[column].with.iter().map(|other| places[*other]).collect();
            let value = &key.0[column];
            places[column] = match self.columns[column].of_value(&parents, value) {
                Some(place) => place,
                None if self.columns[column].open => self.insert(column, &parents, value, None, None, true)?,
                None => {
                    let is_listed = |value: &KeyValue| self.columns[column].of_value(&parents, value).is_some();
                    let listed = value.lookalikes().into_iter().find(is_listed);
                    return Err(DomainError::Outside { column, value: value.clone(), listed });
                }
            };
        }
        Ok(Places(places))
    }

    fn entry(&self, column: usize, places: &Places) -> &Entry {
        &self.columns[column].entries[places.0[column] as usize]
    }

    /// Whether documents of the key are pre-built.
    pub fn is_published(&self, places: &Places) -> bool {
        (0..self.columns.len()).all(|column| self.entry(column, places).published)
    }

    /// The columns in which a key is outside the hot set.
    pub fn unpublished(&self, places: &Places) -> Vec<usize> {
        (0..self.columns.len()).filter(|column| !self.entry(*column, places).published).collect()
    }

    /// The object path of a key.
    pub fn path(&self, pattern: &PathPattern, places: &Places) -> String {
        let slugs: SmallVec<[&str; 8]> =
            (0..self.columns.len()).map(|column| &*self.entry(column, places).slug).collect();
        pattern.path(&slugs)
    }

    /// The key at the given places.
    pub fn key(&self, places: &Places) -> Key {
        Key((0..self.columns.len()).map(|column| self.entry(column, places).value.clone()).collect())
    }

    /// The parent slugs of an entry, for the catalogue.
    pub fn parent_slugs(&self, column: usize, entry: &Entry) -> Vec<(usize, &str)> {
        let with = self.columns[column].with.iter().zip(&entry.parents);
        with.map(|(other, place)| (*other, &*self.columns[*other].entries[*place as usize].slug)).collect()
    }

    /// The slug nearest to what was typed for a column.
    pub fn nearest(&self, column: usize, typed: &str) -> Option<&str> {
        did_you_mean(typed, self.columns[column].entries.iter().map(|entry| &*entry.slug))
    }
}

/// Columns with each behind those that it belongs to; a circle can't be, `check` refuses it, and would end here too.
fn order(columns: &[Column]) -> Vec<usize> {
    let mut order: Vec<usize> = Vec::new();
    while order.len() < columns.len() {
        let before = order.len();
        for (at, column) in columns.iter().enumerate() {
            if !order.contains(&at) && column.with.iter().all(|other| order.contains(other)) {
                order.push(at);
            }
        }
        if order.len() == before {
            order.extend((0..columns.len()).filter(|at| !order.contains(at)).collect::<Vec<_>>());
        }
    }
    order
}

#[cfg(test)]
mod tests;
