//! The demo's rows: real places, everything else generated, the same on every machine and in both database engines.
//!
//! Both loaders write what [`World::rows`] yields, so the engines cannot differ. All numbers are integers from a fixed seed; coordinates are
//! kept in ten-thousandths of a degree and turned into decimal text where they are written.

mod generate;
mod load;
mod places;
mod random;

use std::fmt;

pub use load::{create_sqlite, load_postgres};

/// The tables and indexes, one text for `SQLite` and `PostgreSQL`.
pub const SCHEMA: &str = include_str!("schema.sql");

/// The tables in the order in which they are filled, with their columns.
const TABLES: [(&str, &[&str]); 6] = [
    ("country", &["country_code", "iso_numeric", "name"]),
    ("city", &["city_id", "country_code", "country", "name", "lat", "lon", "population", "authorships"]),
    ("institution", &["institution_id", "city_id", "name"]),
    ("topic", &["topic_id", "slug", "name", "papers"]),
    ("paper", &["pmid", "topic_id", "year"]),
    (
        "authorship",
        &["authorship_id", "pmid", "author_id", "institution_id", "country", "city", "affiliation_confidence"],
    ),
];

/// How many rows of each kind a load has written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counts {
    /// Real countries.
    pub countries: usize,
    /// Real cities.
    pub cities: usize,
    /// Generated institutions, named after their city.
    pub institutions: usize,
    /// Real research topics.
    pub topics: usize,
    /// Generated papers.
    pub papers: usize,
    /// Generated authorships.
    pub authorships: usize,
}

/// Why the embedded lists could not be read. It takes a faulty build to see one of these.
#[derive(Debug, thiserror::Error)]
enum PlacesError {
    #[error("{file} line {line}: {expected} expected")]
    Line { file: &'static str, line: usize, expected: &'static str },
    #[error("{file} has no rows")]
    Empty { file: &'static str },
}

struct Country {
    code: &'static str,
    iso_numeric: u32,
    name: &'static str,
    /// Relative share of all authorships.
    share: u64,
}

struct City {
    /// The `GeoNames` id.
    id: u32,
    /// Index into the countries.
    country: usize,
    name: &'static str,
    /// Ten-thousandths of a degree.
    lat: i64,
    lon: i64,
    population: u64,
    authorships: u32,
}

struct Topic {
    id: u32,
    slug: &'static str,
    name: &'static str,
    papers: u32,
}

struct Institution {
    /// Index into the cities.
    city: usize,
    name: String,
}

struct Paper {
    pmid: u32,
    /// Index into the topics.
    topic: usize,
    year: u16,
}

struct Authorship {
    pmid: u32,
    author_id: u32,
    /// Index into the institutions.
    institution: usize,
    confidence: u8,
}

/// All rows of the demo.
struct World {
    countries: Vec<Country>,
    cities: Vec<City>,
    topics: Vec<Topic>,
    institutions: Vec<Institution>,
    papers: Vec<Paper>,
    authorships: Vec<Authorship>,
}

/// One value of a row.
enum Cell<'a> {
    Integer(i64),
    Text(&'a str),
    /// Ten-thousandths, written with exactly four decimals.
    Decimal(i64),
}

impl fmt::Display for Cell<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Cell::Integer(number) => write!(f, "{number}"),
            Cell::Text(text) => f.write_str(text),
            Cell::Decimal(number) => {
                let sign = if *number < 0 { "-" } else { "" };
                let size = number.unsigned_abs();
                write!(f, "{sign}{}.{:04}", size / 10_000, size % 10_000)
            }
        }
    }
}

impl World {
    fn counts(&self) -> Counts {
        Counts {
            countries: self.countries.len(),
            cities: self.cities.len(),
            institutions: self.institutions.len(),
            topics: self.topics.len(),
            papers: self.papers.len(),
            authorships: self.authorships.len(),
        }
    }

    /// The rows of a table of [`TABLES`], their cells in the order of its columns.
    fn rows<'a>(&'a self, table: &str) -> Box<dyn Iterator<Item = Vec<Cell<'a>>> + Send + 'a> {
        use Cell::{Decimal, Integer, Text};
        match table {
            "country" => {
                Box::new(self.countries.iter().map(|c| vec![Text(c.code), Integer(c.iso_numeric.into()), Text(c.name)]))
            }
            "city" => Box::new(self.cities.iter().map(|c| {
                let country = &self.countries[c.country];
                vec![
                    Integer(c.id.into()),
                    Text(country.code),
                    Text(country.name),
                    Text(c.name),
                    Decimal(c.lat),
                    Decimal(c.lon),
                    Integer(c.population.cast_signed()),
                    Integer(c.authorships.into()),
                ]
            })),
            "institution" => Box::new(
                self.institutions
                    .iter()
                    .enumerate()
                    .map(|(index, i)| vec![Integer(id(index)), Integer(self.cities[i.city].id.into()), Text(&i.name)]),
            ),
            "topic" => Box::new(
                self.topics
                    .iter()
                    .map(|t| vec![Integer(t.id.into()), Text(t.slug), Text(t.name), Integer(t.papers.into())]),
            ),
            "paper" => Box::new(self.papers.iter().map(|p| {
                vec![Integer(p.pmid.into()), Integer(self.topics[p.topic].id.into()), Integer(p.year.into())]
            })),
            _ => Box::new(self.authorships.iter().enumerate().map(|(index, a)| {
                let city = &self.cities[self.institutions[a.institution].city];
                vec![
                    Integer(id(index)),
                    Integer(a.pmid.into()),
                    Integer(a.author_id.into()),
                    Integer(id(a.institution)),
                    Text(self.countries[city.country].name),
                    Text(city.name),
                    Integer(a.confidence.into()),
                ]
            })),
        }
    }
}

/// Ids of generated rows count from one.
fn id(index: usize) -> i64 {
    i64::try_from(index).map_or(i64::MAX, |index| index.saturating_add(1))
}

#[cfg(test)]
mod tests;
