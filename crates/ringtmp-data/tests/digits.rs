//! Digits as a caller sees them.
#![cfg(not(target_arch = "wasm32"))]

use ringtmp_data::{Batch, CLASSES, Dataset, Order};

const SEED: u64 = 20;

fn train(seed: u64, first: u64, count: u32) -> Batch {
    Dataset::digits(seed).train(Order::Shuffled, seed, first, count)
}

fn pictures(batch: &Batch) -> impl Iterator<Item = (&[f32], usize)> {
    let labels = batch.labels.iter().map(|label| *label as usize);
    batch.inputs.floats().chunks(784).zip(labels)
}

#[test]
fn digits_describe_themselves() {
    let digits = Dataset::digits(SEED);
    assert_eq!(digits.sample_shape(), [784]);
    assert_eq!(digits.image_shape(), Some([28, 28]));
    assert_eq!(digits.classes(), 10);
    assert_eq!(digits.train_len(), None);
    assert_eq!(digits.test_len(), 10_000);
}

#[test]
fn a_sample_is_the_same_whatever_batch_it_comes_in() {
    let whole = train(SEED, 95, 20);
    for offset in 0..20 {
        let alone = train(SEED, 95 + offset, 1);
        let at = offset as usize;
        assert_eq!(alone.labels[0], whole.labels[at]);
        assert_eq!(
            alone.inputs.floats(),
            &whole.inputs.floats()[at * 784..(at + 1) * 784]
        );
    }
    let digits = Dataset::digits(SEED);
    assert_eq!(
        digits.test(7, 2).inputs.floats(),
        &digits.test(0, 9).inputs.floats()[7 * 784..]
    );
}

#[test]
fn seeds_and_what_is_held_out_differ_from_each_other() {
    let digits = Dataset::digits(SEED);
    let reference = digits.train(Order::Sequential, 1, 0, 10);
    assert_eq!(
        reference,
        digits.train(Order::Shuffled, 1, 0, 10),
        "an endless set has no order"
    );
    assert_ne!(
        reference.inputs,
        digits.train(Order::Sequential, 2, 0, 10).inputs
    );
    assert_ne!(reference.inputs, train(SEED + 1, 0, 10).inputs);
    let zero_seed = Dataset::digits(0);
    assert_ne!(
        zero_seed.train(Order::Sequential, 0, 0, 10).inputs,
        zero_seed.test(0, 10).inputs
    );
}

#[test]
fn the_held_out_digits_end() {
    let digits = Dataset::digits(SEED);
    assert_eq!(digits.test(9_990, 16).len(), 10);
    assert!(digits.test(10_000, 16).is_empty());
    assert!(digits.test(u32::MAX, u32::MAX).is_empty());
}

#[test]
fn the_numbers_of_the_last_samples_wrap() {
    assert_eq!(train(SEED, u64::MAX - 1, 4).len(), 4);
}

#[test]
fn every_ten_samples_hold_each_class_once_in_changing_order() {
    let batch = train(SEED, 0, 1_000);
    for block in batch.labels.chunks(CLASSES) {
        let mut sorted = block.to_vec();
        sorted.sort_unstable();
        assert_eq!(sorted, (0..10).collect::<Vec<u32>>(), "seed {SEED}");
    }
    let mut first_places = [0; CLASSES];
    batch
        .labels
        .iter()
        .step_by(CLASSES)
        .for_each(|label| first_places[*label as usize] += 1);
    assert!(
        first_places.iter().all(|count| *count > 0),
        "seed {SEED}: {first_places:?}"
    );
}

#[test]
fn ink_is_whole_grey_levels_and_as_much_as_a_pen_leaves() {
    let batch = train(SEED, 0, 5_000);
    for ink in batch.inputs.floats() {
        assert!((0.0..=1.0).contains(ink));
        assert_eq!(*ink, (ink * 255.0).round() / 255.0);
    }
    // MNIST's test images: 0.133 over all, from 0.077 (ones) to 0.172 (zeros).
    let mut by_class = [0.0; CLASSES];
    for (picture, class) in pictures(&batch) {
        let mean = picture.iter().sum::<f32>() / 784.0;
        assert!(
            (0.02..0.40).contains(&mean),
            "seed {SEED}: a {class} with mean ink {mean}"
        );
        assert!(
            picture.iter().any(|ink| *ink > 0.5),
            "seed {SEED}: a {class} too faint to see"
        );
        by_class[class] += mean / 500.0;
    }
    let mean = by_class.iter().sum::<f32>() / 10.0;
    assert!(
        (0.12..0.145).contains(&mean),
        "seed {SEED}: mean ink {mean}"
    );
    assert!(
        by_class.iter().all(|mean| (0.06..0.18).contains(mean)),
        "seed {SEED}: {by_class:?}"
    );
    assert!(
        by_class[1] < 0.09,
        "seed {SEED}: ones have the least ink, {by_class:?}"
    );
}

#[test]
fn digits_fill_their_box_and_are_centred() {
    let batch = train(SEED, 0, 2_000);
    for (number, (picture, class)) in pictures(&batch).enumerate() {
        let (mut mass, mut moments) = (0.0, [0.0; 2]);
        let (mut low, mut high) = ([28; 2], [0; 2]);
        for (index, ink) in picture.iter().enumerate() {
            let place = [index / 28, index % 28];
            mass += ink;
            for axis in 0..2 {
                moments[axis] += ink * (place[axis] as f32 + 0.5);
                if *ink >= 0.5 {
                    low[axis] = low[axis].min(place[axis]);
                    high[axis] = high[axis].max(place[axis]);
                }
            }
        }
        let who = format!("seed {SEED}, sample {number}, a {class}");
        for moment in moments {
            assert!(
                (moment / mass - 14.0).abs() < 0.51,
                "{who}: centre at {}",
                moment / mass
            );
        }
        let extent = (0..2).map(|axis| high[axis] + 1 - low[axis]).max();
        assert!(
            extent.is_some_and(|pixels| (17..=21).contains(&pixels)),
            "{who}: {extent:?} pixels"
        );
    }
}

#[test]
fn no_two_digits_of_a_class_are_alike() {
    let batch = train(SEED, 0, 1_000);
    for class in 0..CLASSES {
        let drawn: Vec<_> = pictures(&batch)
            .filter(|(_, label)| *label == class)
            .collect();
        for (number, (one, _)) in drawn.iter().enumerate() {
            for (other, _) in &drawn[..number] {
                let apart: f32 = one.iter().zip(*other).map(|(a, b)| (a - b).abs()).sum();
                // In full pixels of ink; a one has about 55.
                assert!(
                    apart > 3.0,
                    "seed {SEED}: two {class}s differ by {apart} pixels"
                );
            }
        }
    }
}

#[test]
fn most_held_out_digits_resemble_the_mean_of_their_class() {
    let mut means = vec![[0.0; 784]; CLASSES];
    for (picture, class) in pictures(&train(SEED, 0, 10_000)) {
        means[class]
            .iter_mut()
            .zip(picture)
            .for_each(|(mean, ink)| *mean += ink / 1_000.0);
    }
    let held_out = Dataset::digits(SEED).test(0, 2_000);
    let distance = |mean: &[f32; 784], picture: &[f32]| -> f32 {
        mean.iter()
            .zip(picture)
            .map(|(a, b)| (a - b) * (a - b))
            .sum()
    };
    let right = pictures(&held_out)
        .filter(|(picture, class)| {
            let nearest = (0..CLASSES).min_by(|a, b| {
                distance(&means[*a], picture).total_cmp(&distance(&means[*b], picture))
            });
            nearest == Some(*class)
        })
        .count();
    // The nearest mean reads 82% of MNIST's test images after training on MNIST; chance reads 10%.
    assert!(
        (1_300..1_900).contains(&right),
        "seed {SEED}: {right} of 2,000"
    );
    eprintln!("the nearest class mean reads {right} of 2,000 held-out digits");
}
