//! The head of a bucket as a row of a table in PostgreSQL.
//!
//! One row a store, by the address of its records, so that stores can share a table. A process opens one connection at
//! a time for it, for some milliseconds; one on which the server keeps silent lives on beside the next for a while.

use crate::database::{DatabaseError, HeadRow, HeadTable, RowSwap};
use crate::store::StoreError;
use crate::store::head::{HeadObject, Swap, Version};
use crate::store::s3::S3;
use crate::store::s3::failure::Class;
use crate::store::s3::retry::patience;

use super::{HEAD, HeadPlace, copy};

impl S3 {
    pub(super) async fn read_row(&self, table: &HeadTable) -> Result<Option<HeadObject>, StoreError> {
        let row = {
            let _turn = self.row_turn.lock().await;
            table.read(&self.row_name()).await
        };
        match row.map_err(|error| self.row_error("read", &error))? {
            Some(HeadRow { bytes, version, age }) => {
                Ok(Some(HeadObject { bytes, version: Version::row(Some(version)), age: Some(age) }))
            }
            None => self.head_without_row().await,
        }
    }

    /// The head of a store that has no row: none before the first release, or the one that the store has kept until now.
    async fn head_without_row(&self) -> Result<Option<HeadObject>, StoreError> {
        let Some(object) = self.read_object().await? else { return Ok(None) };
        if let Some(original) = copy::original(&object.bytes) {
            return Err(self.copy_error(&original));
        }
        tracing::info!(row = self.row_name(), "the head in the store is moved into the database by its next change");
        Ok(Some(HeadObject { version: Version::row(None), ..object }))
    }

    pub(super) async fn swap_row(
        &self,
        table: &HeadTable,
        expected: Option<&Version>,
        new: &[u8],
    ) -> Result<Swap, StoreError> {
        let expected = expected.and_then(Version::as_row);
        let swapped = {
            let _turn = self.row_turn.lock().await;
            table.swap(&self.row_name(), expected, new).await
        };
        Ok(match swapped.map_err(|error| self.row_error("replace", &error))? {
            RowSwap::Swapped(version) => {
                self.leave_copy(&self.head_name(), new).await;
                Swap::Swapped(Version::row(Some(version)))
            }
            RowSwap::Refused => Swap::Refused,
            RowSwap::Unanswered(error) => {
                let patience = patience(Class::Transient, self.settings.timeout).unwrap_or_default();
                Swap::Unanswered { error: self.row_error("replace", &error), patience }
            }
        })
    }

    /// What the row is called: the address of the store's records, with the server's name as URLs write it.
    fn row_name(&self) -> String {
        let control = self.settings.control.url();
        let Some(endpoint) = &self.settings.endpoint else { return control };
        let server =
            url::Url::parse(endpoint).map_or_else(|_| endpoint.clone(), |url| url.origin().ascii_serialization());
        format!("{server}/{}", control.trim_start_matches("s3://"))
    }

    /// What the head is called in messages.
    pub(super) fn head_name(&self) -> String {
        match &self.head {
            HeadPlace::Row(table) => format!("the head, the row {} of {}", self.row_name(), table.describe()),
            _ => self.key_url(&self.control_key(HEAD)),
        }
    }

    fn row_error(&self, action: &'static str, error: &DatabaseError) -> StoreError {
        let needed = "[store] head = \"database\" keeps the head there, so that nothing can be published, rolled back or \
                      looked at without it";
        let hint = match (error, error.hint()) {
            (DatabaseError::Connect { .. }, Some(hint)) => Some(format!("{hint}\n        {needed}")),
            (DatabaseError::Lost { .. }, _) => Some("see the server's log, then run the command again".to_owned()),
            (_, hint) => hint,
        };
        StoreError { action, object: self.head_name(), reason: error.reason(), hint, is_general: true }
    }
}
