//! Does the answer of the refresh query change when the data does, and only then?

use super::outline::Outline;
use super::{stability, text};
use crate::diagnostic::Diagnostic;
use crate::template::Template;

/// Lints the refresh query of a template, if it has one.
pub fn lint(template: &Template, findings: &mut Vec<Diagnostic>) {
    let Some(refresh) = &template.refresh else { return };
    let outline = Outline::of_refresh(template, refresh);
    text::placeholders(&outline, findings);
    for (at, shown) in stability::volatile_words(&outline) {
        findings.push(volatile_refresh(template, &shown).at(outline.span(at..at + 1)));
    }
    unordered_groups(&outline, findings);
}

/// The warning that something in a refresh query has another answer in every run.
pub fn volatile_refresh(template: &Template, shown: &str) -> Diagnostic {
    template
        .warning(format!("[refresh] `{shown}` has another answer in every run, so the template is read in every run"))
        .hint("ask for what changes with the data alone, such as count(*) and the latest date; at_least sees to it that time passes too")
}

/// Rows count in the order in which they come; that of groups is the planner's choice.
fn unordered_groups(outline: &Outline, findings: &mut Vec<Diagnostic>) {
    let query = outline.outermost();
    let Some(behind) = outline.behind(&query, &["group", "by"]) else { return };
    if outline.behind(&query, &["order", "by"]).is_none() {
        findings.push(
            outline
                .template
                .warning("[refresh] the query has no ORDER BY: groups in another order are another answer")
                .at(outline.span(behind - 2..behind))
                .hint("order the groups by their key, or aggregate once more to have one row"),
        );
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::Arc;

    use super::*;

    fn findings(sql: &str) -> Vec<Diagnostic> {
        let text = format!(
            "/*---\npath = \"m/{{k}}.json\"\n[refresh]\nsql = {sql}\n---*/\nSELECT k, id FROM t ORDER BY k, id\n"
        );
        let template = crate::template::parse::parse(Path::new("m.sql"), &Arc::from(text.as_str())).unwrap();
        crate::template::lint::lint(&template)
    }

    #[track_caller]
    fn only(sql: &str, says: &str) {
        let found = findings(sql);
        assert!(found.len() == 1 && found[0].message.contains(says), "{found:#?}");
        assert_eq!(found[0].position().map(|(line, _)| line), Some(4), "{found:#?}");
    }

    #[test]
    fn what_changes_by_itself_or_by_chance_is_told() {
        only("\"SELECT max(day), now() FROM t\"", "`now()` has another answer in every run, so the template is read");
        only("\"SELECT count(*), CURRENT_DATE FROM t\"", "`current_date`");
        only("\"SELECT k, max(day) FROM t GROUP BY k\"", "no ORDER BY");
        // Written with TOML's escapes, it stands nowhere in the file letter by letter.
        only("\"SELECT max(day), \\u006eow() FROM t\"", "`now()`");
        only("\"SELECT count(*) FROM t WHERE k = $1\"", "placeholder");
    }

    #[test]
    fn what_depends_on_the_data_alone_is_fine() {
        for sql in [
            "\"SELECT count(*), max(updated_at) FROM t\"",
            "\"SELECT k, max(day) FROM t GROUP BY k ORDER BY k\"",
            "\"SELECT count(*) FROM (SELECT k FROM t GROUP BY k) AS a\"",
            "\"SELECT version FROM data_version\"",
            "\"SELECT * FROM data_version\"",
        ] {
            let found = findings(sql);
            assert!(found.is_empty(), "{sql}: {found:#?}");
        }
    }
}
