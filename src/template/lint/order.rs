//! Is the order of the rows the same in every run, on both engines and under every collation?

use std::ops::Range;

use super::outline::{Item, OrderItem, Outline, Query};
use super::stability::{AGGREGATES, is_float_aggregate};
use crate::diagnostic::Diagnostic;
use crate::template::Shape;

/// Names of columns that tell rows apart.
const IDS: [&str; 22] = [
    "id", "key", "code", "uuid", "guid", "slug", "pmid", "pmcid", "doi", "orcid", "ror", "isbn", "issn", "oid",
    "rowid", "number", "nr", "no", "sku", "iata", "icao", "rn",
];
const ID_ENDS: [&str; 10] = ["_id", "_key", "_code", "_uuid", "_slug", "_no", "_nr", "_number", "_numeric", "_pmid"];
const ID_STARTS: [&str; 2] = ["id_", "iso_"];
/// Names of columns that hold text for people.
const TEXTS: [&str; 18] = [
    "name",
    "title",
    "label",
    "slug",
    "city",
    "country",
    "region",
    "state",
    "town",
    "institution",
    "author",
    "journal",
    "topic",
    "description",
    "email",
    "surname",
    "affiliation",
    "keyword",
];
const TEXT_ENDS: [&str; 5] = ["_name", "_title", "_label", "_slug", "_text"];
/// Functions whose answer is text.
const TEXT_FUNCTIONS: [&str; 9] =
    ["lower", "upper", "initcap", "trim", "concat", "substr", "substring", "replace", "format"];
/// Names of columns that many rows share a value of.
const MEASURES: [&str; 28] = [
    "year",
    "month",
    "day",
    "date",
    "level",
    "rank",
    "count",
    "n",
    "total",
    "score",
    "weight",
    "lat",
    "lon",
    "lng",
    "latitude",
    "longitude",
    "population",
    "value",
    "amount",
    "price",
    "share",
    "ratio",
    "percent",
    "papers",
    "scholars",
    "citations",
    "confidence",
    "size",
];
const MEASURE_ENDS: [&str; 8] = ["_at", "_count", "_total", "_year", "_date", "_score", "_level", "_rank"];

/// Lints the order of the template's rows, or of a domain's values.
pub fn lint(outline: &Outline, findings: &mut Vec<Diagnostic>) {
    let query = outline.outermost();
    let items = outline.items(&query);
    let is_document = outline.domain.is_none() && outline.template.shape == Shape::Json;
    // A document of shape "json" is one row, and an aggregate without GROUP BY returns one.
    if items.is_empty() || is_document || returns_one_row(outline, &query, &items) {
        return;
    }
    let list = Order { outline, query: &query, items: &items };
    let Some(order) = outline.order(&query, &items) else {
        findings.push(list.missing());
        return;
    };
    findings.extend(list.not_total(&order));
    if outline.domain.is_none() {
        findings.extend(order.iter().filter_map(|item| list.collation(item)));
    }
    findings.extend(order.iter().filter_map(|item| list.nulls(item)));
}

fn returns_one_row(outline: &Outline, query: &Query, items: &[Item]) -> bool {
    outline.behind(query, &["group", "by"]).is_none()
        && outline.behind(query, &["union"]).is_none()
        && items.iter().any(|item| {
            let name = outline.text(item.expression.start).to_ascii_lowercase();
            let is_aggregate = AGGREGATES.contains(&name.as_str()) || is_float_aggregate(&name);
            is_aggregate
                && outline.is_symbol(item.expression.start + 1, "(")
                && !item.expression.clone().any(|at| outline.is_word(at, "over"))
        })
}

struct Order<'a> {
    outline: &'a Outline<'a>,
    query: &'a Query,
    items: &'a [Item],
}

impl Order<'_> {
    fn missing(&self) -> Diagnostic {
        let (outline, template) = (self.outline, self.outline.template);
        let select = outline.span(self.query.body.start..self.query.body.start + 1);
        match outline.domain {
            Some(domain) if domain.publish.is_some() => template
                .warning(format!(
                    "the query of [keys.{0}] has no ORDER BY, so `publish` takes other values in every run",
                    domain.column
                ))
                .hint("order it by what makes a value worth pre-building, and end in an id: ORDER BY papers DESC, topic_id"),
            Some(domain) => template
                .warning(format!("the query of [keys.{}] has no ORDER BY, so its values change places from run to run", domain.column))
                .hint("add ORDER BY; pages show the values in this order"),
            None => template
                .warning("the query has no ORDER BY: the same data gives other bytes when the database reads it in another order")
                .hint(format!("end it with ORDER BY {}an id that tells the rows of one key apart", self.keys())),
        }
        .at(select)
    }

    /// The key columns, each followed by a comma.
    fn keys(&self) -> String {
        self.outline.template.columns().iter().map(|column| format!("{column}, ")).collect()
    }

    /// The expression behind an alias or number, or the one that is written.
    fn resolved(&self, order: &OrderItem) -> Range<usize> {
        order.item.map_or_else(|| order.expression.clone(), |item| self.items[item].expression.clone())
    }

    fn names(&self, order: &OrderItem) -> Vec<String> {
        let alias = order.item.and_then(|item| self.items[item].name.clone());
        let written = self.outline.plain_column(order.expression.clone());
        let column = self.outline.plain_column(self.resolved(order));
        alias.into_iter().chain(written).chain(column).collect()
    }

    fn is_key(&self, order: &OrderItem) -> bool {
        let alias = order.item.and_then(|item| self.items[item].name.clone());
        // With `*` in the select list a bare name is a column of it.
        let bare = (order.expression.len() == 1).then(|| self.outline.name(order.expression.start));
        let name = alias.or(bare);
        name.is_some_and(|name| self.outline.template.columns().iter().any(|key| key.eq_ignore_ascii_case(&name)))
    }

    fn not_total(&self, order: &[OrderItem]) -> Option<Diagnostic> {
        let last = order.last()?;
        if self.covers_groups(order) {
            return None;
        }
        let reason = self.may_tie(last)?;
        let outline = self.outline;
        let written = outline.plain(last.expression.clone());
        let finding = match outline.domain {
            // Only the hot set depends on who comes first among equals; pages may show the others either way.
            Some(domain) if domain.publish.is_none() => return None,
            Some(domain) => outline
                .template
                .warning(format!(
                    "the ORDER BY of [keys.{}] ends in `{written}`, {reason}: which of them are published is chance",
                    domain.column
                ))
                .hint("end it with a column that tells the values apart, such as an id"),
            None => outline
                .template
                .warning(format!(
                    "the ORDER BY ends in `{written}`, {reason}: their rows change places from run to run"
                ))
                .hint("end it with a column that tells the rows of one key apart, such as an id"),
        };
        Some(finding.at(outline.span(last.whole.clone())))
    }

    /// Why several rows of one key may be equal in the last expression, completing "ORDER BY ends in x, ".
    fn may_tie(&self, last: &OrderItem) -> Option<&'static str> {
        if self.is_key(last) {
            let only_keys = self.outline.domain.is_some() || self.items.len() <= self.outline.template.columns().len();
            return (!only_keys).then_some("which all rows of one key have in common");
        }
        let names = self.names(last);
        let resolved = self.resolved(last);
        if names.iter().any(|name| looks_like(name, &IDS, &ID_ENDS) || is_id_by_start(name)) {
            return None;
        }
        let Some(column) = self.outline.plain_column(resolved.clone()) else {
            let is_text =
                self.is_text_expression(resolved) || names.iter().any(|name| looks_like(name, &TEXTS, &TEXT_ENDS));
            return (!is_text).then_some("a computed value that several rows may share");
        };
        if looks_like(&column, &TEXTS, &TEXT_ENDS) {
            return None;
        }
        (last.descending || looks_like(&column, &MEASURES, &MEASURE_ENDS))
            .then_some("a value that several rows may share")
    }

    /// GROUP BY and DISTINCT return no two equal rows, so an order by all of their expressions is total.
    fn covers_groups(&self, order: &[OrderItem]) -> bool {
        let outline = self.outline;
        let ordered: Vec<String> = order.iter().map(|item| outline.plain(self.resolved(item))).collect();
        if outline.is_word(self.query.body.start + 1, "distinct") && !outline.is_word(self.query.body.start + 2, "on") {
            return self.items.iter().all(|item| ordered.contains(&outline.plain(item.expression.clone())));
        }
        let Some(behind) = outline.behind(self.query, &["group", "by"]) else { return false };
        let groups = outline.split(outline.clause(self.query, behind), self.query.depth);
        let expression = |group: &Range<usize>| -> String {
            let number = (group.len() == 1).then(|| outline.text(group.start).parse::<usize>().ok()).flatten();
            let named = number.and_then(|number| self.items.get(number.checked_sub(1)?)).or_else(|| {
                let name = (group.len() == 1).then(|| outline.name(group.start))?;
                self.items.iter().find(|item| item.name.as_ref().is_some_and(|known| known.eq_ignore_ascii_case(&name)))
            });
            outline.plain(named.map_or_else(|| group.clone(), |item| item.expression.clone()))
        };
        !groups.is_empty() && groups.iter().all(|group| ordered.contains(&expression(group)))
    }

    fn is_text_expression(&self, expression: Range<usize>) -> bool {
        let outline = self.outline;
        let first_is =
            |words: &[&str]| outline.is_one_of(expression.start, words) && outline.is_symbol(expression.start + 1, "(");
        let concatenates = expression.clone().any(|at| {
            outline.depth(at) == self.query.depth && outline.is_symbol(at, "|") && outline.is_symbol(at + 1, "|")
        });
        let end = expression.end.saturating_sub(1);
        let cast =
            expression.len() > 2 && outline.is_symbol(end - 1, ":") && outline.is_one_of(end, &["text", "varchar"]);
        first_is(&TEXT_FUNCTIONS) || concatenates || cast
    }

    fn collation(&self, order: &OrderItem) -> Option<Diagnostic> {
        let resolved = self.resolved(order);
        let is_text = match self.outline.plain_column(resolved.clone()) {
            Some(column) => looks_like(&column, &TEXTS, &TEXT_ENDS),
            None => self.is_text_expression(resolved),
        };
        if order.says_collation || !is_text || self.is_key(order) {
            return None;
        }
        let written = self.outline.plain(order.expression.clone());
        Some(
            self.outline
                .template
                .warning(format!(
                    "ORDER BY `{written}` looks like text, whose order depends on the database's collation"
                ))
                .at(self.outline.span(order.whole.clone()))
                .hint(format!(
                    "write {written} COLLATE \"C\", which orders by bytes on both engines, or order by an id"
                )),
        )
    }

    fn nulls(&self, order: &OrderItem) -> Option<Diagnostic> {
        if order.says_nulls || self.is_key(order) {
            return None;
        }
        let reason = self.may_be_null(self.resolved(order))?;
        let written = self.outline.plain(order.expression.clone());
        Some(
            self.outline
                .template
                .warning(format!("ORDER BY `{written}` {reason}, and the engines put NULL at different ends"))
                .at(self.outline.span(order.whole.clone()))
                .hint("say NULLS FIRST or NULLS LAST, or replace NULL: coalesce(…, 0)"),
        )
    }

    /// Why an expression may be NULL, as far as the text alone shows it.
    fn may_be_null(&self, expression: Range<usize>) -> Option<String> {
        let outline = self.outline;
        if outline.is_one_of(expression.start, &["coalesce", "ifnull", "count"]) {
            return None;
        }
        if outline.is_word(expression.start, "nullif") {
            return Some("may be NULL by nullif".to_owned());
        }
        if outline.is_word(expression.start, "case") && outline.is_word(expression.end.saturating_sub(1), "end") {
            let has_else = expression.clone().any(|at| outline.is_word(at, "else"));
            return (!has_else).then(|| "is a CASE without ELSE, so it may be NULL".to_owned());
        }
        outline.plain_column(expression.clone())?;
        if !outline.is_symbol(expression.start + 1, ".") {
            return None;
        }
        let table = outline.name(expression.start);
        let sources = outline.sources(Some(self.query));
        let (at, source) = sources
            .iter()
            .enumerate()
            .find(|(_, source)| source.alias.as_ref().is_some_and(|alias| alias.eq_ignore_ascii_case(&table)))?;
        let outer = matches!(source.join, "left" | "full")
            || sources[at + 1..].iter().any(|later| matches!(later.join, "right" | "full"));
        outer.then(|| format!("is NULL where the outer join finds no `{table}`"))
    }
}

fn is_id_by_start(name: &str) -> bool {
    let lower = name.to_ascii_lowercase();
    ID_STARTS.iter().any(|start| lower.starts_with(start)) || name.ends_with("Id") || name.ends_with("ID")
}

fn looks_like(name: &str, whole: &[&str], ends: &[&str]) -> bool {
    let name = name.to_ascii_lowercase();
    whole.contains(&name.as_str()) || ends.iter().any(|end| name.ends_with(end))
}
