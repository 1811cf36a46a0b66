//! Geometric types as the text of their output functions (`src/backend/utils/adt/geo_ops.c`),
//! `(1,2)` for a point. They print no string that would have to be escaped.

use super::ValueError;
use super::shortest::write_float8_text;
use super::wire::Reader;

/// The types whose binary format is so many float8 in a row, or a list of points.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    Point,
    LineSegment,
    Path,
    Box,
    Polygon,
    Line,
    Circle,
}

/// Appends one cell as a JSON string.
pub(super) fn write(shape: Shape, cell: &[u8], out: &mut Vec<u8>) -> Result<(), ValueError> {
    let type_name = match shape {
        Shape::Point => "point",
        Shape::LineSegment => "lseg",
        Shape::Path => "path",
        Shape::Box => "box",
        Shape::Polygon => "polygon",
        Shape::Line => "line",
        Shape::Circle => "circle",
    };
    let reader = &mut Reader::new(cell, type_name);
    out.push(b'"');
    match shape {
        Shape::Point => point(reader, out)?,
        Shape::LineSegment => points(reader, 2, *b"[]", out)?,
        Shape::Path => {
            let closed = reader.u8()? != 0;
            let count = reader.count()?;
            points(reader, count, if closed { *b"()" } else { *b"[]" }, out)?;
        }
        Shape::Box => {
            point(reader, out)?;
            out.push(b',');
            point(reader, out)?;
        }
        Shape::Polygon => {
            let count = reader.count()?;
            points(reader, count, *b"()", out)?;
        }
        Shape::Line => {
            // The coefficients of Ax + By + C = 0.
            for before in *b"{,," {
                out.push(before);
                write_float8_text(reader.f64()?, out);
            }
            out.push(b'}');
        }
        Shape::Circle => {
            out.push(b'<');
            point(reader, out)?;
            out.push(b',');
            write_float8_text(reader.f64()?, out);
            out.push(b'>');
        }
    }
    out.push(b'"');
    reader.end()
}

fn point(reader: &mut Reader, out: &mut Vec<u8>) -> Result<(), ValueError> {
    out.push(b'(');
    write_float8_text(reader.f64()?, out);
    out.push(b',');
    write_float8_text(reader.f64()?, out);
    out.push(b')');
    Ok(())
}

fn points(reader: &mut Reader, count: usize, [open, close]: [u8; 2], out: &mut Vec<u8>) -> Result<(), ValueError> {
    out.push(open);
    for index in 0..count {
        if index > 0 {
            out.push(b',');
        }
        point(reader, out)?;
    }
    out.push(close);
    Ok(())
}
