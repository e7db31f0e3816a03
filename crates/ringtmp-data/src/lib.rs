//! Datasets: what a run trains on, and what it is tested on.
//!
//! A [`Dataset`] hands out [`Batch`]es by number. It keeps no position: the sample with index `i` of a run is a function
//! of (seed, `i`) alone, so that any peer can make any micro-batch, now or after a recovery, and gets the same numbers
//! bit for bit, in a tab as in a native process.
//!
//! Sets are named by a [`DataSpec`] in the run file:
//!
//! - `digits` needs no files. The project draws handwritten digits itself: stroke skeletons in several styles per class,
//!   bent, slanted and stretched at random, inked with a pen of random width, and normalised as MNIST is. The training
//!   set is endless; what a model learns from it carries over to real handwriting.
//! - `addition` needs no files either: all sums of two two-digit numbers as text, `17+25=42`, of which some are held out;
//!   only the sum is to be learnt, not the numbers before it.
//! - `idx:LOCATION` is MNIST, Fashion-MNIST or any set in the same format: IDX files of images and labels, gzipped or not.
//! - `text:LOCATION` is any text in UTF-8, character by character; `csv:LOCATION` is a table of numbers with a label.
//!
//! Opening the location is the caller's business; this crate gets bytes and trusts none of them.
//!
//! Pictures come as rows of `rows * columns` numbers from 0 (paper) to 1 (ink), row-major, with labels 0 to 9; tables as
//! rows of their numbers; texts as tokens ([`Inputs::Tokens`]) with the token that follows each one.
//!
//! ```
//! use ringtmp_data::{Dataset, Order};
//!
//! let digits = Dataset::digits(7);
//! let batch = digits.train(Order::Sequential, 7, 0, 16);
//! assert_eq!(batch.inputs.floats().len(), 16 * 784);
//! assert_eq!(batch, digits.train(Order::Sequential, 7, 0, 16));
//! ```
//!
//! This crate is pure: no clock, no files, no sockets, no randomness but what the seeds give.
//! `cargo run -p ringtmp-data --example contact_sheet` writes a picture of the digits.

mod addition;
mod batch;
mod csv;
mod dataset;
mod digits;
mod idx;
mod permutation;
mod questions;
mod random;
mod share;
mod spec;
mod text;
mod vocabulary;

pub use addition::{ADDITION_CHARACTERS, ADDITION_CONTEXT, ADDITION_CONTEXT_MAX, AdditionContext};
pub use batch::{Batch, Inputs, UNLABELLED};
pub use csv::{CSV_BYTES_MAX, CSV_CLASSES_MAX, CSV_COLUMNS_MAX, CsvError};
pub use dataset::{CLASSES, Dataset, Order};
pub use digits::{DRAWING_POINTS_MAX, DrawingError, picture};
pub use idx::{
    IDX_BYTES_MAX, IDX_TEST, IDX_TRAIN, IdxArray, IdxError, IdxFile, IdxFiles, IdxNames, Part,
};
pub use questions::Questions;
pub use share::{Share, ShareError, Split};
pub use spec::{DataSpec, DataSpecError, LOCATION_BYTES_MAX};
pub use text::{CONTEXT_MAX, TEXT_BYTES_MAX, TextError};
pub use vocabulary::{VOCABULARY_MAX, Vocabulary};
