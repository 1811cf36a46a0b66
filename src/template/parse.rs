//! From the text of a template file to a [`Template`], with the spans of everything that can be wrong.

use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use super::{RESERVED_NAMES, Template};
use crate::diagnostic::{Diagnostic, unknown_name};

mod front_matter;
mod guard;
mod limits;
mod refresh;
mod sql;

pub use front_matter::placeholders;
use front_matter::{FrontMatter, Located};

const OPEN: &str = "/*---";
const CLOSE: &str = "---*/";
const SKELETON: &str = "begin the file with\n/*---\npath = \"NAME/{topic}.json\"\n---*/";

/// Reads a template file's text.
pub fn parse(file: &Path, source: &Arc<str>) -> Result<Template, Vec<Diagnostic>> {
    let reader = Reader { file, source };
    let name = reader.name().map_err(|finding| vec![finding])?;
    let (front, sql) = reader.split().map_err(|finding| vec![finding])?;
    let text = &source[front.clone()];
    let matter: FrontMatter = toml::from_str(text).map_err(|error| vec![reader.toml(&error, front.start)])?;
    let mut at = Located { reader, offset: front.start, findings: Vec::new() };
    let template = at.template(name, matter, sql);
    match template {
        Some(template) if at.findings.is_empty() => Ok(template),
        _ => Err(at.findings),
    }
}

#[derive(Clone, Copy)]
struct Reader<'a> {
    file: &'a Path,
    source: &'a Arc<str>,
}

impl Reader<'_> {
    fn error(&self, span: Range<usize>, message: impl Into<String>) -> Diagnostic {
        Diagnostic::error(self.file, self.source, message).at(span)
    }

    fn name(&self) -> Result<String, Diagnostic> {
        let stem = self.file.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
        let whole = |message: String| Diagnostic::error(self.file, self.source, message);
        let plain = stem.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'_');
        if stem.is_empty() || !plain || stem.starts_with(['-', '_']) {
            return Err(whole(format!("the file's name makes the template's, and `{stem}` isn't one"))
                .hint("use lower-case letters, digits, `-` and `_`: world-map.sql"));
        }
        if RESERVED_NAMES.contains(&stem.as_str()) {
            return Err(whole(format!("the template name `{stem}` is reserved"))
                .hint(format!("reserved are {}", RESERVED_NAMES.join(", "))));
        }
        Ok(stem)
    }

    /// The spans of the front matter and of the SQL behind it.
    fn split(&self) -> Result<(Range<usize>, Range<usize>), Diagnostic> {
        if let Some(at) = self.source.find('\0') {
            // SQLite would take it for the end of the statement and never get there.
            return Err(self.error(at..at + 1, "the file holds a NUL byte").hint("remove it; was it saved as UTF-16?"));
        }
        let start = self.source.len() - self.source.trim_start_matches(['\u{feff}', ' ', '\t', '\r', '\n']).len();
        let first_line = start..start + self.source[start..].find('\n').unwrap_or(self.source.len() - start);
        if !self.source[start..].starts_with(OPEN) {
            return Err(self.error(first_line, "the front matter is missing").hint(SKELETON));
        }
        let front_start = start + OPEN.len();
        let Some(end) = self.source[front_start..].find("*/").map(|at| front_start + at) else {
            return Err(self.error(first_line, "the front matter isn't closed").hint(format!("close it with {CLOSE}")));
        };
        let front = &self.source[front_start..end];
        let Some(front) = front.strip_suffix("---") else {
            return Err(self.error(end..end + 2, "`*/` inside the front matter ends the SQL comment early").hint(
                format!("the front matter is one SQL comment, so `*/` can't stand in it; it ends with {CLOSE}"),
            ));
        };
        if let Some(nested) = front.find("/*") {
            return Err(self
                .error(
                    front_start + nested..front_start + nested + 2,
                    "`/*` inside the front matter opens a nested comment in PostgreSQL",
                )
                .hint("write it apart, or leave it out"));
        }
        let behind = &self.source[end + 2..];
        let sql_start = self.source.len() - behind.trim_start().len();
        Ok((front_start..front_start + front.len(), sql_start..self.source.len()))
    }

    fn toml(&self, error: &toml::de::Error, offset: usize) -> Diagnostic {
        let span = error.span().unwrap_or(0..0);
        let message = error.message().lines().next().unwrap_or_default();
        let finding =
            self.error(offset + span.start..offset + span.end, format!("the front matter is wrong: {message}"));
        match unknown_name(message) {
            Some(hint) => finding.hint(hint),
            None if message.starts_with("missing field") => finding.hint(SKELETON),
            None => finding.hint("the front matter is TOML; text stands in quotes: max_age = \"60s\""),
        }
    }
}
