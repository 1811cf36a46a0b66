//! `[guard]` of the front matter: levels, the largest document, and asserts.

use serde::Deserialize;
use toml::Spanned;

use super::front_matter::Located;
use crate::template::guard::{Assert, EVERY, Guard, GuardSettings, Guards, Level, size_bytes};

/// Characters of the longest name of an assert: it stands in a table and on the command line.
const MAX_NAME: usize = 80;

type Text = Option<Spanned<String>>;

/// `[guard]` as TOML gives it.
#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
pub struct GuardSpec {
    rows_drop: Text,
    keys_drop: Text,
    empty: Text,
    changed: Text,
    size_drop: Text,
    size_growth: Text,
    columns: Text,
    path: Text,
    source_age: Text,
    max_delete: Text,
    source_age_sql: Text,
    max_size: Text,
    #[serde(default)]
    assert: Vec<Spanned<AssertSpec>>,
}

/// `[[guard.assert]]` as TOML gives it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AssertSpec {
    name: Spanned<String>,
    sql: Spanned<String>,
    level: Text,
}

impl GuardSpec {
    fn levels(&self) -> [(Guard, &Text); Guard::ALL.len()] {
        [
            (Guard::RowsDrop, &self.rows_drop),
            (Guard::KeysDrop, &self.keys_drop),
            (Guard::Empty, &self.empty),
            (Guard::Changed, &self.changed),
            (Guard::SizeDrop, &self.size_drop),
            (Guard::SizeGrowth, &self.size_growth),
            (Guard::Columns, &self.columns),
            (Guard::Path, &self.path),
            (Guard::SourceAge, &self.source_age),
            (Guard::MaxDelete, &self.max_delete),
        ]
    }
}

impl Located<'_> {
    /// The guards that a template's own file sets.
    pub fn guards(&mut self, spec: GuardSpec) -> Guards {
        let mut own = GuardSettings::default();
        for (guard, text) in spec.levels() {
            let Some(text) = text else { continue };
            match guard.parse(text.get_ref()) {
                Ok(levels) => drop(own.levels.insert(guard, levels)),
                Err((reason, hint)) => self.report(text.span(), reason, hint),
            }
        }
        own.max_size_bytes = spec.max_size.as_ref().and_then(|size| self.size(size));
        own.source_age_sql = spec.source_age_sql.as_ref().and_then(|sql| self.query(sql, "source_age_sql"));
        let mut asserts: Vec<Assert> = Vec::new();
        for spec in spec.assert {
            asserts.extend(self.assert(spec, &asserts));
        }
        Guards { own, asserts, ..Guards::default() }
    }

    fn assert(&mut self, spec: Spanned<AssertSpec>, others: &[Assert]) -> Option<Assert> {
        let span = self.span(spec.span());
        let AssertSpec { name, sql, level } = spec.into_inner();
        let text = name.get_ref().trim().to_owned();
        let is_taken = text == EVERY
            || Guard::ALL.iter().any(|guard| guard.name() == text)
            || others.iter().any(|other| other.name == text);
        if is_taken {
            self.report(
                name.span(),
                format!("the name `{text}` of an assert is taken"),
                "--accept-guard must tell guards and asserts apart: give it a name of its own",
            );
        } else if text.is_empty() || text.contains(char::is_control) || text.chars().count() > MAX_NAME {
            let message = format!("the name of an assert isn't one line of 1 to {MAX_NAME} characters");
            self.report(name.span(), message, "say in a few words what must hold: name = \"no nameless city\"");
        }
        let level = match level.as_ref().map(|level| level.get_ref().as_str()) {
            None | Some("error") => Level::Error,
            Some("warn") => Level::Warn,
            Some(other) => {
                let message = format!("`{other}` isn't a level of an assert");
                let span = level.as_ref().map_or(0..0, Spanned::span);
                self.report(span, message, "write level = \"error\", which is the default, or \"warn\"");
                Level::Error
            }
        };
        let sql = self.query(&sql, &format!("the assert `{text}`"))?;
        Some(Assert { name: text, sql, level, span })
    }

    fn query(&mut self, sql: &Spanned<String>, of: &str) -> Option<String> {
        let text = sql.get_ref().trim().trim_end_matches(';').trim_end();
        if text.is_empty() || text.contains('\0') {
            let wrong = if text.is_empty() { "is empty" } else { "holds a NUL byte" };
            self.report(sql.span(), format!("the query of {of} {wrong}"), "write sql = \"SELECT …\"");
            return None;
        }
        Some(text.to_owned())
    }

    fn size(&mut self, text: &Spanned<String>) -> Option<u64> {
        size_bytes(text.get_ref()).map_err(|(reason, hint)| self.report(text.span(), reason, hint)).ok()
    }
}
