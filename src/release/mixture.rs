//! A run of some keys goes into a release whose other documents were made by an earlier template. If that one had
//! another path, shape or set of columns, the two don't fit together, and only a run over every key can replace them.

use super::manifest::TemplateEntry;
use crate::diagnostic::Diagnostic;
use crate::template::Template;

/// Refuses a run of some keys over an entry that another form of the template made. The columns are known only after
/// the statement has begun.
pub fn refuse_mixture(
    entry: Option<&TemplateEntry>,
    template: &Template,
    columns: Option<&[String]>,
) -> Result<(), Diagnostic> {
    let Some(entry) = entry else { return Ok(()) };
    let changed = if entry.path != template.pattern.as_str() {
        format!("the path was `{}`", entry.path)
    } else if entry.shape != template.shape {
        "the shape was another".to_owned()
    } else if columns.is_some_and(|columns| entry.columns != columns) {
        format!("the columns were {}", entry.columns.join(", "))
    } else {
        return Ok(());
    };
    Err(template.error(format!("some keys can't be published alone: in the active release {changed}")).hint(format!(
        "publish the template whole first, which its guards ask about: tintype publish {}",
        template.name
    )))
}
