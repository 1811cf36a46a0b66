//! Is the refresh query worth asking: cheap beside what it saves, and the same while the data is?

use super::plan::{Explained, read_plan};
use super::{LARGEST_TABLE_ROWS, explained};
use crate::database::{DatabaseError, ReadTransaction};
use crate::diagnostic::Diagnostic;
use crate::template::scope::{self, Statement};
use crate::template::{Refresh, Template, lint};

/// With this share of the cost of the template's own query an answer saves hardly anything.
const DEAR_COST: f64 = 0.5;
/// A query cheaper than this, in the planner's units, is done within some milliseconds whatever it saves.
const LEAST_COST: f64 = 1_000.0;

/// Explains the refresh query of a template; `statement` is what is sent. Returns warnings.
pub async fn explain_refresh(
    transaction: &mut ReadTransaction,
    template: &Template,
    refresh: &Refresh,
    statement: &Statement,
) -> Result<Vec<Diagnostic>, DatabaseError> {
    let mut unknown = lint::refresh_function_names(template, refresh);
    unknown.retain(|name| !lint::is_known_volatile(name));
    let volatile = transaction.volatile_functions(&unknown).await?;
    let warn = |name: &String| lint::volatile_refresh(template, name).at(refresh.span.clone());
    let mut findings: Vec<Diagnostic> = volatile.iter().map(warn).collect();
    let lines = transaction.explain(statement).await?;
    let mut asked = read_plan(transaction.engine(), &lines, &lint::refresh_table_names(template, refresh));
    transaction.count_rows(&mut asked).await?;
    let mut full = explained(transaction, template, &scope::whole(template)).await?;
    transaction.count_rows(&mut full).await?;
    if let Some(reason) = dear(&full, &asked) {
        findings.push(
            template
                .warning(format!("[refresh] the query {reason}, so it saves little or nothing"))
                .at(refresh.span.clone())
                .hint("ask something that an index or a small table answers, such as the latest date of an indexed column"),
        );
    }
    Ok(findings)
}

/// Why a refresh query costs about as much as the template's own, if it does.
fn dear(full: &Explained, asked: &Explained) -> Option<String> {
    if let (Some(full), Some(asked)) = (full.cost, asked.cost) {
        let share = asked / full.max(1.0);
        return (asked >= LEAST_COST && share >= DEAR_COST)
            .then(|| format!("costs {:.0} % of the template's own by the planner's estimate", share * 100.0));
    }
    // SQLite says no costs. Grouping and sorting, which it doesn't count, are the template's, so only more rows count.
    let scanned = |explained: &Explained| -> u64 {
        explained.full_scans.iter().filter_map(|table| explained.rows.get(table)).sum()
    };
    let (full, asked) = (scanned(full), scanned(asked));
    (asked >= LARGEST_TABLE_ROWS && asked > full)
        .then(|| format!("reads about {asked} rows from end to end, and the template's own about {full}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn costs(cost: f64) -> Explained {
        Explained { cost: Some(cost), ..Explained::default() }
    }

    fn scans(tables: &[(&str, u64)]) -> Explained {
        Explained {
            full_scans: tables.iter().map(|(name, _)| (*name).to_owned()).collect(),
            rows: tables.iter().map(|(name, rows)| ((*name).to_owned(), *rows)).collect(),
            ..Explained::default()
        }
    }

    #[test]
    fn a_share_of_the_cost_is_dear() {
        assert!(dear(&costs(40_000.0), &costs(30_000.0)).unwrap().contains("75 %"));
        assert_eq!(dear(&costs(40_000.0), &costs(10_000.0)), None);
        assert_eq!(dear(&costs(10.0), &costs(30.0)), None, "both are cheap");
    }

    #[test]
    fn more_rows_than_the_template_reads_are_dear() {
        let full = scans(&[("fact", 100_000), ("city", 500)]);
        assert_eq!(dear(&full, &scans(&[("fact", 100_000)])), None);
        assert!(dear(&full, &scans(&[("log", 200_000)])).unwrap().contains("200000"));
        assert_eq!(dear(&scans(&[("city", 500)]), &scans(&[("log", 900)])), None);
    }
}
