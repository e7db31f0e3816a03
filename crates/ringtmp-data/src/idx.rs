//! IDX files: arrays of bytes behind a header of big-endian numbers, as MNIST is distributed
//! (LeCun, Cortes and Burges, "The MNIST database", file formats).
//!
//! The files come from a stranger's server or a user's disk. The header is read first, its sizes are checked against
//! [`IDX_BYTES_MAX`], and then exactly what it declares is read, so memory grows with what is there and never
//! beyond that limit.

use crate::dataset::CLASSES;
use flate2::bufread::GzDecoder;
use std::fmt;
use std::io::{ErrorKind, Read};

/// The most bytes an array may declare: 1 GiB, twenty times MNIST and still a quarter of what a tab can address.
pub const IDX_BYTES_MAX: u64 = 1 << 30;

/// The names under which a pair of files may lie, best first. Try each with the location in front.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IdxNames {
    /// Of the images.
    pub images: &'static [&'static str],
    /// Of the labels.
    pub labels: &'static [&'static str],
}

/// The files to train on.
pub const IDX_TRAIN: IdxNames = IdxNames {
    images: &[
        "train-images-idx3-ubyte.gz",
        "train-images-idx3-ubyte",
        "train-images.idx3-ubyte",
    ],
    labels: &[
        "train-labels-idx1-ubyte.gz",
        "train-labels-idx1-ubyte",
        "train-labels.idx1-ubyte",
    ],
};

/// The files to test on.
pub const IDX_TEST: IdxNames = IdxNames {
    images: &[
        "t10k-images-idx3-ubyte.gz",
        "t10k-images-idx3-ubyte",
        "t10k-images.idx3-ubyte",
    ],
    labels: &[
        "t10k-labels-idx1-ubyte.gz",
        "t10k-labels-idx1-ubyte",
        "t10k-labels.idx1-ubyte",
    ],
};

/// The bytes of the files found, gzipped or not: images first, labels second. With one pair only, its first nine
/// tenths are for training and the rest is for testing, in the order of the file.
#[derive(Clone, Debug, Default)]
pub struct IdxFiles {
    /// The pair named by [`IDX_TRAIN`].
    pub train: Option<(Vec<u8>, Vec<u8>)>,
    /// The pair named by [`IDX_TEST`].
    pub test: Option<(Vec<u8>, Vec<u8>)>,
}

/// Which pair.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// To train on.
    Train,
    /// To test on.
    Test,
}

/// Which file of a pair.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IdxArray {
    /// Three dimensions: images, rows, columns.
    Images,
    /// One dimension.
    Labels,
}

/// Which file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IdxFile {
    /// Of which pair.
    pub part: Part,
    /// Which of the two.
    pub array: IdxArray,
}

/// Why IDX files cannot be used. The files are at fault; nothing of them is kept.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IdxError {
    /// No pair at all.
    #[error("there are no IDX files at this location; it needs {} and {}, or the pair {} and {}",
        IDX_TRAIN.images[0], IDX_TRAIN.labels[0], IDX_TEST.images[0], IDX_TEST.labels[0])]
    Missing,
    /// Another kind of file, often a page that says "not found".
    #[error(
        "the {file} are not an IDX file: it begins with {start:02x?} instead of 00 00; check what the location really serves"
    )]
    NotIdx {
        /// Which file.
        file: IdxFile,
        /// Its first bytes.
        start: [u8; 4],
    },
    /// Numbers other than bytes.
    #[error(
        "the {file} hold numbers of type {code:#04x}; only unsigned bytes (0x08) are read, so convert the file"
    )]
    ElementType {
        /// Which file.
        file: IdxFile,
        /// The code in the header.
        code: u8,
    },
    /// Not an array of images, or not one of labels.
    #[error("the {file} have {found} dimensions instead of {}; have the files of images and labels been swapped?", file.array.rank())]
    Rank {
        /// Which file.
        file: IdxFile,
        /// Dimensions in the header.
        found: u8,
    },
    /// More than is read.
    #[error("the {file} declare more than {IDX_BYTES_MAX} bytes; use a part of the set")]
    TooLarge {
        /// Which file.
        file: IdxFile,
    },
    /// A dimension of 0.
    #[error("the {file} declare that they are empty; use another file")]
    Empty {
        /// Which file.
        file: IdxFile,
    },
    /// The file ends too early.
    #[error("the {file} are cut short; fetch the file again")]
    CutShort {
        /// Which file.
        file: IdxFile,
    },
    /// The file goes on after its end.
    #[error(
        "the {file} go on after the end that their header declares; the file is damaged or of another format"
    )]
    Trailing {
        /// Which file.
        file: IdxFile,
    },
    /// Damaged compression.
    #[error("the {file} cannot be unpacked, the gzip data are damaged; fetch the file again")]
    Gzip {
        /// Which file.
        file: IdxFile,
    },
    /// Images without labels or labels without images.
    #[error(
        "the {part} set has {images} images but {labels} labels; take both files from the same source"
    )]
    Counts {
        /// Which pair.
        part: Part,
        /// Images.
        images: u32,
        /// Labels.
        labels: u32,
    },
    /// A label that is no class.
    #[error(
        "label {index} of the {part} set is {label}; labels must be below {CLASSES}, so choose a set with ten classes"
    )]
    Label {
        /// Which pair.
        part: Part,
        /// Its place in the file.
        index: u32,
        /// What it is.
        label: u8,
    },
    /// Two sets that do not belong together.
    #[error(
        "images to train on have {train:?} pixels, images to test on {test:?}; take both pairs from the same set"
    )]
    Shapes {
        /// Rows and columns to train on.
        train: [u32; 2],
        /// Rows and columns to test on.
        test: [u32; 2],
    },
    /// One pair with one image cannot be divided.
    #[error(
        "a single image cannot be divided into images to train on and to test on; add images, or the other pair of files"
    )]
    TooFew,
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Train => "training",
            Self::Test => "test",
        })
    }
}

impl fmt::Display for IdxFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let array = match self.array {
            IdxArray::Images => "images",
            IdxArray::Labels => "labels",
        };
        write!(f, "{} {array}", self.part)
    }
}

impl IdxArray {
    const fn rank(self) -> u8 {
        match self {
            Self::Images => 3,
            Self::Labels => 1,
        }
    }
}

/// Checked images and labels.
#[derive(Debug)]
pub(crate) struct IdxSet {
    /// The first pair; all of it is for training if there is a second one.
    first: Pair,
    second: Option<Pair>,
    /// Samples of the first pair that are for training.
    train: u32,
}

#[derive(Debug)]
struct Pair {
    /// Shape (count, rows, columns).
    pixels: Vec<u8>,
    /// Shape (count); each below [`CLASSES`].
    labels: Vec<u8>,
    image: [u32; 2],
}

impl IdxSet {
    pub(crate) fn read(files: IdxFiles) -> Result<Self, IdxError> {
        let (first, second) = match (files.train, files.test) {
            (Some(train), Some(test)) => (
                Pair::read(Part::Train, train)?,
                Some(Pair::read(Part::Test, test)?),
            ),
            (Some(train), None) => (Pair::read(Part::Train, train)?, None),
            (None, Some(test)) => (Pair::read(Part::Test, test)?, None),
            (None, None) => return Err(IdxError::Missing),
        };
        match &second {
            Some(test) if test.image != first.image => Err(IdxError::Shapes {
                train: first.image,
                test: test.image,
            }),
            Some(_) => Ok(Self {
                train: first.count(),
                first,
                second,
            }),
            None if first.count() < 2 => Err(IdxError::TooFew),
            None => Ok(Self {
                train: first.count() - (first.count() / 10).max(1),
                first,
                second,
            }),
        }
    }

    /// Rows and columns.
    pub(crate) fn image(&self) -> [usize; 2] {
        self.first.image.map(|side| side as usize)
    }

    pub(crate) fn train_len(&self) -> u32 {
        self.train
    }

    pub(crate) fn test_len(&self) -> u32 {
        match &self.second {
            Some(pair) => pair.count(),
            None => self.first.count() - self.train,
        }
    }

    /// The pixels and the label of a sample below [`Self::train_len`].
    pub(crate) fn train(&self, index: u32) -> (&[u8], usize) {
        self.first.sample(index)
    }

    /// The pixels and the label of a sample below [`Self::test_len`].
    pub(crate) fn test(&self, index: u32) -> (&[u8], usize) {
        match &self.second {
            Some(pair) => pair.sample(index),
            None => self.first.sample(self.train + index),
        }
    }
}

impl Pair {
    fn read(part: Part, (images, labels): (Vec<u8>, Vec<u8>)) -> Result<Self, IdxError> {
        let ([images, rows, columns], pixels) = read_array(
            IdxFile {
                part,
                array: IdxArray::Images,
            },
            &images,
        )?;
        let ([count], labels) = read_array(
            IdxFile {
                part,
                array: IdxArray::Labels,
            },
            &labels,
        )?;
        if images != count {
            return Err(IdxError::Counts {
                part,
                images,
                labels: count,
            });
        }
        match labels
            .iter()
            .zip(0..)
            .find(|(label, _)| usize::from(**label) >= CLASSES)
        {
            Some((label, index)) => Err(IdxError::Label {
                part,
                index,
                label: *label,
            }),
            None => Ok(Self {
                pixels,
                labels,
                image: [rows, columns],
            }),
        }
    }

    fn count(&self) -> u32 {
        self.labels.len() as u32
    }

    fn sample(&self, index: u32) -> (&[u8], usize) {
        let [rows, columns] = self.image.map(|side| side as usize);
        let start = index as usize * rows * columns;
        (
            &self.pixels[start..start + rows * columns],
            usize::from(self.labels[index as usize]),
        )
    }
}

/// Images without labels: how many, rows and columns, and all pixels.
pub(crate) fn read_images(bytes: &[u8]) -> Result<([usize; 3], Vec<u8>), IdxError> {
    let file = IdxFile {
        part: Part::Test,
        array: IdxArray::Images,
    };
    let (sides, pixels) = read_array(file, bytes)?;
    Ok((sides.map(|side: u32| side as usize), pixels))
}

/// The dimensions and the elements of a file, unpacked if it begins as gzip does.
fn read_array<const RANK: usize>(
    file: IdxFile,
    bytes: &[u8],
) -> Result<([u32; RANK], Vec<u8>), IdxError> {
    if !bytes.starts_with(&[0x1f, 0x8b]) {
        return read_elements(file, &mut &*bytes, bytes.len());
    }
    let mut unpacked = GzDecoder::new(bytes);
    let array = read_elements(file, &mut unpacked, bytes.len())?;
    if unpacked.into_inner().is_empty() {
        Ok(array)
    } else {
        Err(IdxError::Trailing { file })
    }
}

fn read_elements<const RANK: usize>(
    file: IdxFile,
    reader: &mut impl Read,
    bytes_given: usize,
) -> Result<([u32; RANK], Vec<u8>), IdxError> {
    let failed = |error: std::io::Error| match error.kind() {
        ErrorKind::UnexpectedEof => IdxError::CutShort { file },
        _ => IdxError::Gzip { file },
    };
    let mut start = [0; 4];
    reader.read_exact(&mut start).map_err(failed)?;
    let dimensions = read_dimensions(file, start, reader, failed)?;
    let declared = dimensions
        .iter()
        .try_fold(1u64, |product, side| product.checked_mul(u64::from(*side)))
        .filter(|product| *product <= IDX_BYTES_MAX)
        .ok_or(IdxError::TooLarge { file })?;
    if declared == 0 {
        return Err(IdxError::Empty { file });
    }
    // Room for what is surely there; a header that promises more than the file holds reserves nothing.
    let mut elements = Vec::with_capacity(bytes_given.min(declared as usize));
    reader
        .by_ref()
        .take(declared)
        .read_to_end(&mut elements)
        .map_err(failed)?;
    if (elements.len() as u64) < declared {
        return Err(IdxError::CutShort { file });
    }
    // Reading past the end also makes the gzip decoder compare its checksum.
    match reader.read(&mut [0]).map_err(failed)? {
        0 => Ok((dimensions, elements)),
        _ => Err(IdxError::Trailing { file }),
    }
}

/// Bytes 0 and 1 are zero, byte 2 is the type of the elements, byte 3 the number of dimensions; their sizes follow.
fn read_dimensions<const RANK: usize>(
    file: IdxFile,
    start: [u8; 4],
    reader: &mut impl Read,
    failed: impl Fn(std::io::Error) -> IdxError,
) -> Result<[u32; RANK], IdxError> {
    let [zero, also_zero, code, rank] = start;
    if (zero, also_zero) != (0, 0) {
        return Err(IdxError::NotIdx { file, start });
    }
    if code != 0x08 {
        return Err(IdxError::ElementType { file, code });
    }
    if usize::from(rank) != RANK {
        return Err(IdxError::Rank { file, found: rank });
    }
    let mut dimensions = [0; RANK];
    for dimension in &mut dimensions {
        let mut bytes = [0; 4];
        reader.read_exact(&mut bytes).map_err(&failed)?;
        *dimension = u32::from_be_bytes(bytes);
    }
    Ok(dimensions)
}
