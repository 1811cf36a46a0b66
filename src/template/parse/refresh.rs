//! `[refresh]` in the front matter: the query, and how long its answer may stand in for a whole read.

use std::ops::RangeInclusive;
use std::time::Duration;

use serde::Deserialize;
use toml::Spanned;

use super::front_matter::Located;
use crate::template::{Refresh, tokens};

const DEFAULT_AT_LEAST: Duration = Duration::from_hours(24);
/// Below a minute every run would read; beyond thirty days nobody remembers that changes can be missed for so long.
const AT_LEAST: RangeInclusive<Duration> = Duration::from_mins(1)..=Duration::from_hours(30 * 24);

/// The table as TOML gives it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RefreshSpec {
    sql: Option<Spanned<String>>,
    at_least: Option<Spanned<String>>,
}

impl Located<'_> {
    /// The refresh query, unless something is wrong with it.
    pub fn refresh(&mut self, spec: Spanned<RefreshSpec>) -> Option<Refresh> {
        let table = spec.span();
        let RefreshSpec { sql, at_least } = spec.into_inner();
        let length = self.duration(at_least.as_ref(), DEFAULT_AT_LEAST);
        if let (Some(at_least), false) = (&at_least, AT_LEAST.contains(&length)) {
            self.report(
                at_least.span(),
                format!("`{}` is outside of what at_least may be, from 1m to 30d", at_least.get_ref()),
                "after this time the template is read although the answer is the same; the default is \"1d\"",
            );
        }
        let Some(sql) = sql else {
            self.report(
                table,
                "[refresh] has no `sql`",
                "write a query whose answer changes with the data: sql = \"SELECT count(*), max(updated_at) FROM …\"",
            );
            return None;
        };
        match one_query(sql.get_ref()) {
            Ok(text) => Some(Refresh { sql: text.to_owned(), at_least: length, span: self.span(sql.span()) }),
            Err(message) => {
                self.report(
                    sql.span(),
                    format!("the `sql` of [refresh] {message}"),
                    "write one SELECT, for example SELECT count(*), max(updated_at) FROM …",
                );
                None
            }
        }
    }
}

/// The text of one query without what ends it; or what is wrong with it.
fn one_query(text: &str) -> Result<&str, &'static str> {
    if text.contains('\0') {
        return Err("holds a NUL byte");
    }
    let tokens: Vec<_> = tokens::tokens(text).into_iter().filter(|token| !token.is_comment()).collect();
    let first = tokens.iter().find(|token| !token.is_symbol(text, "("));
    if !first.is_some_and(|first| ["select", "with", "values", "table"].iter().any(|word| first.is_word(text, word))) {
        return Err("isn't a query");
    }
    let end = tokens.iter().rposition(|token| !token.is_symbol(text, ";")).map_or(0, |last| last + 1);
    if tokens[..end].iter().any(|token| token.is_symbol(text, ";")) {
        return Err("holds more than one statement");
    }
    Ok(tokens.get(end).map_or(text, |semicolon| &text[..semicolon.span.start]).trim_end())
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::template::Template;
    use crate::template::parse::parse;

    fn with(refresh: &str) -> Result<Template, Vec<String>> {
        let text = format!("/*---\npath = \"m/{{k}}.json\"\n{refresh}\n---*/\nSELECT k, v FROM t ORDER BY k\n");
        let shown = |finding: &crate::diagnostic::Diagnostic| {
            format!("{finding} ({})", finding.hint.as_deref().unwrap_or_default())
        };
        parse(Path::new("m.sql"), &text.as_str().into()).map_err(|findings| findings.iter().map(shown).collect())
    }

    fn read(refresh: &str) -> Refresh {
        with(refresh).unwrap().refresh.unwrap()
    }

    #[track_caller]
    fn refused(refresh: &str, says: &[&str]) {
        let findings = with(refresh).unwrap_err();
        assert_eq!(findings.len(), 1, "{findings:?}");
        for text in says {
            assert!(findings[0].contains(text), "{text}: {findings:?}");
        }
    }

    #[test]
    fn a_query_and_how_long_its_answer_counts() {
        assert!(with("").unwrap().refresh.is_none());
        let refresh = read("[refresh]\nsql = \"SELECT count(*) FROM t\"");
        assert_eq!((refresh.sql.as_str(), refresh.at_least), ("SELECT count(*) FROM t", Duration::from_hours(24)));
        for (text, length) in [("1m", 60), ("6h", 6 * 3600), ("30d", 30 * 86400)] {
            let refresh = read(&format!("[refresh]\nsql = \"SELECT 1\"\nat_least = \"{text}\""));
            assert_eq!(refresh.at_least, Duration::from_secs(length), "{text}");
        }
        assert_eq!(
            read("[refresh]\nsql = \"WITH a AS (SELECT 1) SELECT * FROM a ; ; -- x\"").sql,
            "WITH a AS (SELECT 1) SELECT * FROM a"
        );
        assert_eq!(read("[refresh]\nsql = \"(SELECT 1) -- all\"").sql, "(SELECT 1) -- all");
    }

    #[test]
    fn what_is_wrong_is_told_with_its_line() {
        refused("[refresh]\nat_least = \"1h\"", &["m.sql:3:", "has no `sql`", "max(updated_at)"]);
        refused("[refresh]\nsql = \"DELETE FROM t\"", &["m.sql:4:", "isn't a query"]);
        refused("[refresh]\nsql = \"\"", &["m.sql:4:", "isn't a query"]);
        refused("[refresh]\nsql = \"SELECT 1; SELECT 2\"", &["m.sql:4:", "more than one statement"]);
        refused("[refresh]\nsql = \"SELECT '\\u0000'\"", &["m.sql:4:", "NUL"]);
        refused("[refresh]\nsql = \"SELECT 1\"\nat_least = \"59s\"", &["m.sql:5:", "59s", "1m to 30d"]);
        refused("[refresh]\nsql = \"SELECT 1\"\nat_least = \"31d\"", &["m.sql:5:", "31d"]);
        refused("[refresh]\nsql = \"SELECT 1\"\nat_least = \"daily\"", &["m.sql:5:", "isn't a duration"]);
        refused("[refresh]\nsql = \"SELECT 1\"\nat_leest = \"1d\"", &["m.sql:5:", "did you mean `at_least`"]);
    }
}
