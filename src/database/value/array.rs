//! Arrays in the binary format of `array_send` (`src/backend/utils/adt/arrayfuncs.c`) as nested
//! JSON arrays. Lower bounds are ignored, as JSON arrays have none.

use super::ValueError;
use super::wire::Reader;

/// `MAXDIM` of `src/include/utils/array.h`.
const MAX_DIMENSIONS: usize = 6;

/// Appends an array, each element by `write_element`.
pub(super) fn write(
    cell: &[u8],
    out: &mut Vec<u8>,
    mut write_element: impl FnMut(&[u8], &mut Vec<u8>) -> Result<(), ValueError>,
) -> Result<(), ValueError> {
    let mut reader = Reader::new(cell, "array");
    let (lengths, dimensions) = read_lengths(&mut reader)?;
    let lengths = &lengths[..dimensions];
    let element_count = lengths.iter().try_fold(1_usize, |product, &length| product.checked_mul(length));
    if dimensions == 0 || element_count == Some(0) {
        out.extend_from_slice(b"[]");
        return reader.end();
    }
    let element_count = element_count.ok_or_else(|| reader.malformed())?;
    for index in 0..element_count {
        // An element opens a bracket for each dimension that it is the first of, and closes one for
        // each that it is the last of.
        if index > 0 {
            out.push(b',');
        }
        out.extend(std::iter::repeat_n(b'[', inner_boundaries(index, lengths)));
        match reader.field()? {
            None => out.extend_from_slice(b"null"),
            Some(element) => write_element(element, out)?,
        }
        out.extend(std::iter::repeat_n(b']', inner_boundaries(index + 1, lengths)));
    }
    reader.end()
}

/// How many dimensions begin (or end) before the element `index`.
fn inner_boundaries(index: usize, lengths: &[usize]) -> usize {
    let mut block = 1;
    lengths
        .iter()
        .rev()
        .take_while(|&&length| {
            block *= length;
            index.is_multiple_of(block)
        })
        .count()
}

fn read_lengths(reader: &mut Reader) -> Result<([usize; MAX_DIMENSIONS], usize), ValueError> {
    let dimensions = reader.count()?;
    let _has_nulls = reader.i32()?;
    let _element_type = reader.u32()?;
    let mut lengths = [0; MAX_DIMENSIONS];
    for length in lengths.get_mut(..dimensions).ok_or_else(|| reader.malformed())? {
        *length = reader.count()?;
        let _lower_bound = reader.i32()?;
    }
    Ok((lengths, dimensions))
}

/// Appends `int2vector` or `oidvector` as their own text, `1 2 3` as a string: they are arrays on
/// the wire but not to a reader of SQL.
pub(super) fn write_vector(
    cell: &[u8],
    out: &mut Vec<u8>,
    mut write_element: impl FnMut(&[u8], &mut Vec<u8>) -> Result<(), ValueError>,
) -> Result<(), ValueError> {
    let mut reader = Reader::new(cell, "vector");
    let (lengths, dimensions) = read_lengths(&mut reader)?;
    if dimensions > 1 {
        return Err(reader.malformed());
    }
    out.push(b'"');
    for index in 0..lengths[0] {
        if index > 0 {
            out.push(b' ');
        }
        let element = reader.field()?.ok_or_else(|| reader.malformed())?;
        write_element(element, out)?;
    }
    out.push(b'"');
    reader.end()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn array(dimensions: &[(i32, i32)], elements: &[Option<&str>]) -> String {
        let mut cell = Vec::new();
        cell.extend(i32::try_from(dimensions.len()).unwrap().to_be_bytes());
        cell.extend([0, 0, 0, 1, 0, 0, 0, 25]);
        for (length, lower_bound) in dimensions {
            cell.extend(length.to_be_bytes());
            cell.extend(lower_bound.to_be_bytes());
        }
        for element in elements {
            cell.extend(element.map_or(-1, |text| i32::try_from(text.len()).unwrap()).to_be_bytes());
            cell.extend(element.unwrap_or_default().as_bytes());
        }
        let mut out = Vec::new();
        write(&cell, &mut out, |element, out| {
            out.extend_from_slice(element);
            Ok(())
        })
        .unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn shapes() {
        assert_eq!(array(&[], &[]), "[]");
        assert_eq!(array(&[(0, 1)], &[]), "[]");
        assert_eq!(array(&[(1, 1)], &[Some("1")]), "[1]");
        assert_eq!(array(&[(3, -5)], &[Some("1"), None, Some("3")]), "[1,null,3]");
        let six = ["1", "2", "3", "4", "5", "6"].map(Some);
        assert_eq!(array(&[(2, 1), (3, 1)], &six), "[[1,2,3],[4,5,6]]");
        assert_eq!(array(&[(3, 1), (1, 1), (2, 1)], &six), "[[[1,2]],[[3,4]],[[5,6]]]");
        assert_eq!(array(&[(1, 1), (1, 1)], &[None]), "[[null]]");
    }

    #[test]
    fn broken_arrays() {
        let mut seven_dimensions = 7_i32.to_be_bytes().to_vec();
        seven_dimensions.extend([0; 100]);
        let mut huge = 6_i32.to_be_bytes().to_vec();
        huge.extend([0; 8]);
        huge.extend([0x7f; 48]);
        for cell in [&seven_dimensions[..], &huge, &[0, 0, 0, 1], b""] {
            assert_eq!(write(cell, &mut Vec::new(), |_, _| Ok(())), Err(ValueError::Malformed("array")));
        }
    }
}
