//! What a query reads: the names of its WITH, and the tables of its FROM.

use std::ops::Range;

use super::outline::{CLAUSES, Outline, Query};

/// Words behind a table that aren't its alias.
const JOINS: [&str; 10] = ["on", "using", "join", "left", "right", "full", "inner", "cross", "natural", "outer"];

/// A name in WITH and its query.
#[derive(Debug, Clone)]
pub struct Cte {
    /// The token of its name.
    pub name_at: usize,
    /// Its name.
    pub name: String,
    /// The tokens between its parentheses.
    pub inside: Range<usize>,
    /// `Some(true)` for MATERIALIZED, `Some(false)` for NOT MATERIALIZED.
    pub materialized: Option<bool>,
}

/// A table, view or WITH name that a FROM or JOIN reads.
#[derive(Debug, Clone)]
pub struct Source {
    /// The token of its name; of the opening parenthesis for a subquery.
    pub at: usize,
    /// Its name; `None` for a subquery.
    pub name: Option<String>,
    /// What the query calls it.
    pub alias: Option<String>,
    /// The word of the join before it: `from`, `left`, `right`, `full`, `join`.
    pub join: &'static str,
}

impl Outline<'_> {
    /// The names that a query's WITH defines.
    pub fn ctes(&self, query: &Query) -> Vec<Cte> {
        let mut ctes = Vec::new();
        for at in query.whole.start..query.body.start {
            if self.depth(at) != query.depth || !self.is_word(at, "as") {
                continue;
            }
            let negated = self.is_word(at + 1, "not");
            let says = self.is_word(at + 1 + usize::from(negated), "materialized");
            let open = at + 1 + usize::from(negated) + usize::from(says);
            // The columns may be listed between the name and AS.
            let name_at = match at.checked_sub(1) {
                Some(close) if self.is_symbol(close, ")") => (query.whole.start..close)
                    .rev()
                    .find(|open| self.depth(*open) == query.depth && self.is_symbol(*open, "("))
                    .and_then(|open| open.checked_sub(1)),
                other => other,
            };
            let Some(name_at) = name_at.filter(|name| self.is_name(*name) && self.is_symbol(open, "(")) else {
                continue;
            };
            ctes.push(Cte {
                name_at,
                name: self.name(name_at),
                inside: self.inside(open),
                materialized: says.then_some(!negated),
            });
        }
        ctes
    }

    /// What the FROM of one query reads; with `None`, what any FROM of the text reads.
    pub fn sources(&self, query: Option<&Query>) -> Vec<Source> {
        let range = query.map_or(0..self.len(), |query| query.body.clone());
        let mut sources = Vec::new();
        for at in range {
            let here = query.is_none_or(|query| self.depth(at) == query.depth);
            let begins = self.is_one_of(at, &["from", "join"]) && !(at > 0 && self.is_word(at - 1, "distinct"));
            if here && begins {
                self.push_source(at + 1, self.join_before(at), &mut sources);
            }
        }
        sources
    }

    fn push_source(&self, at: usize, join: &'static str, sources: &mut Vec<Source>) {
        let mut at = at;
        while self.is_one_of(at, &["lateral", "only"]) {
            at += 1;
        }
        let start = at;
        let name = if self.is_symbol(at, "(") {
            at = self.inside(at).end + 1;
            None
        } else if self.is_name(at) {
            while self.is_symbol(at + 1, ".") && self.is_name(at + 2) {
                at += 2;
            }
            // `extract(year FROM day)` and `generate_series(…)` read no table.
            let is_call = self.is_symbol(at + 1, "(");
            at += 1;
            if is_call {
                return;
            }
            Some(self.name(at - 1))
        } else {
            return;
        };
        let behind = at + usize::from(self.is_word(at, "as"));
        let said = self.is_name(behind) && !self.is_one_of(behind, &CLAUSES) && !self.is_one_of(behind, &JOINS);
        let alias = if said { Some(self.name(behind)) } else { name.clone() };
        sources.push(Source { at: start, name, alias, join });
        let next = if said { behind + 1 } else { at };
        if self.is_symbol(next, ",") && self.depth(next) == self.depth(start) {
            self.push_source(next + 1, "join", sources);
        }
    }

    fn join_before(&self, at: usize) -> &'static str {
        if self.is_word(at, "from") {
            return "from";
        }
        let word = |back: usize| at.checked_sub(back);
        for (words, join) in [("left", "left"), ("right", "right"), ("full", "full")] {
            let direct = word(1).is_some_and(|before| self.is_word(before, words));
            let outer = word(1).is_some_and(|before| self.is_word(before, "outer"))
                && word(2).is_some_and(|before| self.is_word(before, words));
            if direct || outer {
                return join;
            }
        }
        "join"
    }
}
