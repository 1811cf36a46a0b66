//! Does the same data give the same bytes? Volatile functions, float aggregates and lists without an order don't.

use std::ops::Range;

use super::outline::{Item, Outline, Query};
use crate::diagnostic::Diagnostic;
use crate::template::tokens::Kind;
use crate::template::{ColumnRule, Shape};

/// Functions with another answer in every run.
pub const VOLATILE: [&str; 29] = [
    "random",
    "random_normal",
    "randomblob",
    "setseed",
    "gen_random_uuid",
    "gen_random_bytes",
    "uuidv4",
    "uuidv7",
    "uuid_generate_v1",
    "uuid_generate_v1mc",
    "uuid_generate_v4",
    "nextval",
    "currval",
    "lastval",
    "now",
    "clock_timestamp",
    "statement_timestamp",
    "transaction_timestamp",
    "timeofday",
    "txid_current",
    "txid_current_if_assigned",
    "pg_current_xact_id",
    "pg_backend_pid",
    "changes",
    "total_changes",
    "last_insert_rowid",
    "current_time",
    "current_timestamp",
    "localtimestamp",
];
/// The clock as a keyword.
const CLOCK_WORDS: [&str; 5] = ["current_timestamp", "current_date", "current_time", "localtimestamp", "localtime"];
/// SQLite's functions of time, which read the clock when they are told nothing or 'now'.
const TIME_FUNCTIONS: [&str; 7] = ["date", "time", "datetime", "julianday", "unixepoch", "strftime", "timediff"];
/// Texts that PostgreSQL reads as an instant of today.
const CLOCK_TEXTS: [&str; 4] = ["'now'", "'today'", "'tomorrow'", "'yesterday'"];
/// Aggregates that put values in a list.
const LISTS: [&str; 12] = [
    "array_agg",
    "string_agg",
    "json_agg",
    "jsonb_agg",
    "json_agg_strict",
    "jsonb_agg_strict",
    "group_concat",
    "json_group_array",
    "jsonb_group_array",
    "xmlagg",
    "json_arrayagg",
    "jsonb_path_query_array_agg",
];
/// Window functions whose answer depends on the order of the rows.
const NUMBERINGS: [&str; 4] = ["row_number", "ntile", "lag", "lead"];
/// Aggregates that return one row where there is no GROUP BY.
pub const AGGREGATES: [&str; 12] = [
    "count",
    "sum",
    "min",
    "max",
    "avg",
    "json_agg",
    "jsonb_agg",
    "json_object_agg",
    "jsonb_object_agg",
    "json_group_array",
    "json_group_object",
    "array_agg",
];
/// Aggregates that add floats up, so that the order of the rows shows in the last digits.
const FLOAT_AGGREGATES: [&str; 16] = [
    "avg",
    "stddev",
    "stddev_pop",
    "stddev_samp",
    "variance",
    "var_pop",
    "var_samp",
    "corr",
    "covar_pop",
    "covar_samp",
    "percentile_cont",
    "median",
    "total",
    "geomean",
    "kurtosis",
    "skewness",
];
/// Functions and casts that make their answer, and a sum of it, a float.
const FLOAT_MAKERS: [&str; 15] = [
    "float",
    "float4",
    "float8",
    "real",
    "double",
    "sqrt",
    "cbrt",
    "ln",
    "log",
    "exp",
    "power",
    "pow",
    "sin",
    "cos",
    "st_distance",
];
/// What makes a float a number with few digits.
const ROUNDINGS: [&str; 7] = ["round", "trunc", "floor", "ceil", "ceiling", "to_char", "printf"];
/// Types that a cast may name to the same end.
const EXACT_TYPES: [&str; 10] =
    ["int", "integer", "bigint", "smallint", "int2", "int4", "int8", "numeric", "decimal", "bool"];

/// True for an aggregate whose answer is a float, at least on one engine.
pub fn is_float_aggregate(name: &str) -> bool {
    FLOAT_AGGREGATES.contains(&name) || (name.starts_with("regr_") && name != "regr_count")
}

/// Lints everything in a text that differs from run to run.
pub fn lint(outline: &Outline, findings: &mut Vec<Diagnostic>) {
    volatile(outline, findings);
    samples(outline, findings);
    unordered(outline, findings);
    arbitrary_rows(outline, findings);
    if outline.domain.is_none() {
        floats(outline, findings);
    }
}

fn warn(outline: &Outline, span: Range<usize>, message: String, hint: &str) -> Diagnostic {
    outline.template.warning(message).at(outline.span(span)).hint(hint)
}

fn volatile(outline: &Outline, findings: &mut Vec<Diagnostic>) {
    for (at, shown) in volatile_words(outline) {
        findings.push(warn(
            outline,
            at..at + 1,
            format!("`{shown}` has another answer in every run, so the documents change without the data"),
            "use a column of the data instead, for example its latest date; tintype shows when a document was built in its headers",
        ));
    }
}

/// What has another answer in every run: the place of each such word, and how it is shown.
pub fn volatile_words(outline: &Outline) -> Vec<(usize, String)> {
    let mut words = Vec::new();
    for at in 0..outline.len() {
        // A column of that name isn't the function, `pg_catalog.now()` is.
        let is_call = outline.is_name(at) && outline.is_symbol(at + 1, "(");
        let is_member = at > 0 && outline.is_symbol(at - 1, ".");
        let is_alias = at > 0 && outline.is_word(at - 1, "as");
        let name = outline.text(at).to_ascii_lowercase();
        let reads_clock =
            (CLOCK_WORDS.contains(&name.as_str()) && !is_member && !is_alias && !outline.is_symbol(at + 1, "."))
                || (is_call && reads_clock(outline, at, &name))
                || (outline.kind(at) == Kind::Text && is_clock_text(outline, at, &name));
        let is_volatile = is_call && VOLATILE.contains(&name.as_str());
        if reads_clock || is_volatile {
            words.push((at, if is_call { format!("{name}()") } else { name }));
        }
    }
    words
}

fn reads_clock(outline: &Outline, at: usize, name: &str) -> bool {
    let inside = outline.inside(at + 1);
    if TIME_FUNCTIONS.contains(&name) {
        let says_now = inside.clone().any(|at| outline.text(at).eq_ignore_ascii_case("'now'"));
        // `date()` and `strftime('%Y')` mean now, `date(column)` doesn't; a column definition `time(3)` is neither.
        let enough = if name == "strftime" { 2 } else { 1 };
        return says_now || outline.split(inside, outline.depth(at) + 1).len() < enough;
    }
    // `age(t)` counts from today, `age(a, b)` between two instants.
    name == "age" && outline.split(inside.clone(), outline.depth(at) + 1).len() == 1
}

fn is_clock_text(outline: &Outline, at: usize, name: &str) -> bool {
    let is_cast = outline.is_symbol(at + 1, ":") && outline.is_symbol(at + 2, ":");
    let is_typed = at > 0 && outline.is_one_of(at - 1, &["date", "time", "timestamp", "timestamptz"]);
    CLOCK_TEXTS.contains(&name) && (is_cast || is_typed)
}

fn samples(outline: &Outline, findings: &mut Vec<Diagnostic>) {
    for at in (0..outline.len()).filter(|at| outline.is_word(*at, "tablesample")) {
        if !(at..outline.len().min(at + 12)).any(|at| outline.is_word(at, "repeatable")) {
            findings.push(warn(
                outline,
                at..at + 1,
                "TABLESAMPLE reads other rows in every run, so the documents change without the data".to_owned(),
                "add REPEATABLE (1), or read all rows",
            ));
        }
    }
}

/// Lists and numberings whose order isn't said.
fn unordered(outline: &Outline, findings: &mut Vec<Diagnostic>) {
    let orders =
        |range: Range<usize>| range.clone().any(|at| outline.is_word(at, "order") && outline.is_word(at + 1, "by"));
    for at in outline.calls(0..outline.len()) {
        let name = outline.text(at).to_ascii_lowercase();
        let arguments = outline.inside(at + 1);
        let behind = arguments.end + 1;
        if LISTS.contains(&name.as_str()) && !orders(arguments.clone()) {
            // SQLite before 3.44 has no ORDER BY in the call, so that an ordered subquery is the way to say it.
            let rest_is_ordered = (behind..outline.len())
                .take_while(|next| outline.depth(*next) >= outline.depth(at))
                .any(|next| outline.depth(next) > outline.depth(at) && orders(next..next + 1));
            if !rest_is_ordered {
                findings.push(warn(
                    outline,
                    at..at + 1,
                    format!("the list of `{name}` has no order, so the same data gives other bytes"),
                    "say it inside the call: string_agg(name, ',' ORDER BY name COLLATE \"C\")",
                ));
            }
        }
        let numbers = NUMBERINGS.contains(&name.as_str())
            && outline.is_word(behind, "over")
            && outline.is_symbol(behind + 1, "(");
        if numbers && !orders(outline.inside(behind + 1)) {
            let names_window = outline.is_name(behind + 2) && !outline.is_word(behind + 2, "partition");
            if !names_window {
                findings.push(warn(
                    outline,
                    at..at + 1,
                    format!("`{name}` counts rows in no order, so the same data gives other numbers"),
                    "say the order: OVER (PARTITION BY … ORDER BY …), ending in an id",
                ));
            }
        }
    }
}

/// LIMIT and DISTINCT ON choose rows; without ORDER BY it is chance which.
fn arbitrary_rows(outline: &Outline, findings: &mut Vec<Diagnostic>) {
    for query in outline.queries() {
        let chooses =
            if outline.is_word(query.body.start + 1, "distinct") && outline.is_word(query.body.start + 2, "on") {
                Some((query.body.start + 1, "DISTINCT ON"))
            } else {
                ["limit", "fetch"]
                    .iter()
                    .find_map(|word| outline.behind(&query, &[word]))
                    .map(|behind| (behind - 1, "LIMIT"))
            };
        let Some((at, word)) = chooses else { continue };
        let in_exists = query.whole.start.checked_sub(2).is_some_and(|before| outline.is_word(before, "exists"));
        // The outermost query without ORDER BY has its own finding.
        let is_outermost = query.whole == outline.outermost().whole;
        if outline.behind(&query, &["order", "by"]).is_none() && !in_exists && !is_outermost {
            findings.push(warn(
                outline,
                at..at + 1,
                format!("{word} without ORDER BY takes other rows in every run"),
                "order the rows by what decides, and end in an id",
            ));
        }
    }
}

fn floats(outline: &Outline, findings: &mut Vec<Diagnostic>) {
    if outline.template.shape == Shape::Json {
        // The column is a JSON value; `decimals` has no say in it, but rounding in the SQL has.
        inside_json(outline, findings);
        return;
    }
    for (column, at) in aggregated_columns(outline, &|at| is_float_call(outline, at)) {
        findings.push(float_finding(outline, &column, at));
    }
}

/// The finding about a float column whose digits nothing rounds.
pub fn float_finding(outline: &Outline, column: &str, at: usize) -> Diagnostic {
    let name = outline.text(at).to_ascii_lowercase();
    warn(
        outline,
        at..at + 1,
        format!(
            "`{name}` makes the column `{column}` a float, whose last digits differ between parallel runs and between engines"
        ),
        &format!("round it in the front matter: decimals = {{ {column} = 4 }}, or in the SQL"),
    )
}

fn inside_json(outline: &Outline, findings: &mut Vec<Diagnostic>) {
    for at in outline.calls(0..outline.len()).filter(|at| is_float_call(outline, *at)) {
        if !is_rounded(outline, at, 0..outline.len()) {
            let name = outline.text(at).to_ascii_lowercase();
            findings.push(warn(
                outline,
                at..at + 1,
                format!("`{name}` gives a float, whose last digits differ between parallel runs and between engines"),
                "round it in the SQL: round(avg(score)::numeric, 4)",
            ));
        }
    }
}

/// Columns of the result that a call of the given kind reaches unrounded, with the place of that call.
///
/// A call in a subquery counts for the columns that name its alias; a column renamed twice on the way is lost from sight.
pub fn aggregated_columns(outline: &Outline, is_call: &dyn Fn(usize) -> bool) -> Vec<(String, usize)> {
    let outermost = outline.outermost();
    let columns = outline.items(&outermost);
    let mut found: Vec<(String, usize)> = Vec::new();
    let mut add = |column: &Item, at: usize| {
        let Some(name) = &column.name else { return };
        let is_ruled = outline
            .template
            .rules
            .iter()
            .any(|(ruled, rule)| ruled == name && matches!(rule, ColumnRule::Decimals(_) | ColumnRule::Bool));
        if !is_ruled && !found.iter().any(|(known, _)| known == name) {
            found.push((name.clone(), at));
        }
    };
    for query in outline.queries() {
        for item in outline.items(&query) {
            let is_own = |at: &usize| is_call(*at) && !in_subquery(outline, *at, &query);
            let call = outline.calls(item.expression.clone()).find(is_own);
            let Some(call) = call.filter(|call| !is_rounded(outline, *call, item.expression.clone())) else { continue };
            if query.whole == outermost.whole {
                add(&item, call);
                continue;
            }
            let Some(alias) = &item.name else { continue };
            for column in &columns {
                let is_alias = |at: &usize| outline.is_name(*at) && outline.name(*at).eq_ignore_ascii_case(alias);
                // In `count(*) AS n`, an alias isn't read, and a table's name before a point isn't a column.
                let named = column.expression.clone().find(|at| is_alias(at) && !outline.is_symbol(at + 1, "."));
                if named.is_some_and(|named| !is_rounded(outline, named, column.expression.clone())) {
                    add(column, call);
                }
            }
        }
    }
    found
}

fn in_subquery(outline: &Outline, at: usize, query: &Query) -> bool {
    let select = |at: &usize| outline.is_word(*at, "select") && outline.depth(*at) > query.depth;
    (query.body.start + 1..at)
        .rev()
        .find(select)
        .is_some_and(|select| !(select..at).any(|next| outline.depth(next) < outline.depth(select)))
}

/// True for a call whose answer is a float: by its name, or a sum over what is one.
pub fn is_float_call(outline: &Outline, at: usize) -> bool {
    let name = outline.text(at).to_ascii_lowercase();
    is_float_aggregate(&name)
        || (name == "sum" && outline.inside(at + 1).any(|at| outline.is_one_of(at, &FLOAT_MAKERS)))
}

/// True if a rounding or a cast to an exact type stands around a call, within the expression.
fn is_rounded(outline: &Outline, call: usize, expression: Range<usize>) -> bool {
    for open in (expression.start..call).filter(|open| outline.is_symbol(*open, "(")) {
        let inside = outline.inside(open);
        if !inside.contains(&call) || open == 0 {
            continue;
        }
        let cast_to_exact = outline.is_word(open - 1, "cast")
            && inside
                .clone()
                .rev()
                .find(|at| outline.is_word(*at, "as"))
                .is_some_and(|at| outline.is_one_of(at + 1, &EXACT_TYPES));
        if outline.is_one_of(open - 1, &ROUNDINGS) || cast_to_exact || is_cast_exact(outline, inside.end + 1) {
            return true;
        }
    }
    let behind = if outline.is_symbol(call + 1, "(") { outline.inside(call + 1).end + 1 } else { call + 1 };
    is_cast_exact(outline, behind)
}

/// True for `::int` and the like. `::numeric` alone keeps every digit, so it must say a scale.
fn is_cast_exact(outline: &Outline, at: usize) -> bool {
    let is_cast = outline.is_symbol(at, ":") && outline.is_symbol(at + 1, ":");
    let keeps_digits = outline.is_one_of(at + 2, &["numeric", "decimal"]) && !outline.is_symbol(at + 3, "(");
    is_cast && outline.is_one_of(at + 2, &EXACT_TYPES) && !keeps_digits
}
