//! Two lists of rows side by side: every path of either, with its row in each.

use std::cmp::Ordering;
use std::sync::Arc;

use super::row::Row;

/// Walks along two lists, both in the order of their paths. At least one of the two rows is there.
pub fn side_by_side<'a, 'b>(
    before: impl IntoIterator<Item = &'a Arc<Row>>,
    after: impl IntoIterator<Item = &'b Arc<Row>>,
) -> impl Iterator<Item = (Option<&'a Arc<Row>>, Option<&'b Arc<Row>>)> {
    let (mut before, mut after) = (before.into_iter().peekable(), after.into_iter().peekable());
    std::iter::from_fn(move || {
        let order = match (before.peek(), after.peek()) {
            (None, None) => return None,
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some(old), Some(new)) => old.path.cmp(&new.path),
        };
        let old = (order != Ordering::Greater).then(|| before.next()).flatten();
        let new = (order != Ordering::Less).then(|| after.next()).flatten();
        Some((old, new))
    })
}
