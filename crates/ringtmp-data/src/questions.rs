//! Samples whose class is asked for, label or none beside them.

use crate::csv::{self, CsvError};
use crate::idx::{self, IdxError};

/// Rows of numbers for a model, each one sample.
#[derive(Clone, Debug, PartialEq)]
pub struct Questions {
    /// (rows, columns).
    pub numbers: Vec<f32>,
    /// Numbers of a row; at least one.
    pub columns: usize,
    /// (rows), where the file says what they are.
    pub labels: Option<Vec<u32>>,
}

impl Questions {
    /// Pictures of an IDX file, gzipped or not: 0 is paper, 1 is ink.
    ///
    /// # Errors
    ///
    /// What is wrong with the file.
    pub fn images(bytes: &[u8]) -> Result<Self, IdxError> {
        let ([_, rows, columns], pixels) = idx::read_images(bytes)?;
        let ink = |pixel: u8| f32::from(pixel) / 255.0;
        Ok(Self {
            numbers: pixels.into_iter().map(ink).collect(),
            columns: rows * columns,
            labels: None,
        })
    }

    /// Rows of a table in CSV for a model that takes so many numbers: as many columns, or one more with the label. A first line
    /// with a cell that is no number is a header.
    ///
    /// # Errors
    ///
    /// What is wrong with the file; the message names the line.
    pub fn csv(bytes: &[u8], columns: usize) -> Result<Self, CsvError> {
        let (numbers, labels) = csv::read_for(bytes, columns)?;
        Ok(Self {
            numbers,
            columns,
            labels,
        })
    }
}
