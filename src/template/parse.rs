//! From the text of a template file to a [`Template`], with the spans of everything that can be wrong.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytesize::ByteSize;
use serde::Deserialize;
use toml::Spanned;

use super::tokens::{self, Kind};
use super::{
    ColumnRule, DomainSource, DomainValues, HeaderPolicy, Marker, OnMiss, PageUrl, RESERVED_NAMES, Shape, Template,
};
use crate::diagnostic::{Diagnostic, did_you_mean};
use crate::key::{KeyValue, PathPattern};

const OPEN: &str = "/*---";
const CLOSE: &str = "---*/";
const SKELETON: &str = "begin the file with\n/*---\npath = \"NAME/{topic}.json\"\n---*/";

const DEFAULT_MAX_KEYS: usize = 200_000;
const DEFAULT_MAX_SIZE: ByteSize = ByteSize::mib(16);
const DEFAULT_MAX_AGE: Duration = Duration::from_mins(1);
const DEFAULT_EDGE_TTL: Duration = Duration::from_hours(24);
const DEFAULT_STALE_WHILE_REVALIDATE: Duration = Duration::from_hours(1);
const DEFAULT_STALE_IF_ERROR: Duration = Duration::from_hours(168);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FrontMatter {
    path: Spanned<String>,
    #[serde(default)]
    shape: Shape,
    #[serde(default)]
    decimals: BTreeMap<Spanned<String>, Spanned<u32>>,
    #[serde(default)]
    text: Vec<Spanned<String>>,
    #[serde(default)]
    bool: Vec<Spanned<String>>,
    #[serde(default)]
    json: Vec<Spanned<String>>,
    max_age: Option<Spanned<String>>,
    edge_ttl: Option<Spanned<String>>,
    stale_while_revalidate: Option<Spanned<String>>,
    stale_if_error: Option<Spanned<String>>,
    #[serde(default)]
    cache_tags: Vec<Spanned<String>>,
    page_url: Option<Spanned<String>>,
    #[serde(default)]
    on_miss: OnMiss,
    max_keys: Option<usize>,
    #[serde(default)]
    keys: BTreeMap<Spanned<String>, Spanned<KeySpec>>,
    #[serde(default)]
    guard: GuardSpec,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct KeySpec {
    values: Option<Vec<Spanned<toml::Value>>>,
    sql: Option<Spanned<String>>,
    publish: Option<Spanned<usize>>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct GuardSpec {
    max_size: Option<Spanned<String>>,
}

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
            None => finding.hint("the front matter is TOML; text stands in quotes: max_age = \"60s\""),
        }
    }
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

/// Turns spanned values of the front matter into a template, gathering every finding on the way.
struct Located<'a> {
    reader: Reader<'a>,
    offset: usize,
    findings: Vec<Diagnostic>,
}

impl Located<'_> {
    fn span(&self, span: Range<usize>) -> Range<usize> {
        self.offset + span.start..self.offset + span.end
    }

    fn report(&mut self, span: Range<usize>, message: impl Into<String>, hint: impl Into<String>) {
        let finding = self.reader.error(self.span(span), message).hint(hint);
        self.findings.push(finding);
    }

    fn template(&mut self, name: String, matter: FrontMatter, sql: Range<usize>) -> Option<Template> {
        let path_span = matter.path.span();
        let pattern = match PathPattern::parse(matter.path.get_ref()) {
            Ok(pattern) => pattern,
            Err(error) => {
                let inner = path_span.start + 1;
                self.report(
                    inner + error.span.start..inner + error.span.end,
                    format!("the path {}", error.message),
                    error.hint,
                );
                return None;
            }
        };
        let columns = pattern.columns().to_vec();
        let rules = self.rules(&matter, &columns);
        let policy = self.policy(&matter, &columns);
        let page_url = matter.page_url.as_ref().and_then(|url| match PageUrl::parse(url.get_ref(), &columns) {
            Ok(page_url) => Some(page_url),
            Err(message) => {
                self.report(
                    url.span(),
                    format!("the page_url {message}"),
                    "write for example \"https://example.org/map?topic={topic}\"",
                );
                None
            }
        });
        let max_size = matter.guard.max_size.as_ref().map_or(DEFAULT_MAX_SIZE, |size| self.size(size));
        let domains =
            matter.keys.into_iter().filter_map(|(column, spec)| self.domain(&column, spec, &columns)).collect();
        let sql = self.sql(sql)?;
        let markers = self.markers(&sql, &columns);
        Some(Template {
            name,
            shape: matter.shape,
            rules,
            policy,
            page_url,
            on_miss: matter.on_miss,
            domains,
            max_keys: matter.max_keys.unwrap_or(DEFAULT_MAX_KEYS),
            max_size_bytes: max_size.as_u64(),
            markers,
            sql,
            file: self.reader.file.to_owned(),
            source: Arc::clone(self.reader.source),
            path_span: self.span(path_span),
            pattern,
        })
    }

    fn rules(&mut self, matter: &FrontMatter, columns: &[String]) -> Vec<(String, ColumnRule)> {
        let decimals = matter.decimals.iter().map(|(column, digits)| (column, ColumnRule::Decimals(*digits.get_ref())));
        let text = matter.text.iter().map(|column| (column, ColumnRule::Text));
        let bool = matter.bool.iter().map(|column| (column, ColumnRule::Bool));
        let json = matter.json.iter().map(|column| (column, ColumnRule::Json));
        let mut rules: Vec<(String, ColumnRule)> = Vec::new();
        for (column, rule) in decimals.chain(text).chain(bool).chain(json) {
            let name = column.get_ref();
            if rules.iter().any(|(known, _)| known == name) {
                self.report(
                    column.span(),
                    format!("the column `{name}` has two rules"),
                    "name a column in one of decimals, text, bool and json",
                );
            } else if matches!(rule, ColumnRule::Decimals(_) | ColumnRule::Json) && columns.contains(name) {
                self.report(
                    column.span(),
                    format!("the key column `{name}` can't be rounded or hold JSON"),
                    "key columns are text, whole numbers or booleans",
                );
            }
            rules.push((name.clone(), rule));
        }
        for digits in matter.decimals.values().filter(|digits| *digits.get_ref() > 30) {
            self.report(digits.span(), format!("{} decimals are too many", digits.get_ref()), "at most 30");
        }
        rules
    }

    fn policy(&mut self, matter: &FrontMatter, columns: &[String]) -> HeaderPolicy {
        for tag in &matter.cache_tags {
            let text = tag.get_ref();
            if let Some(unknown) = placeholders(text).find(|name| !columns.iter().any(|column| column == name)) {
                self.report(
                    tag.span(),
                    format!("the cache tag `{text}` names `{unknown}`, which isn't a key column"),
                    format!("key columns are {}", columns.join(", ")),
                );
            } else if text.is_empty() || !text.bytes().all(|b| b.is_ascii_graphic() && b != b',') {
                self.report(
                    tag.span(),
                    format!("the cache tag `{text}` isn't printable ASCII without spaces and commas"),
                    "CDNs separate tags by spaces or commas",
                );
            }
        }
        HeaderPolicy::new(
            self.duration(matter.max_age.as_ref(), DEFAULT_MAX_AGE),
            self.duration(matter.edge_ttl.as_ref(), DEFAULT_EDGE_TTL),
            self.duration(matter.stale_while_revalidate.as_ref(), DEFAULT_STALE_WHILE_REVALIDATE),
            self.duration(matter.stale_if_error.as_ref(), DEFAULT_STALE_IF_ERROR),
            matter.cache_tags.iter().map(|tag| tag.get_ref().clone()).collect(),
        )
    }

    fn duration(&mut self, text: Option<&Spanned<String>>, default: Duration) -> Duration {
        let Some(text) = text else { return default };
        humantime::parse_duration(text.get_ref()).unwrap_or_else(|error| {
            self.report(
                text.span(),
                format!("`{}` isn't a duration: {error}", text.get_ref()),
                "write for example \"60s\", \"10m\", \"1h\" or \"1d\"",
            );
            default
        })
    }

    fn size(&mut self, text: &Spanned<String>) -> ByteSize {
        text.get_ref().parse().unwrap_or_else(|error| {
            self.report(
                text.span(),
                format!("`{}` isn't a size: {error}", text.get_ref()),
                "write for example \"1 MiB\"",
            );
            DEFAULT_MAX_SIZE
        })
    }

    fn domain(&mut self, column: &Spanned<String>, spec: Spanned<KeySpec>, columns: &[String]) -> Option<DomainSource> {
        let name = column.get_ref().clone();
        let span = spec.span();
        if !columns.contains(&name) {
            let near = did_you_mean(&name, columns.iter().map(String::as_str));
            let hint = near.map_or_else(
                || format!("key columns are {}", columns.join(", ")),
                |near| format!("did you mean `{near}`?"),
            );
            self.report(column.span(), format!("[keys.{name}] isn't about a key column of the path"), hint);
            return None;
        }
        let KeySpec { values, sql, publish } = spec.into_inner();
        let values = match (values, sql) {
            (Some(values), None) => DomainValues::Listed(self.values(&name, values)?),
            (None, Some(sql)) => DomainValues::Sql(sql.into_inner()),
            (Some(_), Some(_)) => {
                self.report(column.span(), format!("[keys.{name}] has both `values` and `sql`"), "keep one of them");
                return None;
            }
            (None, None) => {
                self.report(
                    column.span(),
                    format!("[keys.{name}] has neither `values` nor `sql`"),
                    "list the values, or query them: sql = \"SELECT …\"",
                );
                return None;
            }
        };
        Some(DomainSource { column: name, values, publish: publish.map(Spanned::into_inner), span: self.span(span) })
    }

    fn values(&mut self, name: &str, values: Vec<Spanned<toml::Value>>) -> Option<Vec<KeyValue>> {
        let mut found = Vec::new();
        for value in values {
            let span = value.span();
            let value = match value.into_inner() {
                toml::Value::String(text) => KeyValue::Text(text),
                toml::Value::Integer(number) => KeyValue::Integer(number),
                toml::Value::Boolean(value) => KeyValue::Bool(value),
                other => {
                    self.report(
                        span,
                        format!("[keys.{name}] lists {other}"),
                        "key values are text, whole numbers or booleans",
                    );
                    return None;
                }
            };
            if let Err(error) = value.check() {
                self.report(span, format!("a value of [keys.{name}] {error}"), error.hint());
                return None;
            }
            found.push(value);
        }
        Some(found)
    }

    /// The SQL's span without what ends it; one statement, and one that reads.
    fn sql(&mut self, sql: Range<usize>) -> Option<Range<usize>> {
        let text = &self.reader.source[sql.clone()];
        let tokens: Vec<_> = tokens::tokens(text).into_iter().filter(|token| !token.is_comment()).collect();
        let at = |span: Range<usize>| sql.start + span.start..sql.start + span.end;
        let mut fail = |span, message: &str, hint: &str| {
            let finding = self.reader.error(span, message).hint(hint);
            self.findings.push(finding);
            None
        };
        let Some(first) = tokens.iter().find(|token| !token.is_symbol(text, "(")) else {
            return fail(
                sql,
                "there is no SQL behind the front matter",
                "write the SELECT that yields the rows of every key",
            );
        };
        if !["select", "with", "values", "table"].iter().any(|word| first.is_word(text, word)) {
            return fail(
                at(first.span.clone()),
                "the statement isn't a query",
                "a template is one SELECT (or WITH … SELECT)",
            );
        }
        let end = tokens.iter().rposition(|token| !token.is_symbol(text, ";")).map_or(0, |last| last + 1);
        if let Some(semicolon) = tokens[..end].iter().find(|token| token.is_symbol(text, ";")) {
            return fail(
                at(semicolon.span.clone()),
                "the file holds more than one statement",
                "a template is one statement; put the others into templates of their own",
            );
        }
        // Comments behind the last token stay: they may be a marker.
        let last = tokens.get(end).map_or(text.len(), |semicolon| semicolon.span.start);
        Some(sql.start..sql.start + text[..last].trim_end().len())
    }

    fn markers(&mut self, sql: &Range<usize>, columns: &[String]) -> Vec<Marker> {
        let text = &self.reader.source[sql.clone()];
        let mut markers = Vec::new();
        for token in tokens::tokens(text).iter().filter(|token| token.kind == Kind::BlockComment) {
            let span = sql.start + token.span.start..sql.start + token.span.end;
            let Some(inside) = token.text(text).strip_prefix("/*:keys") else { continue };
            let mut filters = Vec::new();
            for part in split_at_commas(inside.trim_end_matches("*/")) {
                let (column, expression) =
                    part.split_once('=').map_or((part, ""), |(column, expression)| (column.trim(), expression.trim()));
                match columns.iter().position(|known| known == column.trim()) {
                    Some(column) if !expression.is_empty() => filters.push((column, expression.to_owned())),
                    Some(_) => self.findings.push(
                        self.reader
                            .error(span.clone(), format!("the marker says nothing to compare `{column}` with"))
                            .hint("write /*:keys region=c.name */"),
                    ),
                    None => self.findings.push(
                        self.reader
                            .error(
                                span.clone(),
                                format!("the marker names `{}`, which isn't a key column", column.trim()),
                            )
                            .hint(format!("key columns are {}", columns.join(", "))),
                    ),
                }
            }
            markers.push(Marker { span, filters });
        }
        markers
    }
}

/// The names in braces of a text.
pub fn placeholders(text: &str) -> impl Iterator<Item = &str> {
    text.split('{').skip(1).filter_map(|rest| rest.split_once('}').map(|(name, _)| name))
}

/// Splits at the commas that stand outside parentheses and strings.
fn split_at_commas(text: &str) -> Vec<&str> {
    let mut parts = Vec::new();
    let (mut depth, mut start) = (0_usize, 0);
    for token in tokens::tokens(text) {
        match token.text(text) {
            "(" => depth += 1,
            ")" => depth = depth.saturating_sub(1),
            "," if depth == 0 => {
                parts.push(&text[start..token.span.start]);
                start = token.span.end;
            }
            _ => {}
        }
    }
    parts.push(&text[start..]);
    parts
}
