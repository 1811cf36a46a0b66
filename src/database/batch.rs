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
    cells: Vec<Cell>,
    columns: usize,
}

/// Where a cell lies in the bytes of its batch.
#[derive(Debug, Clone, Copy)]
struct Cell {
    start: u32,
    /// [`NULL`], or how long it is.
    len: u32,
}

const NULL: u32 = u32::MAX;

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
        let start = self.bytes.len();
        let len = match write(&mut self.bytes)? {
            true => offset(self.bytes.len() - start),
            false => NULL,
        };
        self.cells.push(Cell { start: offset(start), len });
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
        let Cell { start, len } = self.cells[row * self.columns + column];
        (len != NULL).then(|| &self.bytes[start as usize..][..len as usize])
    }
}

/// Neither engine has cells of 4 GiB, and a batch ends with the row that fills it.
fn offset(position: usize) -> u32 {
    u32::try_from(position).unwrap_or(u32::MAX - 1)
}

/// Reads the rows of a binary COPY (PostgreSQL's documentation of COPY, "Binary Format"): a header, then for each row
/// the number of its fields and each field's length and bytes, and the number −1 behind the last row.
pub struct Tuples {
    columns: usize,
    /// False until the header was read.
    begun: bool,
    /// True once the end was read.
    ended: bool,
    /// Bytes of a row that isn't complete; PostgreSQL sends whole rows, the protocol doesn't promise it.
    rest: Vec<u8>,
}

const SIGNATURE: &[u8] = b"PGCOPY\n\xff\r\n\0";

impl Tuples {
    /// Reads rows of this many fields.
    pub fn new(columns: usize) -> Tuples {
        Tuples { columns, begun: false, ended: false, rest: Vec::new() }
    }

    /// Puts the rows of a message into a batch and returns how many; or says what is wrong with it.
    pub fn read(&mut self, message: &[u8], batch: &mut RowBatch) -> Result<u64, &'static str> {
        let joined;
        let mut bytes = message;
        if !self.rest.is_empty() {
            let mut rest = std::mem::take(&mut self.rest);
            rest.extend_from_slice(message);
            joined = rest;
            bytes = &joined;
        }
        if !self.begun {
            let Some(after) = header(bytes)? else {
                self.rest = bytes.to_vec();
                return Ok(0);
            };
            bytes = after;
            self.begun = true;
        }
        let mut count = 0;
        while !bytes.is_empty() && !self.ended {
            let Some(len) = self.tuple(bytes, batch)? else {
                self.rest = bytes.to_vec();
                break;
            };
            bytes = &bytes[len..];
            count += u64::from(!self.ended);
        }
        Ok(count)
    }

    /// Reads one row and returns its length; `None` if it isn't complete.
    fn tuple(&mut self, bytes: &[u8], batch: &mut RowBatch) -> Result<Option<usize>, &'static str> {
        let Some((fields, _)) = bytes.split_first_chunk::<2>() else { return Ok(None) };
        let fields = i16::from_be_bytes(*fields);
        if fields == -1 {
            self.ended = true;
            return Ok(Some(2));
        }
        if usize::try_from(fields) != Ok(self.columns) {
            return Err("a row has another number of fields than its description");
        }
        let (first, base) = (batch.cells.len(), batch.bytes.len());
        let mut at = 2;
        for _ in 0..self.columns {
            let Some((len, _)) = bytes.get(at..).and_then(<[u8]>::split_first_chunk::<4>) else {
                batch.cells.truncate(first);
                return Ok(None);
            };
            at += 4;
            let len = i32::from_be_bytes(*len);
            let cell = match u32::try_from(len) {
                Ok(len) => Cell { start: offset(base + at), len },
                Err(_) if len == -1 => Cell { start: 0, len: NULL },
                Err(_) => return Err("a field has a negative length"),
            };
            batch.cells.push(cell);
            at += usize::try_from(len).unwrap_or(0);
        }
        if at > bytes.len() {
            batch.cells.truncate(first);
            return Ok(None);
        }
        batch.bytes.extend_from_slice(&bytes[..at]);
        Ok(Some(at))
    }
}

/// What comes after the header: signature, flags, and an extension of the length that it says.
fn header(bytes: &[u8]) -> Result<Option<&[u8]>, &'static str> {
    const FIXED: usize = SIGNATURE.len() + 8;
    if bytes.len() < FIXED {
        return Ok(None);
    }
    if !bytes.starts_with(SIGNATURE) {
        return Err("it doesn't begin with the signature of the binary format");
    }
    let number = |at: usize| bytes[at..at + 4].iter().fold(0_u32, |number, byte| number << 8 | u32::from(*byte));
    if number(SIGNATURE.len()) != 0 {
        return Err("it uses flags that aren't known");
    }
    let extension = usize::try_from(number(SIGNATURE.len() + 4)).unwrap_or(usize::MAX);
    Ok(bytes.get(FIXED.saturating_add(extension)..))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    type Table = Vec<[Option<Vec<u8>>; 2]>;

    fn copied(rows: &Table) -> Vec<u8> {
        let mut bytes = [SIGNATURE, &[0; 4], &3_u32.to_be_bytes(), b"ext"].concat();
        for row in rows {
            bytes.extend(2_i16.to_be_bytes());
            for cell in row {
                let len = cell.as_ref().map_or(-1, |cell| i32::try_from(cell.len()).unwrap());
                bytes.extend(len.to_be_bytes());
                bytes.extend(cell.iter().flatten());
            }
        }
        bytes.extend((-1_i16).to_be_bytes());
        bytes
    }

    fn cells(batch: &RowBatch) -> Table {
        let cell = |row, column| batch.cell(row, column).map(<[u8]>::to_vec);
        (0..batch.rows()).map(|row| [cell(row, 0), cell(row, 1)]).collect()
    }

    proptest! {
        #[test]
        fn rows_are_the_same_however_they_are_cut(
            rows in prop::collection::vec(any::<[Option<Vec<u8>>; 2]>(), 0..8),
            cuts in prop::collection::vec(1_usize..40, 1..6),
        ) {
            let bytes = copied(&rows);
            let (mut tuples, mut batch, mut count) = (Tuples::new(2), RowBatch::new(2), 0);
            let (mut rest, mut cuts) = (bytes.as_slice(), cuts.iter().cycle());
            while !rest.is_empty() {
                let (message, after) = rest.split_at(rest.len().min(*cuts.next().unwrap()));
                count += tuples.read(message, &mut batch).unwrap();
                rest = after;
            }
            prop_assert!(tuples.ended);
            prop_assert_eq!(count, rows.len() as u64);
            prop_assert_eq!(cells(&batch), rows);
        }
    }

    #[test]
    fn what_is_no_copy_is_refused() {
        let read = |bytes: &[u8], columns| Tuples::new(columns).read(bytes, &mut RowBatch::new(columns));
        let good = copied(&vec![[None, Some(b"x".to_vec())]]);
        assert_eq!(read(&good, 2), Ok(1));
        assert!(read(&good, 3).unwrap_err().contains("number of fields"));
        assert!(read(b"PGCOPY\n\xff\r\nX1234567890", 2).unwrap_err().contains("signature"));
        let mut flagged = good.clone();
        flagged[SIGNATURE.len() + 3] = 1;
        assert!(read(&flagged, 2).unwrap_err().contains("flags"));
        let mut negative = good;
        let length = SIGNATURE.len() + 8 + 3 + 2;
        negative[length..length + 4].copy_from_slice(&(-2_i32).to_be_bytes());
        assert!(read(&negative, 2).unwrap_err().contains("negative"));
    }
}
