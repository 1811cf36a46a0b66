//! Errors in the files that people write: what is wrong, where in the text, and what to write instead.

use std::fmt;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use miette::{LabeledSpan, SourceCode};
use serde::Serialize;

/// How grave a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Works, but costs something: speed, stability of the bytes, clarity.
    Warning,
    /// Doesn't work.
    Error,
}

/// One finding in a config, template or schedule file.
#[derive(Debug, Clone)]
pub struct Diagnostic {
    /// How grave it is.
    pub severity: Severity,
    /// What is wrong: a lower-case fragment that names the thing and its value.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
    file: String,
    source: Arc<str>,
    span: Option<Range<usize>>,
}

impl Diagnostic {
    /// An error about a whole file.
    pub fn error(file: &Path, source: &Arc<str>, message: impl Into<String>) -> Diagnostic {
        Diagnostic {
            severity: Severity::Error,
            message: message.into(),
            hint: None,
            file: file.display().to_string(),
            source: Arc::clone(source),
            span: None,
        }
    }

    /// A warning about a whole file.
    pub fn warning(file: &Path, source: &Arc<str>, message: impl Into<String>) -> Diagnostic {
        Diagnostic { severity: Severity::Warning, ..Diagnostic::error(file, source, message) }
    }

    /// Points at bytes of the file. A span outside the text is moved to its end.
    #[must_use]
    pub fn at(mut self, span: Range<usize>) -> Diagnostic {
        let end = span.end.min(self.source.len());
        self.span = Some(span.start.min(end)..end);
        self
    }

    /// Adds what to do about it.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Diagnostic {
        self.hint = Some(hint.into());
        self
    }

    /// Says first what the finding is about.
    #[must_use]
    pub fn prefixed(mut self, what: &str) -> Diagnostic {
        self.message = format!("{what}: {}", self.message);
        self
    }

    /// The file's name as it was given.
    pub fn file(&self) -> &str {
        &self.file
    }

    /// Line and column of the finding, counted from 1; the column counts characters.
    pub fn position(&self) -> Option<(usize, usize)> {
        let start = self.span.as_ref()?.start;
        let before = self.source.get(..start)?;
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        Some((before.matches('\n').count() + 1, before[line_start..].chars().count() + 1))
    }
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.position() {
            Some((line, _)) => write!(f, "{}:{line}: {}", self.file, self.message),
            None => write!(f, "{}: {}", self.file, self.message),
        }
    }
}

impl std::error::Error for Diagnostic {}

/// A named text that shows itself only where there is a span: a template without text would otherwise print an empty box.
impl miette::Diagnostic for Diagnostic {
    fn severity(&self) -> Option<miette::Severity> {
        Some(match self.severity {
            Severity::Warning => miette::Severity::Warning,
            Severity::Error => miette::Severity::Error,
        })
    }

    fn help<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        self.hint.as_ref().map(|hint| Box::new(hint) as Box<dyn fmt::Display>)
    }

    fn source_code(&self) -> Option<&dyn SourceCode> {
        self.span.as_ref().map(|_| self as &dyn SourceCode)
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        let span = self.span.clone()?;
        Some(Box::new(std::iter::once(LabeledSpan::new(None, span.start, span.len()))))
    }
}

impl SourceCode for Diagnostic {
    fn read_span<'a>(
        &'a self,
        span: &miette::SourceSpan,
        lines_before: usize,
        lines_after: usize,
    ) -> Result<Box<dyn miette::SpanContents<'a> + 'a>, miette::MietteError> {
        let contents = self.source.as_ref().read_span(span, lines_before, lines_after)?;
        Ok(Box::new(miette::MietteSpanContents::new_named(
            self.file.clone(),
            contents.data(),
            *contents.span(),
            contents.line(),
            contents.column(),
            contents.line_count(),
        )))
    }
}

/// The nearest of the known names, if it is near enough to be what was meant.
pub fn did_you_mean<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    known
        .into_iter()
        .map(|candidate| (strsim::damerau_levenshtein(&name.to_lowercase(), &candidate.to_lowercase()), candidate))
        .filter(|(distance, candidate)| *distance <= 1 + candidate.chars().count() / 4)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// Turns serde's `unknown field …, expected one of …` into a hint.
pub fn unknown_name(message: &str) -> Option<String> {
    let mut names = message
        .strip_prefix("unknown field ")
        .or_else(|| message.strip_prefix("unknown variant "))?
        .split('`')
        .skip(1)
        .step_by(2);
    let unknown = names.next()?;
    let known: Vec<&str> = names.collect();
    Some(match did_you_mean(unknown, known.iter().copied()) {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("known here are {}", known.join(", ")),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_count_lines_and_characters_from_one() {
        let source: Arc<str> = "one\nzwölf x\n".into();
        let at = source.find('x').unwrap();
        let finding = Diagnostic::error(Path::new("a.sql"), &source, "is wrong").at(at..at + 1);
        assert_eq!(finding.position(), Some((2, 7)));
        assert_eq!(finding.to_string(), "a.sql:2: is wrong");
    }

    #[test]
    fn near_names() {
        assert_eq!(did_you_mean("crisper", ["crispr", "cancer"]), Some("crispr"));
        assert_eq!(did_you_mean("urll", ["url", "region"]), Some("url"));
        assert_eq!(did_you_mean("quantum", ["crispr", "cancer"]), None);
    }
}
