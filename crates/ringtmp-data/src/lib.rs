//! Datasets: what a run trains on, and what it is tested on.
//!
//! A [`Dataset`] hands out [`Batch`]es by number. It keeps no position: the sample with index `i` of a run is a function
//! of (seed, `i`) alone, so that any peer can make any micro-batch, now or after a recovery, and gets the same numbers
//! bit for bit, in a tab as in a native process.
//!
//! Two sets exist, named by a [`DataSpec`] in the run file:
//!
//! - `digits` needs no files. The project draws handwritten digits itself: stroke skeletons in several styles per class,
//!   bent, slanted and stretched at random, inked with a pen of random width, and normalised as MNIST is. The training
//!   set is endless; what a model learns from it carries over to real handwriting.
//! - `idx:LOCATION` is MNIST, Fashion-MNIST or any set in the same format: IDX files of images and labels, gzipped or not.
//!   Opening the location is the caller's business; this crate gets bytes ([`IdxFiles`]) and trusts none of them.
//!
//! Both come as rows of `rows * columns` numbers from 0 (paper) to 1 (ink), row-major, with labels 0 to 9.
//!
//! ```
//! use ringtmp_data::{Dataset, Order};
//!
//! let digits = Dataset::digits(7);
//! let batch = digits.train(Order::Sequential, 7, 0, 16);
//! assert_eq!(batch.inputs.len(), 16 * 784);
//! assert_eq!(batch, digits.train(Order::Sequential, 7, 0, 16));
//! ```
//!
//! This crate is pure: no clock, no files, no sockets, no randomness but what the seeds give.
//! `cargo run -p ringtmp-data --example contact_sheet` writes a picture of the digits.

mod dataset;
mod digits;
mod idx;
mod permutation;
mod random;
mod spec;

pub use dataset::{Batch, CLASSES, Dataset, Order};
pub use idx::{
    IDX_BYTES_MAX, IDX_TEST, IDX_TRAIN, IdxArray, IdxError, IdxFile, IdxFiles, IdxNames, Part,
};
pub use spec::{DataSpec, DataSpecError, LOCATION_BYTES_MAX};
