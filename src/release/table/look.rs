//! Looking at the table: is it what the active release says?

use std::collections::BTreeMap;
use std::sync::Arc;

use chrono::DateTime;

use super::super::head::HeadRead;
use super::super::id::{ReleaseId, RunId};
use super::super::manifest::Manifest;
use super::super::progress::{Phase, Progress};
use super::super::row::{DocumentRow, Origin, Row};
pub use super::wanted::TableFlaw;
use super::wanted::{compare, documents, families};
use super::{refuse_foreign, refuse_newer_format, site};
use crate::database::FallbackTable;
use crate::error::Error;
use crate::key::{Key, KeyValue};
use crate::snapshot::Digest;
use crate::store::Store;
use crate::template::Template;

/// What was found in the table.
#[derive(Debug)]
pub struct TableSurvey {
    /// The active release.
    pub release: ReleaseId,
    /// The release that the table says it shows; none without a table.
    pub shows: Option<String>,
    /// Why it isn't this site's at all.
    pub foreign: Option<Error>,
    /// Documents of the release.
    pub documents: u64,
    /// Those whose row isn't what it should be.
    pub flaws: Vec<(String, TableFlaw)>,
    /// Rows that the release doesn't name.
    pub extra: Vec<String>,
}

impl TableSurvey {
    /// True if there is nothing to mend.
    pub fn is_intact(&self) -> bool {
        self.foreign.is_none() && self.flaws.is_empty() && self.extra.is_empty() && !self.is_behind()
    }

    /// True if the table says that it shows another release.
    pub fn is_behind(&self) -> bool {
        self.shows.as_ref() != Some(&self.release.to_string())
    }
}

/// Compares the table with the active release; `deep` down to the bodies' bytes.
pub async fn survey_table(
    store: &Store,
    table: &FallbackTable,
    deep: bool,
    progress: &Progress,
) -> Result<TableSurvey, Error> {
    progress.enter(Phase::Verify, 0);
    let state = table.state().await?;
    let active = HeadRead::read(store).await?.head.active;
    let release = active.ok_or(Error::Unpublished)?;
    let manifest = Manifest::read(store, &release).await?;
    let families = families(&manifest);
    let wanted = documents(&manifest, &families);
    let documents = wanted.len() as u64;
    let mut survey =
        TableSurvey { release, shows: None, foreign: None, documents, flaws: Vec::new(), extra: Vec::new() };
    let path = |index: usize| wanted[index].row.path.to_string();
    let Some(state) = state else {
        survey.flaws = (0..wanted.len()).map(|index| (path(index), TableFlaw::Missing)).collect();
        return Ok(survey);
    };
    refuse_newer_format(&state)?;
    survey.foreign = refuse_foreign(&state, &survey.release, &site(store, table)).err();
    survey.shows = Some(state.release).filter(|release| !release.is_empty());
    let found = compare(table, &wanted, deep).await?;
    survey.flaws = found.flaws.iter().map(|(index, flaw)| (path(*index), *flaw)).collect();
    survey.extra = found.extra;
    Ok(survey)
}

/// The documents of a template as the table names them, so that they can be found without the store.
pub async fn table_rows(table: &FallbackTable, template: &Template) -> Result<Vec<Arc<Row>>, Error> {
    let unreadable =
        |path: &str| Error::Corrupt { object: format!("the key of {path}"), reason: "can't be read".to_owned() };
    let origin = Arc::new(Origin {
        as_of: DateTime::UNIX_EPOCH,
        changed_at: DateTime::UNIX_EPOCH,
        run: RunId::new(DateTime::UNIX_EPOCH, 0),
        policy: "".into(),
        held: false,
    });
    let document = DocumentRow { digest: Digest::of(b""), size_bytes: 0, gzip_bytes: 0, rows: 0 };
    let mut rows = Vec::new();
    for (path, key) in table.keys(&template.name).await? {
        let mut values: BTreeMap<String, KeyValue> = serde_json::from_str(&key).map_err(|_| unreadable(&path))?;
        let values = template.pattern.columns().iter().map(|column| values.remove(column));
        let key = Key(values.collect::<Option<_>>().ok_or_else(|| unreadable(&path))?);
        let origin = Arc::clone(&origin);
        rows.push(Arc::new(Row { path: path.into(), key, document: Some(document), origin }));
    }
    Ok(rows)
}
