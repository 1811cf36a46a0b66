//! The embedded lists of countries, cities and topics.
//!
//! They are plain comma-separated lines without quoting: no name in them holds a comma, and a test keeps it so. The first line of each
//! names the source, the second the columns.

use super::{City, Country, PlacesError, Topic};

const COUNTRIES: &str = include_str!("../countries.csv");
const CITIES: &str = include_str!("../cities.csv");
const TOPICS: &str = include_str!("../topics.csv");

/// One data line of an embedded list, split at its commas.
struct Line {
    file: &'static str,
    number: usize,
    fields: Vec<&'static str>,
}

impl Line {
    fn text(&self, at: usize) -> Result<&'static str, PlacesError> {
        let field = self.fields.get(at).copied().filter(|field| !field.is_empty());
        field.ok_or_else(|| self.error("a text"))
    }

    fn number<T: std::str::FromStr>(&self, at: usize) -> Result<T, PlacesError> {
        self.text(at)?.parse().map_err(|_| self.error("a number"))
    }

    /// `-58.4023` as −584023 ten-thousandths.
    fn ten_thousandths(&self, at: usize) -> Result<i64, PlacesError> {
        let error = || self.error("a number with four decimals");
        let (whole, fraction) = self.text(at)?.split_once('.').ok_or_else(error)?;
        if fraction.len() != 4 {
            return Err(error());
        }
        format!("{whole}{fraction}").parse().map_err(|_| error())
    }

    fn error(&self, expected: &'static str) -> PlacesError {
        PlacesError::Line { file: self.file, line: self.number, expected }
    }
}

fn lines(file: &'static str, text: &'static str) -> impl Iterator<Item = Line> {
    let numbered = text.lines().enumerate().skip(2);
    numbered.map(move |(index, line)| Line { file, number: index + 1, fields: line.split(',').collect() })
}

/// The countries, ordered by code.
pub fn countries() -> Result<Vec<Country>, PlacesError> {
    let country = |line: Line| {
        Ok(Country { code: line.text(0)?, iso_numeric: line.number(1)?, name: line.text(2)?, share: line.number(3)? })
    };
    filled("countries.csv", lines("countries.csv", COUNTRIES).map(country).collect::<Result<_, _>>()?)
}

/// The cities, those of a country together, the largest first.
pub fn cities(countries: &[Country]) -> Result<Vec<City>, PlacesError> {
    let city = |line: Line| {
        let code = line.text(1)?;
        let country = countries.iter().position(|country| country.code == code);
        Ok(City {
            id: line.number(0)?,
            country: country.ok_or_else(|| line.error("a known country code"))?,
            name: line.text(2)?,
            lat: line.ten_thousandths(3)?,
            lon: line.ten_thousandths(4)?,
            population: line.number(5)?,
            authorships: 0,
        })
    };
    filled("cities.csv", lines("cities.csv", CITIES).map(city).collect::<Result<_, _>>()?)
}

/// The topics, the most frequent first.
pub fn topics() -> Result<Vec<Topic>, PlacesError> {
    let topic = |line: Line| Ok(Topic { id: line.number(0)?, slug: line.text(1)?, name: line.text(2)?, papers: 0 });
    filled("topics.csv", lines("topics.csv", TOPICS).map(topic).collect::<Result<_, _>>()?)
}

fn filled<T>(file: &'static str, rows: Vec<T>) -> Result<Vec<T>, PlacesError> {
    if rows.is_empty() { Err(PlacesError::Empty { file }) } else { Ok(rows) }
}
