//! The values of the front matter, each with its span, gathered into what a [`Template`] holds.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use toml::Spanned;

use super::guard::GuardSpec;
use super::limits::LimitsSpec;
use super::refresh::RefreshSpec;
use super::{Reader, sql};
use crate::diagnostic::{Diagnostic, did_you_mean};
use crate::key::{KeyValue, PathPattern};
use crate::template::{ColumnRule, DomainSource, DomainValues, HeaderPolicy, OnMiss, PageUrl, Shape, Template};

const DEFAULT_MAX_KEYS: usize = 200_000;
const DEFAULT_MAX_AGE: Duration = Duration::from_mins(1);
const DEFAULT_EDGE_TTL: Duration = Duration::from_hours(24);
const DEFAULT_STALE_WHILE_REVALIDATE: Duration = Duration::from_hours(1);
const DEFAULT_STALE_IF_ERROR: Duration = Duration::from_hours(168);

/// The front matter as TOML gives it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FrontMatter {
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
    refresh: Option<Spanned<RefreshSpec>>,
    #[serde(default)]
    guard: GuardSpec,
    #[serde(default)]
    limits: LimitsSpec,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct KeySpec {
    values: Option<Vec<Spanned<toml::Value>>>,
    sql: Option<Spanned<String>>,
    publish: Option<Spanned<usize>>,
}

/// Turns spanned values of the front matter into a template, gathering every finding on the way.
pub struct Located<'a> {
    pub reader: Reader<'a>,
    pub offset: usize,
    pub findings: Vec<Diagnostic>,
}

impl Located<'_> {
    /// Where a span of the front matter lies in the file.
    pub fn span(&self, span: Range<usize>) -> Range<usize> {
        self.offset + span.start..self.offset + span.end
    }

    /// Notes what is wrong at a span of the front matter.
    pub fn report(&mut self, span: Range<usize>, message: impl Into<String>, hint: impl Into<String>) {
        let finding = self.reader.error(self.span(span), message).hint(hint);
        self.findings.push(finding);
    }

    /// The template, unless something is wrong that leaves nothing to go on with.
    pub fn template(&mut self, name: String, matter: FrontMatter, sql: Range<usize>) -> Option<Template> {
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
        let guards = self.guards(matter.guard);
        let limits = self.limits(matter.limits);
        let domains =
            matter.keys.into_iter().filter_map(|(column, spec)| self.domain(&column, spec, &columns)).collect();
        let refresh = matter.refresh.and_then(|spec| self.refresh(spec));
        let sql = sql::span(&self.reader, sql).map_err(|finding| self.findings.push(finding)).ok()?;
        let markers = sql::markers(&self.reader, &sql, &columns, &mut self.findings);
        Some(Template {
            name,
            shape: matter.shape,
            rules,
            policy,
            page_url,
            on_miss: matter.on_miss,
            domains,
            refresh,
            max_keys: matter.max_keys.unwrap_or(DEFAULT_MAX_KEYS),
            guards,
            limits,
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

    /// A duration as it was written; what isn't one is reported, and the default taken.
    pub fn duration(&mut self, text: Option<&Spanned<String>>, default: Duration) -> Duration {
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
            (None, Some(sql)) if sql.get_ref().contains('\0') => {
                self.report(sql.span(), format!("the query of [keys.{name}] holds a NUL byte"), "remove it");
                return None;
            }
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
                toml::Value::String(text) => KeyValue::Text(text.into()),
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
}

/// The names in braces of a text.
pub fn placeholders(text: &str) -> impl Iterator<Item = &str> {
    text.split('{').skip(1).filter_map(|rest| rest.split_once('}').map(|(name, _)| name))
}
