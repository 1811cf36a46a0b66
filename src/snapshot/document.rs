//! Documents: rows of encoded cells in one of the four shapes, written as they arrive.

use crate::database::value::json::write_string;
use crate::database::value::{Encoder, ValueError};
use crate::database::{ResultColumn, RowBatch};
use crate::template::{Shape, Template};

/// A column of a document: every column of the result that isn't a key column.
struct DataColumn {
    /// Its place in the result.
    at: usize,
    /// `"name":`, ready to be copied.
    label: Vec<u8>,
    encoder: Encoder,
}

/// The document that rows are being written into.
pub struct Document {
    shape: Shape,
    max_size_bytes: usize,
    columns: Vec<DataColumn>,
    geometry: Geometry,
    /// `{"template":"…","key":`, the beginning of every body of the template.
    head: Vec<u8>,
    body: Vec<u8>,
    /// For the shape `columns`, the values of each column so far.
    values: Vec<Vec<u8>>,
    rows: u64,
}

/// Where a feature's place comes from; the numbers are indexes into the data columns.
enum Geometry {
    None,
    Point { lon: usize, lat: usize },
    Column(usize),
}

/// Why a row can't be written.
pub enum DocumentError {
    /// A cell has no JSON form.
    Cell {
        /// The column's place in the result.
        column: usize,
        /// Why.
        error: ValueError,
    },
    /// `lon` or `lat` is no number of degrees.
    Degrees {
        /// The column's place in the result.
        column: usize,
        /// The largest number it may be.
        most: f64,
    },
    /// `geometry` holds JSON that is no object.
    Geometry {
        /// The column's place in the result.
        column: usize,
    },
    /// The body has grown beyond `max_size`.
    TooLarge,
    /// A document of shape `json` has a second row.
    SecondRow,
}

impl Document {
    /// Prepares documents of a template from the columns of its result, given the places of the key columns in it.
    /// The error completes "the query …".
    pub fn new(
        template: &Template,
        columns: &[ResultColumn],
        keys: &[usize],
        encoders: Vec<Encoder>,
    ) -> Result<Document, String> {
        let data: Vec<DataColumn> = (0..)
            .zip(columns.iter().zip(encoders))
            .filter(|(at, _)| !keys.contains(at))
            .map(|(at, (column, encoder))| {
                let mut label = Vec::new();
                write_string(&column.name, &mut label);
                label.push(b':');
                DataColumn { at, label, encoder }
            })
            .collect();
        if template.shape == Shape::Json && data.len() != 1 {
            return Err(format!(
                "returns {} columns besides the key columns, and shape \"json\" takes exactly one",
                data.len()
            ));
        }
        let named = |name: &str| data.iter().position(|column| columns[column.at].name.eq_ignore_ascii_case(name));
        let geometry = match (template.shape, named("geometry"), named("lon"), named("lat")) {
            (Shape::Geojson, Some(column), ..) => Geometry::Column(column),
            (Shape::Geojson, None, Some(lon), Some(lat)) => Geometry::Point { lon, lat },
            (Shape::Geojson, ..) => {
                return Err(
                    "returns neither a column `geometry` nor `lon` and `lat`, which shape \"geojson\" takes".to_owned()
                );
            }
            _ => Geometry::None,
        };
        let mut head = b"{".to_vec();
        if template.shape == Shape::Geojson {
            head.extend_from_slice(b"\"type\":\"FeatureCollection\",");
        }
        head.extend_from_slice(b"\"template\":");
        write_string(&template.name, &mut head);
        head.extend_from_slice(b",\"key\":");
        let max_size_bytes = usize::try_from(template.guards.max_size_bytes()).unwrap_or(usize::MAX);
        let values = vec![Vec::new(); if template.shape == Shape::Columns { data.len() } else { 0 }];
        Ok(Document {
            shape: template.shape,
            max_size_bytes,
            columns: data,
            geometry,
            head,
            body: Vec::new(),
            values,
            rows: 0,
        })
    }

    /// Begins the document of a key, given as its JSON object.
    pub fn begin(&mut self, key_json: &[u8]) {
        self.body.clear();
        self.body.extend_from_slice(&self.head);
        self.body.extend_from_slice(key_json);
        self.body.extend_from_slice(match self.shape {
            Shape::Rows => b",\"rows\":[",
            Shape::Geojson => b",\"features\":[",
            Shape::Columns => b",\"count\":",
            Shape::Json => b",\"data\":",
        });
        self.values.iter_mut().for_each(Vec::clear);
        self.rows = 0;
    }

    /// Writes one row of a batch.
    pub fn row(&mut self, batch: &RowBatch, row: usize) -> Result<(), DocumentError> {
        match self.shape {
            Shape::Rows => {
                self.separate();
                self.body.push(b'{');
                self.object(batch, row, |_| true)?;
                self.body.push(b'}');
            }
            Shape::Geojson => {
                self.separate();
                self.feature(batch, row)?;
            }
            Shape::Json => {
                if self.rows > 0 {
                    return Err(DocumentError::SecondRow);
                }
                self.cell(batch, row, 0)?;
            }
            Shape::Columns => self.values(batch, row)?,
        }
        self.rows += 1;
        let size = self.body.len() + self.values.iter().map(Vec::len).sum::<usize>();
        if size > self.max_size_bytes { Err(DocumentError::TooLarge) } else { Ok(()) }
    }

    /// Ends the document: its body and its number of rows.
    pub fn finish(&mut self) -> (Vec<u8>, u64) {
        match self.shape {
            Shape::Rows | Shape::Geojson => self.body.push(b']'),
            Shape::Json if self.rows == 0 => self.body.extend_from_slice(b"null"),
            Shape::Json => {}
            Shape::Columns => self.put_columns(),
        }
        self.body.push(b'}');
        (std::mem::take(&mut self.body), self.rows)
    }

    fn separate(&mut self) {
        if self.rows > 0 {
            self.body.push(b',');
        }
    }

    fn cell(&mut self, batch: &RowBatch, row: usize, column: usize) -> Result<(), DocumentError> {
        let DataColumn { at, encoder, .. } = &self.columns[column];
        encoder.write(batch.cell(row, *at), &mut self.body).map_err(|error| DocumentError::Cell { column: *at, error })
    }

    fn object(&mut self, batch: &RowBatch, row: usize, wanted: impl Fn(usize) -> bool) -> Result<(), DocumentError> {
        let mut first = true;
        for column in 0..self.columns.len() {
            if wanted(column) {
                if !first {
                    self.body.push(b',');
                }
                first = false;
                self.body.extend_from_slice(&self.columns[column].label);
                self.cell(batch, row, column)?;
            }
        }
        Ok(())
    }

    /// RFC 7946: longitude comes first; a feature without a place has the geometry `null`.
    fn feature(&mut self, batch: &RowBatch, row: usize) -> Result<(), DocumentError> {
        self.body.extend_from_slice(b"{\"type\":\"Feature\",\"geometry\":");
        let (first, second) = match self.geometry {
            Geometry::Column(column) => {
                let start = self.body.len();
                self.cell(batch, row, column)?;
                if !(self.body[start..].starts_with(b"{") || self.body[start..] == *b"null") {
                    return Err(DocumentError::Geometry { column: self.columns[column].at });
                }
                (column, column)
            }
            Geometry::Point { lon, lat }
                if batch.cell(row, self.columns[lon].at).is_none()
                    || batch.cell(row, self.columns[lat].at).is_none() =>
            {
                self.body.extend_from_slice(b"null");
                (lon, lat)
            }
            Geometry::Point { lon, lat } => {
                self.body.extend_from_slice(b"{\"type\":\"Point\",\"coordinates\":[");
                self.degrees(batch, row, lon, 180.0)?;
                self.body.push(b',');
                self.degrees(batch, row, lat, 90.0)?;
                self.body.extend_from_slice(b"]}");
                (lon, lat)
            }
            Geometry::None => (usize::MAX, usize::MAX),
        };
        self.body.extend_from_slice(b",\"properties\":{");
        self.object(batch, row, |column| column != first && column != second)?;
        self.body.extend_from_slice(b"}}");
        Ok(())
    }

    /// A number of degrees; anything else would be a position that no map can show.
    fn degrees(&mut self, batch: &RowBatch, row: usize, column: usize, most: f64) -> Result<(), DocumentError> {
        let start = self.body.len();
        self.cell(batch, row, column)?;
        let number = std::str::from_utf8(&self.body[start..]).ok().and_then(|token| token.parse::<f64>().ok());
        match number.is_some_and(|number| number.abs() <= most) {
            true => Ok(()),
            false => Err(DocumentError::Degrees { column: self.columns[column].at, most }),
        }
    }

    fn values(&mut self, batch: &RowBatch, row: usize) -> Result<(), DocumentError> {
        for (column, values) in self.columns.iter().zip(&mut self.values) {
            if !values.is_empty() {
                values.push(b',');
            }
            column
                .encoder
                .write(batch.cell(row, column.at), values)
                .map_err(|error| DocumentError::Cell { column: column.at, error })?;
        }
        Ok(())
    }

    fn put_columns(&mut self) {
        self.body.extend_from_slice(self.rows.to_string().as_bytes());
        self.body.extend_from_slice(b",\"columns\":{");
        for (at, (column, values)) in self.columns.iter().zip(&self.values).enumerate() {
            if at > 0 {
                self.body.push(b',');
            }
            self.body.extend_from_slice(&column.label);
            self.body.push(b'[');
            self.body.extend_from_slice(values);
            self.body.push(b']');
        }
        self.body.push(b'}');
    }
}
