//! Metrics as Prometheus reads them: their types, and samples with labels.

use std::collections::{BTreeMap, BTreeSet};

/// What was exposed.
#[derive(Debug, Default)]
pub struct Exposition {
    types: BTreeMap<String, String>,
    samples: Vec<Sample>,
}

/// A sample.
#[derive(Debug)]
pub struct Sample {
    /// Its name, with `_bucket`, `_sum` or `_count` if it is a histogram's.
    pub name: String,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Its value, as it is written.
    pub value: String,
}

impl Exposition {
    /// Reads the text of a scrape or of a file.
    pub fn parse(text: &str) -> Self {
        let mut found = Self::default();
        for line in text.lines() {
            if let Some(rest) = line.strip_prefix("# TYPE ") {
                let (name, kind) = rest.split_once(' ').expect("a name and a type");
                assert!(found.types.insert(name.to_owned(), kind.to_owned()).is_none(), "{name} has two types");
            } else if !line.starts_with('#') {
                let sample = Sample::parse(line);
                assert!(found.kind(&sample.name).is_some(), "{} has no type before it", sample.name);
                found.samples.push(sample);
            }
        }
        found
    }

    /// The type of a metric, by its name or a sample's.
    fn kind(&self, name: &str) -> Option<(&str, &str)> {
        let of = |name: &str| self.types.get_key_value(name).map(|(name, kind)| (name.as_str(), kind.as_str()));
        let parts = ["_bucket", "_sum", "_count"].into_iter().filter_map(|part| name.strip_suffix(part));
        of(name).or_else(|| parts.filter_map(of).find(|(_, kind)| *kind == "histogram"))
    }

    /// A line for each metric: its name, its type and the names of its labels.
    pub fn summary(&self) -> Vec<String> {
        let mut labels: BTreeMap<(&str, &str), BTreeSet<&str>> = BTreeMap::new();
        for sample in &self.samples {
            let metric = self.kind(&sample.name).expect("every sample has a type");
            labels.entry(metric).or_default().extend(sample.labels.keys().map(String::as_str));
        }
        let line = |((name, kind), labels): ((&str, &str), BTreeSet<&str>)| {
            [name, kind].into_iter().chain(labels).collect::<Vec<_>>().join(" ")
        };
        labels.into_iter().map(line).collect()
    }

    /// All samples.
    pub fn all(&self) -> impl Iterator<Item = &Sample> {
        self.samples.iter()
    }

    /// The samples of a name.
    pub fn of<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Sample> {
        self.samples.iter().filter(move |sample| sample.name == name)
    }

    /// The value of the one sample of a name with these labels among its own.
    #[track_caller]
    pub fn value<'a>(&'a self, name: &'a str, labels: &[(&str, &str)]) -> &'a str {
        let mut found = self.of(name).filter(|sample| {
            labels.iter().all(|(name, value)| sample.labels.get(*name).is_some_and(|found| found == value))
        });
        let sample = found.next().unwrap_or_else(|| panic!("no {name} {labels:?} in {:#?}", self.samples));
        assert!(found.next().is_none(), "{name} {labels:?} is there twice");
        &sample.value
    }

    /// The same of a whole number.
    #[track_caller]
    pub fn count(&self, name: &str, labels: &[(&str, &str)]) -> u64 {
        let value = self.value(name, labels);
        value.parse().unwrap_or_else(|_| panic!("{name} {labels:?} is {value}"))
    }

    /// Joins what another one says.
    pub fn and(mut self, other: Self) -> Self {
        self.types.extend(other.types);
        self.samples.extend(other.samples);
        self
    }
}

impl Sample {
    fn parse(line: &str) -> Self {
        let (sample, value) = line.rsplit_once(' ').unwrap_or_else(|| panic!("no sample: {line}"));
        let (name, labels) = sample.split_once('{').unwrap_or((sample, "}"));
        let labels = labels.strip_suffix('}').unwrap_or_else(|| panic!("no labels: {line}"));
        let pairs = labels.split_terminator("\",").map(|pair| {
            let (name, value) = pair.split_once("=\"").unwrap_or_else(|| panic!("no label: {line}"));
            (name.to_owned(), value.trim_end_matches('"').to_owned())
        });
        assert!(value.parse::<f64>().is_ok(), "no value: {line}");
        Self { name: name.to_owned(), labels: pairs.collect(), value: value.to_owned() }
    }
}
