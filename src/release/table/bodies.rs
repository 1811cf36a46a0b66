//! The bodies of what is to be written, read from the store before the transaction begins.
//!
//! They wait in memory while they are few and in a temporary file otherwise, so that a first use of a large site takes
//! no more memory than a small change.

use std::io::{Read as _, Seek as _, SeekFrom, Write as _};

use tempfile::SpooledTempFile;

use super::super::verify::crew;
use super::wanted::Wanted;
use crate::database::TableDocument;
use crate::error::Error;
use crate::store::{Store, StoreError};

/// So many bytes are kept in memory before a file takes them.
const IN_MEMORY: usize = 16 << 20;
/// So many are read from the store, or written by one statement, at a time; one body may be larger.
const AT_A_TIME: u64 = 4 << 20;
/// So many documents are written by one statement.
const DOCUMENTS: usize = 500;

/// Gzipped bodies in the order in which they were read.
pub struct Bodies {
    file: SpooledTempFile,
    /// The document of each, by its place in the list of those that are wanted, and its length.
    entries: std::vec::IntoIter<(usize, usize)>,
}

impl Bodies {
    /// Reads the blobs of these documents.
    pub async fn read(store: &Store, wanted: &[Wanted<'_>], indexes: Vec<usize>) -> Result<Bodies, Error> {
        let mut file = SpooledTempFile::new(IN_MEMORY);
        let mut entries = Vec::with_capacity(indexes.len());
        let mut rest = &indexes[..];
        while !rest.is_empty() {
            let (now, later) = rest.split_at(fitting(wanted, rest));
            rest = later;
            let mut failed = None;
            let work = async |index: &usize| blob(store, &wanted[*index]).await;
            crew::each(store, now, &work, |index, read| {
                let kept =
                    read.and_then(|bytes| file.write_all(&bytes).map(|()| bytes.len()).map_err(|error| unkept(&error)));
                match kept {
                    Ok(length) => entries.push((*index, length)),
                    Err(error) => failed = Some(error),
                }
                failed.is_none()
            })
            .await;
            if let Some(error) = failed {
                return Err(error);
            }
        }
        file.seek(SeekFrom::Start(0)).map_err(|error| unkept(&error))?;
        Ok(Bodies { file, entries: entries.into_iter() })
    }

    /// The next documents for one statement; none at the end.
    pub fn next(&mut self, wanted: &[Wanted<'_>]) -> Result<Option<Vec<TableDocument>>, Error> {
        let (mut batch, mut bytes) = (Vec::new(), 0);
        while batch.len() < DOCUMENTS && bytes < AT_A_TIME {
            let Some((index, length)) = self.entries.next() else { break };
            let mut body = vec![0; length];
            self.file.read_exact(&mut body).map_err(|error| unkept(&error))?;
            bytes += length as u64;
            batch.push(wanted[index].document(body));
        }
        Ok((!batch.is_empty()).then_some(batch))
    }
}

/// How many of the next documents are read together.
fn fitting(wanted: &[Wanted<'_>], indexes: &[usize]) -> usize {
    let mut bytes = 0;
    let sizes = indexes.iter().map(|index| u64::from(wanted[*index].document.gzip_bytes));
    let fitting = sizes.take_while(|size| {
        let fits = bytes < AT_A_TIME;
        bytes += size;
        fits
    });
    fitting.count().max(1)
}

async fn blob(store: &Store, wanted: &Wanted<'_>) -> Result<Vec<u8>, Error> {
    let name = wanted.row.blob().unwrap_or_default();
    let bytes: Result<Option<Vec<u8>>, StoreError> = store.read(&name).await;
    bytes?.ok_or_else(|| Error::Corrupt { object: name, reason: "is missing".to_owned() })
}

fn unkept(error: &std::io::Error) -> Error {
    Error::Local { action: "keep documents in", object: "a temporary file".to_owned(), reason: error.to_string() }
}
