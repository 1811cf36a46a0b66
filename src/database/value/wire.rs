//! Reading the big-endian fields of PostgreSQL's binary formats (`src/backend/libpq/pqformat.c`).

use super::ValueError;

/// The rest of a cell.
pub(super) struct Reader<'a> {
    rest: &'a [u8],
    type_name: &'static str,
}

impl<'a> Reader<'a> {
    pub fn new(cell: &'a [u8], type_name: &'static str) -> Self {
        Self { rest: cell, type_name }
    }

    pub fn malformed(&self) -> ValueError {
        ValueError::Malformed(self.type_name)
    }

    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], ValueError> {
        let (head, rest) = self.rest.split_first_chunk::<N>().ok_or(ValueError::Malformed(self.type_name))?;
        self.rest = rest;
        Ok(*head)
    }

    pub fn bytes(&mut self, count: usize) -> Result<&'a [u8], ValueError> {
        let (head, rest) = self.rest.split_at_checked(count).ok_or(ValueError::Malformed(self.type_name))?;
        self.rest = rest;
        Ok(head)
    }

    /// A string that ends in a zero byte.
    pub fn c_string(&mut self) -> Result<&'a str, ValueError> {
        let end = self.rest.iter().position(|&b| b == 0).ok_or_else(|| self.malformed())?;
        let text = self.bytes(end)?;
        self.u8()?;
        super::string::utf8(text)
    }

    pub fn u8(&mut self) -> Result<u8, ValueError> {
        self.array::<1>().map(|[b]| b)
    }

    pub fn i16(&mut self) -> Result<i16, ValueError> {
        self.array().map(i16::from_be_bytes)
    }

    pub fn u16(&mut self) -> Result<u16, ValueError> {
        self.array().map(u16::from_be_bytes)
    }

    pub fn i32(&mut self) -> Result<i32, ValueError> {
        self.array().map(i32::from_be_bytes)
    }

    pub fn u32(&mut self) -> Result<u32, ValueError> {
        self.array().map(u32::from_be_bytes)
    }

    pub fn i64(&mut self) -> Result<i64, ValueError> {
        self.array().map(i64::from_be_bytes)
    }

    pub fn u64(&mut self) -> Result<u64, ValueError> {
        self.array().map(u64::from_be_bytes)
    }

    pub fn f64(&mut self) -> Result<f64, ValueError> {
        self.array().map(f64::from_be_bytes)
    }

    /// A 32-bit count or length, which is never negative.
    pub fn count(&mut self) -> Result<usize, ValueError> {
        usize::try_from(self.i32()?).map_err(|_| self.malformed())
    }

    /// A length-prefixed value, as arrays, ranges and multiranges hold them; −1 is NULL.
    pub fn field(&mut self) -> Result<Option<&'a [u8]>, ValueError> {
        match self.i32()? {
            -1 => Ok(None),
            length => {
                let length = usize::try_from(length).map_err(|_| self.malformed())?;
                self.bytes(length).map(Some)
            }
        }
    }

    /// Nothing may follow: a format that has grown must fail loudly, not print half of a value.
    pub fn end(&self) -> Result<(), ValueError> {
        if self.rest.is_empty() { Ok(()) } else { Err(self.malformed()) }
    }
}

/// A cell of exactly `N` bytes.
#[inline]
pub(super) fn exactly<const N: usize>(cell: &[u8], type_name: &'static str) -> Result<[u8; N], ValueError> {
    <[u8; N]>::try_from(cell).map_err(|_| ValueError::Malformed(type_name))
}
