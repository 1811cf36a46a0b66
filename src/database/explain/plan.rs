//! Reads the plans that EXPLAIN prints.

use std::collections::BTreeMap;

/// Whose plan it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Engine {
    /// EXPLAIN in text form.
    Postgres,
    /// EXPLAIN QUERY PLAN, the column `detail`.
    Sqlite,
}

/// What a plan says about reading tables.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Explained {
    /// Tables that are read from end to end, each once.
    pub full_scans: Vec<String>,
    /// Tables that are reached through an index by a value.
    pub searched: Vec<String>,
    /// How SQLite reads each table, in its words: `SEARCH`, then the index and what is compared in it.
    pub reads: Vec<(String, String)>,
    /// PostgreSQL's reads through an index.
    pub lookups: Vec<Lookup>,
    /// The most rows that the plan expects to read from a table, where it says.
    pub rows: BTreeMap<String, u64>,
    /// The planner's estimate of the whole cost, where it says.
    pub cost: Option<f64>,
    /// The plan as the database printed it.
    pub lines: Vec<String>,
}

/// A table reached through an index, as PostgreSQL estimates it.
#[derive(Debug, Clone, PartialEq)]
pub struct Lookup {
    /// The table.
    pub table: String,
    /// The rows that are found.
    pub rows: f64,
    /// What finding them costs once.
    pub cost: f64,
}

impl Lookup {
    /// True if the index must be read from end to end to find few rows, because the condition isn't on its first column.
    ///
    /// An entry read costs at least `cpu_index_tuple_cost`, and a row found at most two random pages.
    fn traverses(&self, table_rows: u64) -> bool {
        #[expect(clippy::cast_precision_loss, reason = "an estimate")]
        let entries = table_rows as f64 * 0.005;
        self.cost > entries && self.cost > 50.0 + 8.0 * self.rows
    }
}

impl Explained {
    /// True if a table of this size is read from end to end, itself or an index of it.
    pub fn reads_all(&self, table: &str, table_rows: u64) -> bool {
        self.full_scans.iter().any(|scanned| scanned == table)
            || self.lookups.iter().any(|lookup| lookup.table == table && lookup.traverses(table_rows))
    }

    fn add(&mut self, table: &str, is_full: bool, rows: Option<u64>) {
        let tables = if is_full { &mut self.full_scans } else { &mut self.searched };
        if !tables.iter().any(|known| known == table) {
            tables.push(table.to_owned());
        }
        if let Some(rows) = rows {
            let known = self.rows.entry(table.to_owned()).or_default();
            *known = rows.max(*known);
        }
    }
}

/// Reads a plan. `names` tells which names of the query are tables, as [`crate::template::lint::table_names`] does:
/// SQLite prints their aliases.
pub fn read_plan(engine: Engine, lines: &[String], names: &[(String, Option<String>)]) -> Explained {
    let mut explained = match engine {
        Engine::Postgres => read_postgres(lines),
        Engine::Sqlite => read_sqlite(lines, names),
    };
    explained.lines = lines.to_vec();
    explained
}

/// One node of PostgreSQL's plan tree.
struct Node<'a> {
    /// `Parallel Seq Scan on authorship a`.
    title: &'a str,
    /// How far it is indented.
    indent: usize,
    rows: Option<f64>,
    cost: Option<f64>,
    /// The lines of its own, up to the next node.
    details: &'a [String],
}

fn read_postgres(lines: &[String]) -> Explained {
    let mut explained = Explained::default();
    let mut workers: Vec<(usize, f64)> = Vec::new();
    // A condition may hold any text, so only the first line and those with an arrow can be nodes.
    let starts: Vec<usize> =
        (0..lines.len()).filter(|at| *at == 0 || lines[*at].trim_start().starts_with("->")).collect();
    for (number, start) in starts.iter().enumerate() {
        let end = starts.get(number + 1).copied().unwrap_or(lines.len());
        let Some(node) = node(&lines[*start], &lines[start + 1..end]) else { continue };
        if number == 0 {
            explained.cost = node.cost;
        }
        workers.retain(|(indent, _)| *indent < node.indent);
        if let Some(planned) = detail(node.details, "Workers Planned: ").and_then(|text| text.parse::<f64>().ok()) {
            workers.push((node.indent, planned));
        }
        let Some((table, is_full)) = scanned(&node) else { continue };
        let is_parallel = node.title.starts_with("Parallel ");
        let processes = match workers.last() {
            // The leader works too, the less the more workers it has to listen to (cost_gather's own formula).
            Some((_, planned)) if is_parallel => planned + (1.0 - 0.3 * planned).max(0.0),
            _ => 1.0,
        };
        explained.add(&table, is_full, node.rows.map(|rows| whole(rows * processes)));
        if !is_full && let (Some(rows), Some(cost)) = (node.rows, node.cost) {
            explained.lookups.push(Lookup { table, rows, cost });
        }
    }
    explained
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "an estimate, and `as` keeps it in range")]
fn whole(rows: f64) -> u64 {
    rows.round() as u64
}

/// A line with costs begins a node: `  ->  Seq Scan on topic t  (cost=0.00..1.22 rows=22 width=12)`.
fn node<'a>(line: &'a str, details: &'a [String]) -> Option<Node<'a>> {
    let (title, estimate) = line.rsplit_once("  (cost=")?;
    let indent = title.len() - title.trim_start().len();
    let title = title.trim_start().trim_start_matches("->").trim_start();
    let number = |text: &str| text.split([' ', ')']).next().and_then(|number| number.parse::<f64>().ok());
    let cost = estimate.split_once("..").and_then(|(_, total)| number(total));
    let rows = estimate.split_once("rows=").and_then(|(_, rows)| number(rows));
    Some(Node { title, indent, rows, cost, details })
}

fn detail<'a>(details: &'a [String], name: &str) -> Option<&'a str> {
    details.iter().find_map(|line| line.trim_start().strip_prefix(name))
}

/// The table that a node reads, and whether it reads all of it.
fn scanned(node: &Node) -> Option<(String, bool)> {
    let title = node.title.trim_start_matches("Parallel ").trim_start_matches("Async ");
    let (kind, _) = title.split_once(" Scan")?;
    let (_, target) = title.split_once(" on ")?;
    let is_full = match kind {
        "Seq" => true,
        // An index without a condition is read from end to end, only to have the rows in its order.
        "Index" | "Index Only" => detail(node.details, "Index Cond: ").is_none(),
        "Bitmap Heap" | "Tid" | "Tid Range" => false,
        _ => return None,
    };
    Some((table_name(target), is_full))
}

/// The first name of `authorship a`, `"My Table" m` or `public.authorship a`, without schema and quotes.
fn table_name(target: &str) -> String {
    let mut name = String::new();
    let mut is_quoted = false;
    for c in target.chars() {
        match c {
            '"' => is_quoted = !is_quoted,
            ' ' if !is_quoted => break,
            '.' if !is_quoted => name.clear(),
            c => name.push(c),
        }
    }
    name
}

/// SQLite prints a line for each loop: `SCAN a` and `SEARCH t USING INDEX topic_slug (slug=?)`.
fn read_sqlite(lines: &[String], names: &[(String, Option<String>)]) -> Explained {
    let mut explained = Explained::default();
    for line in lines {
        let (is_scan, rest) = match (line.strip_prefix("SCAN "), line.strip_prefix("SEARCH ")) {
            (Some(rest), _) => (true, rest),
            (_, Some(rest)) => (false, rest),
            _ => continue,
        };
        // SQLite before 3.36 says `TABLE authorship AS a`.
        let rest = rest.strip_prefix("TABLE ").unwrap_or(rest);
        let (target, how) = rest.split_at(target_len(rest));
        let is_automatic = how.contains("USING AUTOMATIC ");
        // Only a table has an index that isn't automatic, so a name that means a subquery elsewhere means the table here.
        let is_table = how.contains("USING ") && !is_automatic;
        let is_subquery = ["CO-ROUTINE ", "MATERIALIZE "]
            .iter()
            .any(|word| lines.iter().any(|line| line.strip_prefix(word) == Some(target)));
        if is_subquery && !is_table {
            continue;
        }
        if let Some(table) = table_of(target, is_table, names) {
            // An automatic index is built for the one statement by reading the whole table.
            explained.add(&table, is_scan || is_automatic, None);
            explained.reads.push((table, line[..line.len() - rest.len()].to_owned() + how));
        }
    }
    explained
}

/// How long the name at the beginning is; names may hold spaces, but not these words.
fn target_len(rest: &str) -> usize {
    [" AS ", " USING ", " VIRTUAL TABLE ", " LEFT-JOIN"]
        .iter()
        .filter_map(|word| rest.find(word))
        .min()
        .unwrap_or(rest.len())
}

/// The table that a name means; none for a subquery, a name of WITH, and where the text has several meanings for it.
fn table_of(target: &str, is_table: bool, names: &[(String, Option<String>)]) -> Option<String> {
    if target.starts_with('(') || target.contains("CONSTANT ROW") || target.starts_with("SUBQUERY ") {
        return None;
    }
    let mut meanings: Vec<&Option<String>> =
        names.iter().filter(|(alias, _)| alias.eq_ignore_ascii_case(target)).map(|(_, table)| table).collect();
    if is_table {
        meanings.retain(|meaning| meaning.is_some());
    }
    meanings.sort_unstable();
    meanings.dedup();
    match meanings.as_slice() {
        // Not of the template's text: a table inside a view.
        [] => Some(target.to_owned()),
        [one] => (*one).clone(),
        _ => None,
    }
}
