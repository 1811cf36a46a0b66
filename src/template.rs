//! Templates: one SQL file is a family of snapshots.
//!
//! A file is valid SQL as it stands. Its first block comment holds TOML front matter that says where the documents
//! lie, what shape they have and which values the key columns may take; `parse` reads it and keeps every span, so
//! that an error points at the line it is about. `domain` answers which keys exist, `select` turns what a person
//! typed into a set of keys, and `scope` turns the same SQL text into a statement over all keys or over some.

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::diagnostic::Diagnostic;
use crate::key::{KeyValue, PathPattern};

pub mod domain;
pub mod guard;
pub mod lint;
mod page_url;
mod parse;
pub mod scope;
pub mod select;
pub mod tokens;

pub use page_url::PageUrl;

use guard::{GuardSettings, Guards};

/// Names that the catalogue, the health endpoints and the schema take.
pub const RESERVED_NAMES: [&str; 4] = ["health", "metrics", "index", "schema"];

/// A family of snapshots, as one SQL file describes it.
#[derive(Debug, Clone)]
pub struct Template {
    /// The file's name without `.sql`.
    pub name: String,
    /// Object paths of the documents; its columns are the key columns.
    pub pattern: PathPattern,
    /// What a document looks like.
    pub shape: Shape,
    /// What the front matter asks of single columns.
    pub rules: Vec<(String, ColumnRule)>,
    /// The headers that every document carries.
    pub policy: HeaderPolicy,
    /// The page that shows a document, for pasting into the command line.
    pub page_url: Option<PageUrl>,
    /// What the fallback server does with a valid key outside the published set.
    pub on_miss: OnMiss,
    /// Which values the key columns may take.
    pub domains: Vec<DomainSource>,
    /// The query that tells whether the template has to be read; without it every publish reads it.
    pub refresh: Option<Refresh>,
    /// Above this number of published combinations no empty documents are made.
    pub max_keys: usize,
    /// What a build of it is measured by before readers see it.
    pub guards: Guards,
    /// What the fallback server may spend on its documents.
    pub limits: Limits,
    /// The markers in the SQL where a keyed statement gets further conditions.
    pub markers: Vec<Marker>,
    /// The SQL's bytes in the file, without a `;` at its end.
    pub sql: Range<usize>,
    file: PathBuf,
    source: Arc<str>,
    path_span: Range<usize>,
}

/// What a document looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Shape {
    /// `"rows": [{…}, …]`
    #[default]
    Rows,
    /// `"count": n, "columns": {"city": […], …}`
    Columns,
    /// An RFC 7946 `FeatureCollection`.
    Geojson,
    /// One column that holds JSON: `"data": …`
    Json,
}

impl std::fmt::Display for Shape {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Shape::Rows => "rows",
            Shape::Columns => "columns",
            Shape::Geojson => "geojson",
            Shape::Json => "json",
        })
    }
}

/// What the front matter asks of one column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ColumnRule {
    /// Round to this many digits after the point, half away from zero.
    Decimals(u32),
    /// Show a number as a JSON string.
    Text,
    /// Show 0 and 1 as `false` and `true`.
    Bool,
    /// The text is JSON: embed it as a value.
    Json,
}

/// What happens with a valid key that isn't published.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OnMiss {
    /// The fallback server answers it from the database.
    #[default]
    Live,
    /// It is a 404.
    NotFound,
}

/// What the fallback server may spend on a template's documents.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// How many answers a minute one client may cost the database, 1 to 60,000; that many at once. Default 30.
    pub per_minute: u32,
    /// Longest time of one statement, 100 ms to 6 s; none means that of the pool.
    pub timeout: Option<Duration>,
    /// How long an answer from the database stands for later ones, 1 s to 1 day. Default 10 minutes.
    pub ttl: Duration,
}

/// The headers of a template's documents.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeaderPolicy {
    /// `Cache-Control`, as RFC 9111 and RFC 5861 define it.
    pub cache_control: String,
    /// Cache tags, with `{column}` standing for a slug.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub cache_tags: Vec<String>,
}

impl HeaderPolicy {
    /// The policy of documents that browsers keep for `max_age` and the edge for `edge_ttl`.
    pub fn new(
        max_age: Duration,
        edge_ttl: Duration,
        revalidate: Duration,
        on_error: Duration,
        cache_tags: Vec<String>,
    ) -> HeaderPolicy {
        let cache_control = format!(
            "public, max-age={}, s-maxage={}, stale-while-revalidate={}, stale-if-error={}",
            max_age.as_secs(),
            edge_ttl.as_secs(),
            revalidate.as_secs(),
            on_error.as_secs()
        );
        HeaderPolicy { cache_control, cache_tags }
    }
}

/// Where the values of a key column come from.
#[derive(Debug, Clone)]
pub struct DomainSource {
    /// The key column that the domain is named after.
    pub column: String,
    /// The values themselves, or the query for them.
    pub values: DomainValues,
    /// How many of the first values are pre-built; `None` means all.
    pub publish: Option<usize>,
    /// The bytes of the file that say so.
    pub span: Range<usize>,
}

/// The values of a domain.
#[derive(Debug, Clone)]
pub enum DomainValues {
    /// Listed in the front matter.
    Listed(Vec<KeyValue>),
    /// Columns by name: key columns, and optionally `label` and `slug`.
    Sql(String),
}

/// A cheap query: while its answer stays the same, a publish leaves the template's own query out.
#[derive(Debug, Clone)]
pub struct Refresh {
    /// One query of few rows, without a `;` at its end.
    pub sql: String,
    /// How old the last whole read may be for the answer to count; from a minute to 30 days, by default one day. Longer
    /// saves reads; what the query can't see, such as a transaction that commits late, waits as long.
    pub at_least: Duration,
    /// The bytes of the file that hold the query.
    pub span: Range<usize>,
}

/// A comment `/*:keys region=c.name, topic=t.slug */` in the SQL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Marker {
    /// Its bytes in the file.
    pub span: Range<usize>,
    /// Key column (by its place in the path) and the expression to compare with it.
    pub filters: Vec<(usize, String)>,
}

impl Template {
    /// Reads one file. A template with an error isn't returned, whatever else is right about it.
    pub fn load(file: &Path, shown: &Path) -> Result<Template, Vec<Diagnostic>> {
        let read = std::fs::read_to_string(file);
        let source: Arc<str> = read.as_deref().unwrap_or_default().into();
        if let Err(error) = read {
            return Err(vec![Diagnostic::error(shown, &source, format!("can't be read: {error}"))]);
        }
        parse::parse(shown, &source)
    }

    /// Reads every `*.sql` of a folder, in the order of their names.
    pub fn load_all(folder: &Path, shown: &Path) -> Result<Vec<Template>, Vec<Diagnostic>> {
        let (templates, findings) = Template::load_readable(folder, shown)?;
        if findings.is_empty() { Ok(templates) } else { Err(findings) }
    }

    /// Reads those files of a folder that can be read, and says what is wrong with the others.
    pub fn load_readable(folder: &Path, shown: &Path) -> Result<(Vec<Template>, Vec<Diagnostic>), Vec<Diagnostic>> {
        let about_folder = |message: String| vec![Diagnostic::error(shown, &"".into(), message)];
        let entries = std::fs::read_dir(folder).map_err(|error| {
            vec![
                Diagnostic::error(shown, &"".into(), format!("the template folder can't be read: {error}"))
                    .hint("[paths] templates names it; `tintype init DIR` writes one with three templates"),
            ]
        })?;
        let mut names = Vec::new();
        for entry in entries {
            let name =
                entry.map_err(|error| about_folder(format!("the template folder can't be read: {error}")))?.file_name();
            if Path::new(&name).extension().is_some_and(|extension| extension == "sql")
                && !name.to_string_lossy().starts_with('.')
            {
                names.push(name);
            }
        }
        names.sort();
        if names.is_empty() {
            return Err(vec![
                Diagnostic::error(shown, &"".into(), "the template folder holds no .sql file")
                    .hint("`tintype init DIR` writes three templates to start from"),
            ]);
        }
        let mut templates = Vec::new();
        let mut findings = Vec::new();
        for name in names {
            match Template::load(&folder.join(&name), &shown.join(&name)) {
                Ok(template) => templates.push(template),
                Err(errors) => findings.extend(errors),
            }
        }
        findings.extend(one_pattern_twice(&templates));
        Ok((templates, findings))
    }

    /// The same template with what `[guard]` says for every template.
    #[must_use]
    pub fn guarded(mut self, common: &GuardSettings) -> Template {
        self.guards.common = common.clone();
        self
    }

    /// The key columns in the order of the path.
    pub fn columns(&self) -> &[String] {
        self.pattern.columns()
    }

    /// The SQL as it was written.
    pub fn sql_text(&self) -> &str {
        &self.source[self.sql.clone()]
    }

    /// The file as it is named in messages.
    pub fn file(&self) -> &Path {
        &self.file
    }

    /// The whole text of the file.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// An error about this template; without a further [`Diagnostic::at`] it points at the path.
    pub fn error(&self, message: impl Into<String>) -> Diagnostic {
        Diagnostic::error(&self.file, &self.source, message).at(self.path_span.clone())
    }

    /// A warning about this template.
    pub fn warning(&self, message: impl Into<String>) -> Diagnostic {
        Diagnostic::warning(&self.file, &self.source, message).at(self.path_span.clone())
    }

    /// The first word of the SQL, for what is about the statement as a whole.
    pub fn sql_start(&self) -> Range<usize> {
        let sql = self.sql_text();
        let first = tokens::tokens(sql).into_iter().find(|token| !token.is_comment());
        first.map_or(self.sql.start..self.sql.start, |token| {
            self.sql.start + token.span.start..self.sql.start + token.span.end
        })
    }

    /// Where the SQL names a result column: its last alias of that name, else its last mention, else the first word.
    pub fn span_of_column(&self, column: &str) -> Range<usize> {
        let sql = self.sql_text();
        let tokens: Vec<_> = tokens::tokens(sql).into_iter().filter(|token| !token.is_comment()).collect();
        let names = |token: &tokens::Token| token.text(sql).trim_matches('"').eq_ignore_ascii_case(column);
        let mention = |at: &usize| {
            matches!(tokens[*at].kind, tokens::Kind::Word | tokens::Kind::QuotedName) && names(&tokens[*at])
        };
        let alias = (1..tokens.len()).rev().filter(mention).find(|at| tokens[at - 1].is_word(sql, "as"));
        let found = alias.or_else(|| (0..tokens.len()).rev().find(mention)).or((!tokens.is_empty()).then_some(0));
        found.map_or(self.sql.start..self.sql.start, |at| {
            self.sql.start + tokens[at].span.start..self.sql.start + tokens[at].span.end
        })
    }
}

/// Two templates whose paths differ only in the names of their columns would write each other's documents.
fn one_pattern_twice(templates: &[Template]) -> Vec<Diagnostic> {
    let shape_of = |template: &Template| template.pattern.path(&vec!["{}"; template.columns().len()]);
    let mut findings = Vec::new();
    for (at, template) in templates.iter().enumerate() {
        if let Some(first) = templates[..at].iter().find(|first| shape_of(first) == shape_of(template)) {
            findings.push(
                template
                    .error(format!("the path is also that of the template `{}`", first.name))
                    .hint("give each template a path of its own, for example beginning with its name"),
            );
        }
    }
    findings
}
