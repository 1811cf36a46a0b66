//! The outline of a SQL text: its queries, select lists and ORDER BY, told from the parentheses and a few keywords.
//!
//! Nothing here parses SQL. A text that it misreads costs a lint, never a wrong statement.

use std::ops::Range;

use crate::template::tokens::{self, Kind, Token};
use crate::template::{DomainSource, Refresh, Template};

/// Words that end a select list or a clause behind it.
pub const CLAUSES: [&str; 13] = [
    "from",
    "where",
    "group",
    "having",
    "window",
    "union",
    "intersect",
    "except",
    "order",
    "limit",
    "offset",
    "fetch",
    "for",
];
/// Words that end an expression and so can't be an alias behind one.
const NOT_ALIASES: [&str; 8] = ["end", "null", "true", "false", "current_date", "current_timestamp", "last", "first"];

/// A SQL text as tokens without comments, each with its depth in parentheses.
pub struct Outline<'a> {
    /// The template that it belongs to.
    pub template: &'a Template,
    /// The domain whose query it is; `None` for the template's own SQL.
    pub domain: Option<&'a DomainSource>,
    text: &'a str,
    tokens: Vec<Token>,
    depths: Vec<usize>,
    place: Place,
}

/// Where the text stands in the file.
enum Place {
    /// As it is, from this byte on.
    From(usize),
    /// Somewhere in these bytes, written with TOML's escapes.
    Within(Range<usize>),
}

impl Place {
    /// Where a text stands behind the beginning of a span of the front matter, if it stands there letter by letter.
    fn in_front_matter(template: &Template, span: &Range<usize>, sql: &str) -> Place {
        let front = &template.source()[..template.sql.start];
        let from = span.start.min(front.len());
        let found = front.get(from..).and_then(|rest| rest.find(sql)).map(|at| from + at);
        found.map_or_else(|| Place::Within(span.clone()), Place::From)
    }
}

/// One SELECT with all that belongs to it.
#[derive(Debug, Clone)]
pub struct Query {
    /// All of its tokens, a WITH included.
    pub whole: Range<usize>,
    /// Its tokens from its own SELECT on.
    pub body: Range<usize>,
    /// How deep in parentheses it stands.
    pub depth: usize,
}

/// One entry of a select list.
#[derive(Debug, Clone)]
pub struct Item {
    /// The tokens of its expression, without the alias.
    pub expression: Range<usize>,
    /// The result column's name, if the text says one.
    pub name: Option<String>,
}

/// One expression of an ORDER BY.
#[derive(Debug, Clone)]
pub struct OrderItem {
    /// All of its tokens.
    pub whole: Range<usize>,
    /// Its tokens without COLLATE, direction and NULLS.
    pub expression: Range<usize>,
    /// The entry of the select list that it names by alias or number.
    pub item: Option<usize>,
    /// True for DESC.
    pub descending: bool,
    /// True if NULLS FIRST or NULLS LAST is said.
    pub says_nulls: bool,
    /// True if a collation is said.
    pub says_collation: bool,
}

impl<'a> Outline<'a> {
    /// The outline of the template's own SQL.
    pub fn of_template(template: &'a Template) -> Outline<'a> {
        Outline::new(template, None, template.sql_text(), Place::From(template.sql.start))
    }

    /// The outline of a domain's query.
    pub fn of_domain(template: &'a Template, domain: &'a DomainSource, sql: &'a str) -> Outline<'a> {
        Outline::new(template, Some(domain), sql, Place::in_front_matter(template, &domain.span, sql))
    }

    /// The outline of the refresh query, for the few lints that it has in common with the others.
    pub fn of_refresh(template: &'a Template, refresh: &'a Refresh) -> Outline<'a> {
        let place = Place::in_front_matter(template, &refresh.span, &refresh.sql);
        Outline::new(template, None, &refresh.sql, place)
    }

    fn new(template: &'a Template, domain: Option<&'a DomainSource>, text: &'a str, place: Place) -> Outline<'a> {
        let tokens: Vec<Token> = tokens::tokens(text).into_iter().filter(|token| !token.is_comment()).collect();
        let mut depth = 0_usize;
        let mut depths = Vec::with_capacity(tokens.len());
        for token in &tokens {
            if token.is_symbol(text, ")") {
                depth = depth.saturating_sub(1);
            }
            depths.push(depth);
            if token.is_symbol(text, "(") {
                depth += 1;
            }
        }
        Outline { template, domain, text, tokens, depths, place }
    }

    /// How many tokens there are.
    pub fn len(&self) -> usize {
        self.tokens.len()
    }

    /// The kind of a token; a place outside the text holds a symbol.
    pub fn kind(&self, at: usize) -> Kind {
        self.tokens.get(at).map_or(Kind::Symbol, |token| token.kind)
    }

    /// The text of a token; nothing outside the text.
    pub fn text(&self, at: usize) -> &'a str {
        self.tokens.get(at).map_or("", |token| token.text(self.text))
    }

    /// How deep in parentheses a token stands.
    pub fn depth(&self, at: usize) -> usize {
        self.depths.get(at).copied().unwrap_or_default()
    }

    /// True if the token is this keyword.
    pub fn is_word(&self, at: usize, word: &str) -> bool {
        self.tokens.get(at).is_some_and(|token| token.is_word(self.text, word))
    }

    /// True if the token is one of these keywords.
    pub fn is_one_of(&self, at: usize, words: &[&str]) -> bool {
        words.iter().any(|word| self.is_word(at, word))
    }

    /// True if the token is this symbol.
    pub fn is_symbol(&self, at: usize, symbol: &str) -> bool {
        self.tokens.get(at).is_some_and(|token| token.is_symbol(self.text, symbol))
    }

    /// True if no white space stands between a token and the one before it.
    pub fn touches(&self, at: usize) -> bool {
        at > 0 && at < self.len() && self.tokens[at - 1].span.end == self.tokens[at].span.start
    }

    /// True for a bare or quoted name, which may be a keyword too.
    pub fn is_name(&self, at: usize) -> bool {
        matches!(self.kind(at), Kind::Word | Kind::QuotedName) && at < self.len()
    }

    /// A name without its quotes.
    pub fn name(&self, at: usize) -> String {
        let text = self.text(at);
        match text.strip_prefix('"') {
            Some(quoted) => quoted.strip_suffix('"').unwrap_or(quoted).replace("\"\"", "\""),
            None => text.to_owned(),
        }
    }

    /// The bytes of the file that tokens stand in.
    pub fn span(&self, range: Range<usize>) -> Range<usize> {
        let Place::From(offset) = self.place else {
            let Place::Within(span) = &self.place else { return 0..0 };
            return span.clone();
        };
        let start = self.tokens.get(range.start).map_or(self.text.len(), |token| token.span.start);
        let last = range.end.max(range.start + 1).min(self.len());
        let end = self.tokens[..last].last().map_or(start, |token| token.span.end).max(start);
        offset + start..offset + end
    }

    /// The tokens as one text in lower case, for comparing and for messages.
    pub fn plain(&self, range: Range<usize>) -> String {
        let mut plain = String::new();
        for at in range.start..range.end.min(self.len()) {
            if at > range.start && !self.touches(at) {
                plain.push(' ');
            }
            match self.kind(at) {
                Kind::Word => plain.push_str(&self.text(at).to_ascii_lowercase()),
                _ => plain.push_str(self.text(at)),
            }
        }
        plain
    }

    /// The tokens between a parenthesis and the one that closes it.
    pub fn inside(&self, open: usize) -> Range<usize> {
        let depth = self.depth(open);
        let close = (open + 1..self.len()).find(|at| self.depth(*at) == depth && self.is_symbol(*at, ")"));
        open + 1..close.unwrap_or(self.len()).max(open + 1)
    }

    /// Splits tokens at the commas of one depth.
    pub fn split(&self, range: Range<usize>, depth: usize) -> Vec<Range<usize>> {
        let mut parts = Vec::new();
        let mut start = range.start;
        for at in range.clone() {
            if self.depth(at) == depth && self.is_symbol(at, ",") {
                parts.push(start..at);
                start = at + 1;
            }
        }
        if start < range.end {
            parts.push(start..range.end);
        }
        parts
    }

    /// The outermost query; parentheses around all of it are left out.
    pub fn outermost(&self) -> Query {
        let mut whole = 0..self.len();
        let mut depth = 0;
        while whole.start < whole.end
            && self.is_symbol(whole.start, "(")
            && self.inside(whole.start).end + 1 == whole.end
        {
            whole = whole.start + 1..whole.end - 1;
            depth += 1;
        }
        self.query(whole, depth)
    }

    /// Every query of the text: the outermost one first, then those in parentheses.
    pub fn queries(&self) -> Vec<Query> {
        let mut queries = vec![self.outermost()];
        for open in 0..self.len() {
            let inside = self.inside(open);
            if self.is_symbol(open, "(") && self.is_one_of(open + 1, &["select", "with"]) && inside != queries[0].whole
            {
                queries.push(self.query(inside, self.depth(open) + 1));
            }
        }
        queries
    }

    fn query(&self, whole: Range<usize>, depth: usize) -> Query {
        let start = whole
            .clone()
            .find(|at| self.depth(*at) == depth && self.is_one_of(*at, &["select", "values", "table"]))
            .unwrap_or(whole.start);
        Query { body: start..whole.end, whole, depth }
    }

    /// The place behind the last of these adjoining keywords, at the query's own depth: `&["group", "by"]`.
    pub fn behind(&self, query: &Query, words: &[&str]) -> Option<usize> {
        let fits = |at: &usize| {
            self.depth(*at) == query.depth && words.iter().enumerate().all(|(n, word)| self.is_word(at + n, word))
        };
        query.body.clone().rev().find(fits).map(|at| at + words.len())
    }

    /// The tokens from a place up to the query's next clause.
    pub fn clause(&self, query: &Query, from: usize) -> Range<usize> {
        let ends = |at: &usize| {
            self.depth(*at) == query.depth
                && self.is_one_of(*at, &CLAUSES)
                // `a IS DISTINCT FROM b` begins no clause.
                && !(*at > 0 && self.is_word(at - 1, "distinct"))
        };
        let end = (from..query.body.end).find(ends).unwrap_or(query.body.end);
        from..end.max(from)
    }

    /// The entries of a query's select list; none for VALUES.
    pub fn items(&self, query: &Query) -> Vec<Item> {
        if !self.is_word(query.body.start, "select") {
            return Vec::new();
        }
        let mut start = query.body.start + 1;
        if self.is_one_of(start, &["distinct", "all"]) {
            start += 1;
            if self.is_word(start, "on") && self.is_symbol(start + 1, "(") {
                start = self.inside(start + 1).end + 1;
            }
        }
        let list = self.clause(query, start);
        self.split(list, query.depth).into_iter().map(|entry| self.item(entry, query.depth)).collect()
    }

    fn item(&self, entry: Range<usize>, depth: usize) -> Item {
        let alias = entry.clone().rev().find(|at| self.depth(*at) == depth && self.is_word(*at, "as"));
        if let Some(alias) = alias {
            return Item { expression: entry.start..alias, name: Some(self.name(alias + 1)) };
        }
        let Some(last) = entry.end.checked_sub(1).filter(|last| *last >= entry.start && self.is_name(*last)) else {
            return Item { expression: entry, name: None };
        };
        let name = Some(self.name(last));
        if last == entry.start || self.is_symbol(last - 1, ".") {
            return Item { expression: entry, name };
        }
        let ends_expression = !matches!(self.kind(last - 1), Kind::Symbol) || self.is_symbol(last - 1, ")");
        if ends_expression && !self.is_one_of(last, &NOT_ALIASES) {
            return Item { expression: entry.start..last, name };
        }
        Item { expression: entry, name: None }
    }

    /// The expressions of a query's own ORDER BY.
    pub fn order(&self, query: &Query, items: &[Item]) -> Option<Vec<OrderItem>> {
        let range = self.clause(query, self.behind(query, &["order", "by"])?);
        Some(self.split(range, query.depth).into_iter().map(|whole| self.order_item(whole, query, items)).collect())
    }

    fn order_item(&self, whole: Range<usize>, query: &Query, items: &[Item]) -> OrderItem {
        let find = |word: &str| whole.clone().find(|at| self.depth(*at) == query.depth && self.is_word(*at, word));
        let modifiers = [find("collate"), find("asc"), find("desc"), find("nulls"), find("using")];
        let end = modifiers.iter().flatten().min().copied().unwrap_or(whole.end).max(whole.start);
        let expression = whole.start..end;
        let item = match expression.len() {
            1 if self.kind(expression.start) == Kind::Number => self
                .text(expression.start)
                .parse::<usize>()
                .ok()
                .and_then(|number| number.checked_sub(1))
                .filter(|at| *at < items.len()),
            1 if self.is_name(expression.start) => {
                let named = self.name(expression.start);
                items.iter().position(|item| item.name.as_ref().is_some_and(|name| name.eq_ignore_ascii_case(&named)))
            }
            _ => {
                let plain = self.plain(expression.clone());
                items.iter().position(|item| self.plain(item.expression.clone()) == plain)
            }
        };
        OrderItem {
            expression,
            item,
            descending: modifiers[2].is_some(),
            says_nulls: modifiers[3].is_some(),
            says_collation: modifiers[0].is_some(),
            whole,
        }
    }

    /// True if the expression is one column, with or without the table's name before it; says the column.
    pub fn plain_column(&self, expression: Range<usize>) -> Option<String> {
        let mut at = expression.start;
        if !self.is_name(at) || at >= expression.end {
            return None;
        }
        while self.is_symbol(at + 1, ".") && self.is_name(at + 2) {
            at += 2;
        }
        // A cast keeps rows as many and as different as they are.
        let is_cast = self.is_symbol(at + 1, ":") && self.is_symbol(at + 2, ":");
        (at + 1 == expression.end || (is_cast && at + 1 < expression.end)).then(|| self.name(at))
    }

    /// The calls of functions in a range of tokens: the place of each name.
    pub fn calls(&self, range: Range<usize>) -> impl Iterator<Item = usize> + '_ {
        range.filter(|at| self.is_name(*at) && self.is_symbol(at + 1, "("))
    }
}
