//! Tables: columns of numbers and a column of labels, separated by commas.
//!
//! A first line with a cell that is no number is a header. The label is the column that the header calls `label`, `class`
//! or `target`, or else the last one. Cells may stand in double quotes, without line breaks in them (RFC 4180 allows more).

use crate::batch::Batch;
use crate::text::line_at;

/// The most bytes of a table: a quarter of what IDX files may hold, since numbers take more room as text.
pub const CSV_BYTES_MAX: u64 = 256 << 20;

/// The most columns: pictures of 256 by 256 pixels and their label.
pub const CSV_COLUMNS_MAX: usize = (1 << 16) + 1;

/// Labels are below this: more classes than anybody names, and few enough for the last layer of a model.
pub const CSV_CLASSES_MAX: u32 = 1 << 16;

/// What a header may call the labels, whatever its letters' case.
const LABEL_NAMES: [&str; 3] = ["label", "class", "target"];

/// Of so many rows, the last one is held out: tables are often sorted by class, so the end of one would not do.
const HELD_OUT_ONE_IN: usize = 10;

/// The most bytes of a cell that an error repeats.
const QUOTED_CHARACTERS_MAX: usize = 32;

/// Why a table cannot be used. The file is at fault; lines and columns are counted from 1.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CsvError {
    /// More than is read.
    #[error("the table has {bytes} bytes; at most {CSV_BYTES_MAX} are read, so use a part of it")]
    TooLarge {
        /// Its length.
        bytes: usize,
    },
    /// Bytes that are no characters.
    #[error("line {line} of the table is not UTF-8; convert the file")]
    NotUtf8 {
        /// Where.
        line: usize,
    },
    /// One column, or more than are read.
    #[error(
        "line {line} of the table has {columns} columns; 2 to {CSV_COLUMNS_MAX} are read, the label among them, separated by commas"
    )]
    Columns {
        /// Where.
        line: usize,
        /// How many.
        columns: usize,
    },
    /// A line with more or fewer cells than the first.
    #[error(
        "line {line} of the table has {found} cells where the first has {expected}; mend that line"
    )]
    Ragged {
        /// Where.
        line: usize,
        /// Its cells.
        found: usize,
        /// The first line's cells.
        expected: usize,
    },
    /// Rows that a model does not take.
    #[error(
        "line {line} of the table has {found} cells; the model takes {needed} numbers, and at most a label beside them"
    )]
    Cells {
        /// Where.
        line: usize,
        /// Its cells.
        found: usize,
        /// What the model takes.
        needed: usize,
    },
    /// A quote that does not end.
    #[error("line {line} of the table has a quote that does not end; mend that line")]
    Quote {
        /// Where.
        line: usize,
    },
    /// A cell that is no number.
    #[error("line {line}, column {column} of the table is {text:?}, which is no finite number")]
    Number {
        /// Where.
        line: usize,
        /// Where.
        column: usize,
        /// How the cell begins.
        text: String,
    },
    /// A label that is no class.
    #[error(
        "line {line}, column {column} of the table is {text:?}; a label is a whole number from 0 to below {CSV_CLASSES_MAX}"
    )]
    Label {
        /// Where.
        line: usize,
        /// Where.
        column: usize,
        /// How the cell begins.
        text: String,
    },
    /// Too little to be divided.
    #[error("the table has {rows} rows; at least {HELD_OUT_ONE_IN} are needed to hold one out")]
    TooFew {
        /// Without the header.
        rows: usize,
    },
}

/// A checked table.
#[derive(Debug)]
pub(crate) struct Table {
    columns: usize,
    /// (rows, columns).
    numbers: Vec<f32>,
    /// (rows).
    labels: Vec<u32>,
    classes: usize,
}

impl Table {
    pub(crate) fn read(bytes: &[u8]) -> Result<Self, CsvError> {
        let label = |head: &[&str]| Some(label_column(head));
        read_rows(bytes, |head, line| match head.len() {
            2..=CSV_COLUMNS_MAX => Ok(label(head)),
            columns => Err(CsvError::Columns { line, columns }),
        })?
        .finish()
    }

    /// Without the label's.
    pub(crate) fn columns(&self) -> usize {
        self.columns
    }

    /// One more than the largest label.
    pub(crate) fn classes(&self) -> usize {
        self.classes
    }

    pub(crate) fn train_len(&self) -> u32 {
        self.labels.len() as u32 - self.test_len()
    }

    pub(crate) fn test_len(&self) -> u32 {
        (self.labels.len() / HELD_OUT_ONE_IN) as u32
    }

    /// Adds the row at a place below [`Self::train_len`].
    pub(crate) fn train(&self, place: u32, batch: &mut Batch) {
        self.push(train_row(place), batch);
    }

    /// The class of the row at a place below [`Self::train_len`].
    pub(crate) fn train_label(&self, place: u32) -> u32 {
        self.labels[train_row(place)]
    }

    /// Adds the row at a place below [`Self::test_len`].
    pub(crate) fn test(&self, place: u32, batch: &mut Batch) {
        self.push(
            place as usize * HELD_OUT_ONE_IN + HELD_OUT_ONE_IN - 1,
            batch,
        );
    }

    fn push(&self, row: usize, batch: &mut Batch) {
        let numbers = &self.numbers[row * self.columns..(row + 1) * self.columns];
        batch.push_floats(numbers.iter().copied(), self.labels[row]);
    }
}

/// Rows to tell the classes of: numbers alone, or a label beside them.
pub(crate) fn read_for(
    bytes: &[u8],
    columns: usize,
) -> Result<(Vec<f32>, Option<Vec<u32>>), CsvError> {
    let rows = read_rows(bytes, |head, line| match head.len() {
        found if found == columns => Ok(None),
        found if found == columns + 1 => Ok(Some(label_column(head))),
        found => Err(CsvError::Cells {
            line,
            found,
            needed: columns,
        }),
    })?;
    let labels = rows.label.map(|_| rows.labels);
    Ok((rows.numbers, labels))
}

/// All rows of a table, which has its label in the column that `label` tells from the first line and its number, if it has one.
fn read_rows(
    bytes: &[u8],
    label: impl FnOnce(&[&str], usize) -> Result<Option<usize>, CsvError>,
) -> Result<Rows, CsvError> {
    if bytes.len() as u64 > CSV_BYTES_MAX {
        return Err(CsvError::TooLarge { bytes: bytes.len() });
    }
    let text = std::str::from_utf8(bytes).map_err(|error| CsvError::NotUtf8 {
        line: line_at(bytes, error.valid_up_to()),
    })?;
    // Some programs mark the beginning of a file.
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut lines = text
        .lines()
        .zip(1..)
        .filter(|(line, _)| !line.trim().is_empty())
        .peekable();
    let Some((first, number)) = lines.peek().copied() else {
        return Err(CsvError::TooFew { rows: 0 });
    };
    let head = cells(first, number)?;
    let mut rows = Rows {
        cells: head.len(),
        label: label(&head, number)?,
        numbers: Vec::new(),
        labels: Vec::new(),
    };
    if head.iter().any(|cell| cell.parse::<f32>().is_err()) {
        lines.next();
    }
    for (line, number) in lines {
        rows.push(&cells(line, number)?, number)?;
    }
    Ok(rows)
}

/// Where a header says that the labels are, or else the last column.
fn label_column(head: &[&str]) -> usize {
    let named = head.iter().position(|cell| {
        LABEL_NAMES
            .iter()
            .any(|name| name.eq_ignore_ascii_case(cell))
    });
    named.unwrap_or(head.len() - 1)
}

/// The row at a place among those to train on.
fn train_row(place: u32) -> usize {
    let place = place as usize;
    place + place / (HELD_OUT_ONE_IN - 1)
}

/// A table while it is read.
struct Rows {
    /// Cells of a line.
    cells: usize,
    /// Which of them is the label, if one is.
    label: Option<usize>,
    numbers: Vec<f32>,
    labels: Vec<u32>,
}

impl Rows {
    fn push(&mut self, cells: &[&str], line: usize) -> Result<(), CsvError> {
        if cells.len() != self.cells {
            return Err(CsvError::Ragged {
                line,
                found: cells.len(),
                expected: self.cells,
            });
        }
        for (cell, column) in cells.iter().zip(1..) {
            let text = || cell.chars().take(QUOTED_CHARACTERS_MAX).collect();
            if self.label == Some(column - 1) {
                let label = cell.parse().ok().filter(|label| *label < CSV_CLASSES_MAX);
                self.labels.push(label.ok_or_else(|| CsvError::Label {
                    line,
                    column,
                    text: text(),
                })?);
            } else {
                let number = cell.parse().ok().filter(|number: &f32| number.is_finite());
                self.numbers.push(number.ok_or_else(|| CsvError::Number {
                    line,
                    column,
                    text: text(),
                })?);
            }
        }
        Ok(())
    }

    fn finish(self) -> Result<Table, CsvError> {
        let rows = self.labels.len();
        if rows < HELD_OUT_ONE_IN {
            return Err(CsvError::TooFew { rows });
        }
        let classes = self.labels.iter().max().map_or(0, |label| label + 1);
        Ok(Table {
            columns: self.cells - 1,
            numbers: self.numbers,
            labels: self.labels,
            classes: classes as usize,
        })
    }
}

/// The cells of a line, without quotes and the blanks around them.
fn cells(line: &str, number: usize) -> Result<Vec<&str>, CsvError> {
    let mut cells = Vec::new();
    let mut rest = line;
    loop {
        let (cell, after) = match rest.trim_start().strip_prefix('"') {
            Some(quoted) => {
                let (cell, after) = quoted
                    .split_once('"')
                    .ok_or(CsvError::Quote { line: number })?;
                let after = after.trim_start();
                let next = after.strip_prefix(',');
                if next.is_none() && !after.is_empty() {
                    return Err(CsvError::Quote { line: number });
                }
                (cell, next)
            }
            None => match rest.split_once(',') {
                Some((cell, after)) => (cell, Some(after)),
                None => (rest, None),
            },
        };
        cells.push(cell.trim());
        if cells.len() > CSV_COLUMNS_MAX {
            return Err(CsvError::Columns {
                line: number,
                columns: cells.len(),
            });
        }
        match after {
            Some(after) => rest = after,
            None => return Ok(cells),
        }
    }
}
