//! Path patterns: `country-map/{region}/{topic}/{confidence}.json`, filled with slugs and taken apart again.

use std::ops::Range;

use super::slug::is_slug;

/// Longest object path in bytes: S3's 1,024 less room for a bucket prefix and the ending `.gz`.
const MAX_PATH_LEN: usize = 900;

/// The pattern of a template's object paths; every `{name}` in it is a key column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PathPattern {
    text: String,
    segments: Vec<Segment>,
    columns: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Segment {
    prefix: String,
    column: Option<usize>,
    suffix: String,
}

impl Segment {
    /// The slug in a segment that is one of these.
    fn slug<'a>(&self, text: &'a str) -> Option<&'a str> {
        let slug = text.strip_prefix(self.prefix.as_str())?.strip_suffix(self.suffix.as_str())?;
        is_slug(slug).then_some(slug)
    }
}

/// What is wrong with a path pattern, and where in its text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PatternError {
    /// A fragment that completes "the path …".
    pub message: String,
    /// Bytes of the pattern's text.
    pub span: Range<usize>,
    /// What to write instead.
    pub hint: &'static str,
}

impl PathPattern {
    /// Reads a pattern. Segments are separated by `/`; each holds at most one `{column}`; the path ends in `.json`.
    pub fn parse(text: &str) -> Result<PathPattern, PatternError> {
        let fail = |message: String, span: Range<usize>, hint| Err(PatternError { message, span, hint });
        let whole = 0..text.len();
        if !text.ends_with(".json") {
            return fail(
                "doesn't end in `.json`".to_owned(),
                whole,
                "write for example \"world-map/{topic}/{confidence}.json\"",
            );
        }
        if text.starts_with('/') {
            return fail("starts with `/`".to_owned(), 0..1, "object paths are relative: leave the first `/` out");
        }
        let mut pattern = PathPattern { text: text.to_owned(), segments: Vec::new(), columns: Vec::new() };
        let mut start = 0;
        for part in text.split('/') {
            let span = start..start + part.len();
            start = span.end + 1;
            let segment = pattern.segment(part, &span)?;
            pattern.segments.push(segment);
        }
        let mut folders = pattern.segments.iter().rev().skip(1);
        if folders.any(|segment| {
            segment.suffix.ends_with(".json")
                || segment.prefix.ends_with(".json")
                || segment.suffix.ends_with(".gz")
                || segment.prefix.ends_with(".gz")
        }) {
            let hint = "only the last segment ends in .json: a document and a folder can't have one name";
            return fail("has a folder that ends like a document".to_owned(), whole, hint);
        }
        let first = &pattern.segments[0];
        if first.column.is_some() && pattern.segments.len() > 1 {
            return fail(
                "begins with a key column".to_owned(),
                0..text.find('/').unwrap_or(text.len()),
                "begin it with a fixed name, usually the template's, so that no value can shadow another template's documents",
            );
        }
        if pattern.segments.len() == 1 && first.column.is_some() {
            return fail(
                "consists of a key column alone".to_owned(),
                whole,
                "put it into a folder: \"topics/{topic}.json\"",
            );
        }
        if first.prefix == "index" || text == "index.json" {
            return fail(
                "collides with the catalogue `index.json` or its folder `index/`".to_owned(),
                whole,
                "choose another first segment",
            );
        }
        Ok(pattern)
    }

    fn segment(&mut self, part: &str, span: &Range<usize>) -> Result<Segment, PatternError> {
        let fail = |message: String, hint| Err(PatternError { message, span: span.clone(), hint });
        let (prefix, column, suffix) = match part.find('{') {
            None => (part, None, ""),
            Some(open) => {
                let Some(close) = part[open..].find('}').map(|at| open + at) else {
                    return fail(format!("has a `{{` without `}}` in `{part}`"), "every key column is written {name}");
                };
                (&part[..open], Some(&part[open + 1..close]), &part[close + 1..])
            }
        };
        if suffix.contains('{') {
            return fail(
                format!("has two key columns in one segment, `{part}`"),
                "separate them with `/`, or a path could not be taken apart again",
            );
        }
        let literal =
            |text: &str| text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-_.".contains(&b));
        if !literal(prefix) || !literal(suffix) {
            return fail(
                format!("holds `{part}`, with characters outside a-z 0-9 - _ ."),
                "use lower-case ASCII letters, digits, `-`, `_` and `.`",
            );
        }
        if prefix.starts_with('.') || (column.is_none() && prefix.is_empty()) {
            return fail(format!("has the segment `{part}`"), "segments aren't empty and don't begin with a point");
        }
        let column = match column {
            None => None,
            Some("") => return fail("has an empty `{}`".to_owned(), "name a key column in it"),
            Some(name) if self.columns.iter().any(|known| known == name) => {
                return fail(format!("names the key column `{name}` twice"), "name each key column once");
            }
            Some(name) => {
                self.columns.push(name.to_owned());
                Some(self.columns.len() - 1)
            }
        };
        Ok(Segment { prefix: prefix.to_owned(), column, suffix: suffix.to_owned() })
    }

    /// The pattern as it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The key columns in the order of the path.
    pub fn columns(&self) -> &[String] {
        &self.columns
    }

    /// The object path of a key whose slugs are given in the order of [`PathPattern::columns`].
    pub fn path<S: AsRef<str>>(&self, slugs: &[S]) -> String {
        let mut path = String::with_capacity(self.text.len() + 32);
        for (at, segment) in self.segments.iter().enumerate() {
            if at > 0 {
                path.push('/');
            }
            path.push_str(&segment.prefix);
            if let Some(column) = segment.column {
                path.push_str(slugs[column].as_ref());
            }
            path.push_str(&segment.suffix);
        }
        path
    }

    /// True if an object path is short enough for every store.
    pub fn fits(path: &str) -> bool {
        path.len() <= MAX_PATH_LEN
    }

    /// Takes a path apart into slugs, in the order of [`PathPattern::columns`]; `None` if it isn't one of this pattern.
    pub fn slugs<'a>(&self, path: &'a str) -> Option<Vec<&'a str>> {
        let slugs = self.split(path)?;
        slugs.iter().all(|slug| is_slug(slug)).then_some(slugs)
    }

    /// Says whether some path may be one of both patterns, given which slugs a column of this one and of the other may have.
    pub fn meets(
        &self,
        other: &PathPattern,
        may_be: &dyn Fn(usize, &str) -> bool,
        may_other_be: &dyn Fn(usize, &str) -> bool,
    ) -> bool {
        let meet = |(one, two): (&Segment, &Segment)| match (one.column, two.column) {
            (None, None) => one.prefix == two.prefix,
            (Some(column), None) => one.slug(&two.prefix).is_some_and(|slug| may_be(column, slug)),
            (None, Some(column)) => two.slug(&one.prefix).is_some_and(|slug| may_other_be(column, slug)),
            (Some(_), Some(_)) => {
                let (before, after) = ((&one.prefix, &two.prefix), (&one.suffix, &two.suffix));
                let before =
                    before.0.strip_prefix(before.1.as_str()).or_else(|| before.1.strip_prefix(before.0.as_str()));
                let after = after.0.strip_suffix(after.1.as_str()).or_else(|| after.1.strip_suffix(after.0.as_str()));
                // What one has more than the other has to be part of the other's slug.
                let is_part =
                    |text: &str| text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
                before.is_some_and(is_part) && after.is_some_and(is_part)
            }
        };
        self.segments.len() == other.segments.len() && self.segments.iter().zip(&other.segments).all(meet)
    }

    /// Like [`PathPattern::slugs`], for a path in which a segment may be a glob such as `*` or `cr*`.
    pub fn globs<'a>(&self, path: &'a str) -> Option<Vec<&'a str>> {
        self.split(path)
    }

    fn split<'a>(&self, path: &'a str) -> Option<Vec<&'a str>> {
        let mut found = vec![""; self.columns.len()];
        let mut parts = path.split('/');
        for segment in &self.segments {
            let part = parts.next()?;
            let middle = part.strip_prefix(segment.prefix.as_str())?;
            match segment.column {
                None if middle.is_empty() => {}
                None => return None,
                Some(column) => {
                    // A glob may leave the ending out: `world-map/crispr/*` means every `….json` in that folder.
                    let value = middle
                        .strip_suffix(segment.suffix.as_str())
                        .or_else(|| middle.ends_with('*').then_some(middle))?;
                    if value.is_empty() {
                        return None;
                    }
                    found[column] = value;
                }
            }
        }
        parts.next().is_none().then_some(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn there_and_back() {
        let pattern = PathPattern::parse("country-map/{region}/{topic}/{confidence}.json").unwrap();
        assert_eq!(pattern.columns(), ["region", "topic", "confidence"]);
        let path = pattern.path(&["united-states", "crispr", "low"]);
        assert_eq!(path, "country-map/united-states/crispr/low.json");
        assert_eq!(pattern.slugs(&path), Some(vec!["united-states", "crispr", "low"]));
        assert_eq!(pattern.slugs("country-map/united-states/crispr/low"), None);
        assert_eq!(pattern.slugs("country-map/united-states/crispr/low.json/x"), None);
        assert_eq!(pattern.slugs("country-map/United/crispr/low.json"), None);
        assert_eq!(pattern.globs("country-map/*/crispr/*"), Some(vec!["*", "crispr", "*"]));
    }

    #[test]
    fn a_template_may_have_a_single_document() {
        let pattern = PathPattern::parse("totals.json").unwrap();
        assert_eq!(pattern.path::<&str>(&[]), "totals.json");
        assert_eq!(pattern.slugs("totals.json"), Some(vec![]));
    }

    #[test]
    fn patterns_that_may_make_one_path() {
        let meet = |one: &str, two: &str| {
            let (one, two) = (PathPattern::parse(one).unwrap(), PathPattern::parse(two).unwrap());
            let is_low = |_: usize, slug: &str| slug == "low";
            let (there, back) = (one.meets(&two, &is_low, &is_low), two.meets(&one, &is_low, &is_low));
            assert_eq!(there, back);
            there
        };
        for (one, two, expected) in [
            ("m/{a}/{b}.json", "m/all-{c}/{d}.json", true),
            ("m/{a}/{b}.json", "m/{c}-all/{d}.json", true),
            ("m/all-{a}.json", "m/{b}-x.json", true),
            ("m/{a}.json", "m/low.json", true),
            ("m/{a}.json", "m/all.json", false),
            ("m/{a}.json", "n/{b}.json", false),
            ("m/{a}.json", "m/{b}/{c}.json", false),
            ("m/{a}.json", "m/all_{b}.json", false),
            ("m/{a}.json", "m/{b}.x.json", false),
            ("m/all-{a}.json", "m/any-{b}.json", false),
            ("m.json", "m.json", true),
        ] {
            assert_eq!(meet(one, two), expected, "{one} {two}");
        }
    }

    #[test]
    fn refused_patterns() {
        for text in [
            "a/{b}",
            "/a/{b}.json",
            "{a}/b.json",
            "{a}.json",
            "index.json",
            "index/{a}.json",
            "a/{b}-{c}.json",
            "a/{b}/{b}.json",
            "a//b.json",
            "a/../{b}.json",
            "A/{b}.json",
            "a/{b.json",
            "a/{}.json",
            "a/.{b}/../c.json",
            "a.json/{b}.json",
            "a/{b}.json.gz/c.json",
        ] {
            assert!(PathPattern::parse(text).is_err(), "{text} was accepted");
        }
    }

    proptest! {
        #[test]
        fn every_path_comes_apart_into_its_slugs(a in "[a-z0-9-]{1,20}", b in "[a-z0-9-]{1,20}") {
            let pattern = PathPattern::parse("m/v-{a}/{b}.x.json").unwrap();
            let path = pattern.path(&[&a, &b]);
            prop_assert_eq!(pattern.slugs(&path), Some(vec![a.as_str(), b.as_str()]));
        }
    }
}
