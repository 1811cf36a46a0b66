//! Batches of raw rows on their way from the connection to the thread that encodes them.

use super::ResultColumn;

/// Bytes after which a batch is sent on. Large enough that a hand-over costs nothing, small enough to stay in a cache.
const FULL_BYTES: usize = 256 * 1024;
/// Cells after which a batch is sent on, for rows of hardly any bytes.
const FULL_CELLS: usize = 32 * 1024;

/// What a read sends.
#[derive(Debug)]
pub enum Rows {
    /// The columns; always first.
    Columns(Vec<ResultColumn>),
    /// Rows in the order of the query.
    Batch(RowBatch),
    /// The last row was sent. Without this the read failed.
    End,
}

/// Rows of undecoded cells.
#[derive(Debug, Default)]
pub struct RowBatch {
    bytes: Vec<u8>,
    /// Where each cell ends in `bytes`; the flag marks SQL NULL.
    cells: Vec<(usize, bool)>,
    columns: usize,
}

impl RowBatch {
    /// An empty batch of rows with this many columns.
    pub fn new(columns: usize) -> RowBatch {
        RowBatch {
            bytes: Vec::with_capacity(FULL_BYTES + FULL_BYTES / 4),
            cells: Vec::with_capacity(FULL_CELLS),
            columns,
        }
    }

    /// Appends the next cell by letting `write` append its bytes; `false` from it means NULL.
    pub fn push<E>(&mut self, write: impl FnOnce(&mut Vec<u8>) -> Result<bool, E>) -> Result<(), E> {
        let present = write(&mut self.bytes)?;
        self.cells.push((self.bytes.len(), !present));
        Ok(())
    }

    /// True once the batch is worth sending.
    pub fn is_full(&self) -> bool {
        self.bytes.len() >= FULL_BYTES || self.cells.len() >= FULL_CELLS
    }

    /// True if there are no rows.
    pub fn is_empty(&self) -> bool {
        self.cells.is_empty()
    }

    /// How many rows there are.
    pub fn rows(&self) -> usize {
        self.cells.len() / self.columns.max(1)
    }

    /// One cell; `None` is NULL.
    #[inline]
    pub fn cell(&self, row: usize, column: usize) -> Option<&[u8]> {
        let at = row * self.columns + column;
        let (end, null) = self.cells[at];
        let start = if at == 0 { 0 } else { self.cells[at - 1].0 };
        (!null).then(|| &self.bytes[start..end])
    }
}
