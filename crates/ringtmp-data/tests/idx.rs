//! IDX files, good and bad.
#![cfg(not(target_arch = "wasm32"))]

use flate2::{Compression, write::GzEncoder};
use proptest::prelude::*;
use ringtmp_data::{Dataset, IdxArray, IdxError, IdxFile, IdxFiles, Order, Part};
use std::io::Write;
use std::path::{Path, PathBuf};

const TRAIN_IMAGES: IdxFile = IdxFile {
    part: Part::Train,
    array: IdxArray::Images,
};
const TRAIN_LABELS: IdxFile = IdxFile {
    part: Part::Train,
    array: IdxArray::Labels,
};

/// A file of bytes with these dimensions, whatever `content` holds.
fn idx(dimensions: &[u32], content: &[u8]) -> Vec<u8> {
    let mut file = vec![0, 0, 8, dimensions.len() as u8];
    file.extend(dimensions.iter().flat_map(|side| side.to_be_bytes()));
    file.extend(content);
    file
}

/// `count` images of 2 by 3 pixels; image i begins with the pixel i, and its label is i modulo 10.
fn pair(count: u8) -> (Vec<u8>, Vec<u8>) {
    let pixels: Vec<u8> = (0..count).flat_map(|i| [i, 0, 255, 1, 2, 3]).collect();
    let labels: Vec<u8> = (0..count).map(|i| i % 10).collect();
    (
        idx(&[count.into(), 2, 3], &pixels),
        idx(&[count.into()], &labels),
    )
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut packed = GzEncoder::new(Vec::new(), Compression::default());
    packed.write_all(bytes).expect("memory takes all");
    packed.finish().expect("memory takes all")
}

fn one_pair(images: Vec<u8>, labels: Vec<u8>) -> Result<Dataset, IdxError> {
    Dataset::idx(IdxFiles {
        train: Some((images, labels)),
        test: None,
    })
}

/// Which images a batch holds, by their first pixel.
fn which(inputs: &[f32]) -> Vec<u8> {
    inputs
        .chunks(6)
        .map(|image| (image[0] * 255.0).round() as u8)
        .collect()
}

#[test]
fn a_single_pair_is_divided_nine_to_one_in_order() {
    let (images, labels) = pair(25);
    let set = one_pair(images, labels).expect("made well");
    assert_eq!(set.sample_shape(), [6]);
    assert_eq!(set.image_shape(), Some([2, 3]));
    assert_eq!((set.train_len(), set.test_len()), (Some(23), 2));
    let test = set.test(0, 10);
    assert_eq!(which(test.inputs.floats()), [23, 24]);
    assert_eq!(test.labels, [3, 4]);
    assert_eq!(
        test.inputs.floats()[..6],
        [
            23.0 / 255.0,
            0.0,
            1.0,
            1.0 / 255.0,
            2.0 / 255.0,
            3.0 / 255.0
        ]
    );
    assert!(set.test(2, 1).is_empty());
    let train = set.train(Order::Sequential, 0, 20, 5);
    assert_eq!(which(train.inputs.floats()), [20, 21, 22, 0, 1]);
    assert_eq!(train.labels, [0, 1, 2, 0, 1]);
}

#[test]
fn the_smallest_set_has_one_image_to_train_on_and_one_to_test_on() {
    let (images, labels) = pair(2);
    let set = one_pair(images, labels).expect("made well");
    assert_eq!((set.train_len(), set.test_len()), (Some(1), 1));
    let (images, labels) = pair(1);
    assert_eq!(
        one_pair(images, labels).expect_err("one image"),
        IdxError::TooFew
    );
}

#[test]
fn the_test_pair_alone_is_divided_too_and_both_pairs_are_taken_as_named() {
    let alone = IdxFiles {
        train: None,
        test: Some(pair(20)),
    };
    let alone = Dataset::idx(alone).expect("made well");
    assert_eq!((alone.train_len(), alone.test_len()), (Some(18), 2));
    let both = IdxFiles {
        train: Some(pair(20)),
        test: Some(pair(3)),
    };
    let both = Dataset::idx(both).expect("made well");
    assert_eq!((both.train_len(), both.test_len()), (Some(20), 3));
    assert_eq!(which(both.test(0, 8).inputs.floats()), [0, 1, 2]);
    assert_eq!(
        Dataset::idx(IdxFiles::default()).expect_err("no files"),
        IdxError::Missing
    );
}

#[test]
fn a_shuffled_pass_holds_every_image_once_and_differs_from_the_next() {
    let (images, labels) = pair(111);
    let set = one_pair(images, labels).expect("made well");
    let passes: Vec<Vec<u8>> = (0..2)
        .map(|pass| {
            which(
                set.train(Order::Shuffled, 5, pass * 100, 100)
                    .inputs
                    .floats(),
            )
        })
        .collect();
    for pass in &passes {
        let mut sorted = pass.clone();
        sorted.sort_unstable();
        assert_eq!(sorted, (0..100).collect::<Vec<u8>>());
        assert_ne!(*pass, sorted);
    }
    assert_ne!(passes[0], passes[1]);
    assert_ne!(
        passes[0],
        which(set.train(Order::Shuffled, 6, 0, 100).inputs.floats())
    );
    let last = set.train(Order::Shuffled, 5, u64::MAX, 2);
    assert_eq!(last.len(), 2, "sample numbers wrap");
    let across = set.train(Order::Shuffled, 5, 95, 10);
    assert_eq!(
        which(across.inputs.floats()),
        [&passes[0][95..], &passes[1][..5]].concat()
    );
    for (image, label) in which(across.inputs.floats()).iter().zip(&across.labels) {
        assert_eq!(u32::from(image % 10), *label);
    }
}

#[test]
fn gzipped_files_read_like_plain_ones() {
    let (images, labels) = pair(30);
    let packed = one_pair(gzip(&images), gzip(&labels)).expect("made well");
    let plain = one_pair(images, labels).expect("made well");
    assert_eq!(
        packed.train(Order::Sequential, 0, 0, 27),
        plain.train(Order::Sequential, 0, 0, 27)
    );
}

#[test]
fn each_fault_of_a_file_is_told_apart() {
    let (images, labels) = pair(10);
    let with_images = |images: Vec<u8>| one_pair(images, labels.clone()).expect_err("bad images");
    let file = TRAIN_IMAGES;
    let changed = |at: usize, byte: u8| {
        let mut images = images.clone();
        images[at] = byte;
        images
    };

    let page = b"<!DOCTYPE html>".to_vec();
    assert_eq!(
        with_images(page),
        IdxError::NotIdx {
            file,
            start: *b"<!DO"
        }
    );
    assert_eq!(
        with_images(changed(2, 0x0d)),
        IdxError::ElementType { file, code: 0x0d }
    );
    assert_eq!(
        with_images(labels.clone()),
        IdxError::Rank { file, found: 1 }
    );
    assert_eq!(with_images(idx(&[10, 0, 3], &[])), IdxError::Empty { file });
    for cut in [0, 1, 3, 4, 15, 16, images.len() - 1] {
        assert_eq!(
            with_images(images[..cut].to_vec()),
            IdxError::CutShort { file },
            "{cut} bytes"
        );
    }
    assert_eq!(
        with_images([&images[..], &[0]].concat()),
        IdxError::Trailing { file }
    );
    for sides in [[1 << 16, 1 << 14, 2], [u32::MAX; 3]] {
        assert_eq!(with_images(idx(&sides, &[])), IdxError::TooLarge { file });
    }
}

#[test]
fn each_fault_of_gzip_data_is_told_apart() {
    let (images, labels) = pair(10);
    let with_images = |images: Vec<u8>| one_pair(images, labels.clone()).expect_err("bad images");
    let file = TRAIN_IMAGES;
    let packed = gzip(&images);
    for cut in 2..packed.len() {
        assert_eq!(
            with_images(packed[..cut].to_vec()),
            IdxError::CutShort { file },
            "{cut} bytes"
        );
    }
    let mut damaged = packed.clone();
    // The checksum lies eight bytes before the end.
    damaged[packed.len() - 8] ^= 1;
    assert_eq!(with_images(damaged), IdxError::Gzip { file });
    assert_eq!(
        with_images([&packed[..], &[0]].concat()),
        IdxError::Trailing { file }
    );
    assert_eq!(
        with_images(gzip(&[&images[..], &[0]].concat())),
        IdxError::Trailing { file }
    );
    // A gigabyte of promise in a hundred bytes of file.
    assert_eq!(
        with_images(gzip(&idx(&[1 << 20, 32, 32], &[]))),
        IdxError::CutShort { file }
    );
}

#[test]
fn files_that_do_not_belong_together_are_refused() {
    let (images, labels) = pair(10);
    let counts = one_pair(images.clone(), pair(9).1).expect_err("one label less");
    assert_eq!(
        counts,
        IdxError::Counts {
            part: Part::Train,
            images: 10,
            labels: 9
        }
    );

    let mut letters = labels.clone();
    letters[8 + 4] = 10;
    let label = one_pair(images.clone(), letters).expect_err("an eleventh class");
    assert_eq!(
        label,
        IdxError::Label {
            part: Part::Train,
            index: 4,
            label: 10
        }
    );

    let swapped = one_pair(labels.clone(), images.clone()).expect_err("swapped");
    assert_eq!(
        swapped,
        IdxError::Rank {
            file: TRAIN_IMAGES,
            found: 1
        }
    );
    assert!(swapped.to_string().contains("swapped"));
    let twice = one_pair(images.clone(), images.clone()).expect_err("no labels");
    assert_eq!(
        twice,
        IdxError::Rank {
            file: TRAIN_LABELS,
            found: 3
        }
    );

    let small = (idx(&[2, 1, 1], &[1, 2]), idx(&[2], &[0, 1]));
    let shapes = Dataset::idx(IdxFiles {
        train: Some((images, labels)),
        test: Some(small),
    });
    assert_eq!(
        shapes.expect_err("two sets"),
        IdxError::Shapes {
            train: [2, 3],
            test: [1, 1]
        }
    );
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(
        images in proptest::collection::vec(any::<u8>(), 0..200),
        labels in proptest::collection::vec(any::<u8>(), 0..200),
    ) {
        let (good_images, good_labels) = pair(9);
        let _ = one_pair(images.clone(), labels.clone());
        let _ = one_pair(good_images, labels.clone());
        let _ = one_pair(images.clone(), good_labels.clone());
        let _ = one_pair(gzip(&images), good_labels.clone());
        // Past the check of the first bytes.
        let _ = one_pair([&[0x1f, 0x8b, 8, 0], &images[..]].concat(), good_labels.clone());
        let _ = one_pair([&[0, 0, 8, 3, 0, 0], &images[..]].concat(), good_labels);
    }

    #[test]
    fn a_byte_changed_anywhere_never_panics(at in 0usize..1000, byte in any::<u8>(), packed in any::<bool>()) {
        let (images, labels) = pair(12);
        let mut images = if packed { gzip(&images) } else { images };
        let at = at % images.len();
        images[at] = byte;
        if let Ok(set) = one_pair(images, labels) {
            prop_assert_eq!(set.train(Order::Shuffled, 1, 0, 12).len(), 12);
        }
    }

    #[test]
    fn what_is_written_is_read(
        rows in 1u32..5,
        columns in 1u32..5,
        pixels in proptest::collection::vec(any::<u8>(), 32..400),
        packed in any::<bool>(),
    ) {
        let size = (rows * columns) as usize;
        let count = pixels.len() / size;
        let pixels = &pixels[..count * size];
        let labels: Vec<u8> = pixels.chunks(size).map(|image| image[0] % 10).collect();
        let mut files = (idx(&[count as u32, rows, columns], pixels), idx(&[count as u32], &labels));
        if packed {
            files = (gzip(&files.0), gzip(&files.1));
        }
        let set = one_pair(files.0, files.1).expect("made well");
        prop_assert_eq!(set.image_shape(), Some([rows as usize, columns as usize]));
        let train = set.train_len().expect("a finite set") as u32;
        let halves = [set.train(Order::Sequential, 0, 0, train), set.test(0, set.test_len())];
        let read: Vec<u8> = halves.iter().flat_map(|half| half.inputs.floats()).map(|ink| (ink * 255.0).round() as u8).collect();
        prop_assert_eq!(read, pixels);
        let read: Vec<u8> = halves.iter().flat_map(|half| &half.labels).map(|label| *label as u8).collect();
        prop_assert_eq!(read, labels);
    }
}

/// The folder is named by `RINGTMP_MNIST`, or lies beside the repository.
#[test]
fn the_test_files_of_mnist_are_read() {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data/mnist-10k");
    let folder = std::env::var_os("RINGTMP_MNIST").map_or(beside, PathBuf::from);
    if !folder.is_dir() {
        eprintln!("SKIP: RINGTMP_MNIST does not name a folder with MNIST's t10k files");
        return;
    }
    let read = |names: &[&str]| {
        let found = names
            .iter()
            .find_map(|name| std::fs::read(folder.join(name)).ok());
        found.expect("the folder holds the t10k files")
    };
    let test = (
        read(ringtmp_data::IDX_TEST.images),
        read(ringtmp_data::IDX_TEST.labels),
    );
    let mnist = Dataset::idx(IdxFiles {
        train: None,
        test: Some(test),
    })
    .expect("MNIST is good");
    assert_eq!(mnist.sample_shape(), [784]);
    assert_eq!((mnist.train_len(), mnist.test_len()), (Some(9_000), 1_000));
    assert_eq!(
        mnist.train(Order::Sequential, 0, 0, 8).labels,
        [7, 2, 1, 0, 4, 1, 4, 9]
    );
    let batch = mnist.train(Order::Sequential, 0, 0, 9_000);
    let inputs = batch.inputs.floats();
    let mean = inputs.iter().map(|ink| f64::from(*ink)).sum::<f64>() / inputs.len() as f64;
    assert!((0.12..0.14).contains(&mean), "mean ink {mean}");
}
