//! The URL of the page that shows a document, so that an editor can paste it from the browser.

use url::Url;

use super::parse::placeholders;

/// `https://example.org/map?region={region}&topic={topic}`: placeholders stand for whole path segments or query values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PageUrl {
    host: String,
    segments: Vec<Part>,
    query: Vec<(String, Part)>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Literal(String),
    Column(usize),
}

impl PageUrl {
    /// Reads the pattern; the error is a fragment that completes "the `page_url` …".
    pub fn parse(text: &str, columns: &[String]) -> Result<PageUrl, String> {
        if let Some(unknown) = placeholders(text).find(|name| !columns.iter().any(|column| column == name)) {
            return Err(format!("names `{unknown}`, which isn't a key column"));
        }
        let url = Url::parse(text).map_err(|error| format!("isn't a URL: {error}"))?;
        let host = url.host_str().ok_or("has no host")?.to_owned();
        let part = |text: &str| match text.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')) {
            Some(name) => columns
                .iter()
                .position(|column| column == name)
                .map(Part::Column)
                .ok_or_else(|| format!("mixes `{text}` with other text")),
            None if text.contains('{') => Err(format!("mixes a key column with other text in `{text}`")),
            None => Ok(Part::Literal(text.to_owned())),
        };
        let segments = decoded_segments(&url).iter().map(|segment| part(segment)).collect::<Result<_, _>>()?;
        let query = url
            .query_pairs()
            .map(|(name, value)| Ok((name.into_owned(), part(&value)?)))
            .collect::<Result<_, String>>()?;
        Ok(PageUrl { host, segments, query })
    }

    /// How many of the URL's query parameters the page doesn't know.
    pub fn unknown_parameters(&self, url: &Url) -> usize {
        url.query_pairs().filter(|(given, _)| !self.query.iter().any(|(name, _)| name == given)).count()
    }

    /// What the URL says of each key column (value or slug); `None` where the URL isn't this page's.
    pub fn columns(&self, url: &Url, count: usize) -> Option<Vec<Option<String>>> {
        let mut found = vec![None; count];
        let mut take = |part: &Part, text: &str| match part {
            Part::Literal(expected) => expected == text,
            Part::Column(column) => {
                found[*column] = (!text.is_empty()).then(|| text.to_owned());
                true
            }
        };
        let segments = decoded_segments(url);
        if url.host_str()? != self.host || segments.len() != self.segments.len() {
            return None;
        }
        if !self.segments.iter().zip(&segments).all(|(part, text)| take(part, text)) {
            return None;
        }
        for (name, part) in &self.query {
            match url.query_pairs().find(|(given, _)| given == name) {
                Some((_, text)) if !take(part, &text) => return None,
                None if matches!(part, Part::Literal(_)) => return None,
                _ => {}
            }
        }
        Some(found)
    }
}

fn decoded_segments(url: &Url) -> Vec<String> {
    let decode = |segment: &str| percent_encoding::percent_decode_str(segment).decode_utf8_lossy().into_owned();
    let mut segments: Vec<String> =
        url.path_segments().map(|segments| segments.map(decode).collect()).unwrap_or_default();
    if segments.last().is_some_and(String::is_empty) {
        segments.pop();
    }
    segments
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pasted_page_says_what_the_key_columns_are() {
        let columns = ["region".to_owned(), "topic".to_owned()];
        let page = PageUrl::parse("https://example.org/map?region={region}&topic={topic}", &columns).unwrap();
        let of = |text: &str| page.columns(&Url::parse(text).unwrap(), 2);
        assert_eq!(
            of("https://example.org/map?topic=crispr&region=United%20States#top"),
            Some(vec![Some("United States".to_owned()), Some("crispr".to_owned())])
        );
        assert_eq!(of("https://example.org/map/?topic=crispr"), Some(vec![None, Some("crispr".to_owned())]));
        assert_eq!(of("https://example.com/map?topic=crispr"), None);
        assert_eq!(of("https://example.org/other?topic=crispr"), None);
        assert!(PageUrl::parse("https://example.org/map?x={nation}", &columns).is_err());
    }
}
