//! Sums as a caller sees them.
#![cfg(not(target_arch = "wasm32"))]

use ringtmp_data::{
    ADDITION_CONTEXT, ADDITION_CONTEXT_MAX, AdditionContext, Batch, Dataset, Order, UNLABELLED,
};
use std::collections::BTreeSet;

fn sums() -> Dataset {
    Dataset::addition(ADDITION_CONTEXT).expect("a sum fits")
}

/// What a batch shows, and what of it is to be learnt, with `_` for the rest.
fn texts(set: &Dataset, batch: &Batch) -> Vec<[String; 2]> {
    let vocabulary = set.vocabulary().expect("sums are text");
    let context = set.sample_shape()[0];
    let shown = batch.inputs.tokens().chunks(context);
    let learnt = |labels: &[u32]| -> String {
        let character = |label: &u32| match *label {
            UNLABELLED => "_".to_owned(),
            label => vocabulary.decode(&[label]),
        };
        labels.iter().map(character).collect()
    };
    shown
        .zip(batch.labels.chunks(context))
        .map(|(tokens, labels)| [vocabulary.decode(tokens), learnt(labels)])
        .collect()
}

/// All questions of one side, with what is to be answered.
fn all(set: &Dataset, batch: &Batch) -> BTreeSet<(u32, u32)> {
    let pair = |[shown, learnt]: &[String; 2]| {
        let (question, _) = shown.split_once('=').expect("a sum");
        let (a, b) = question.split_once('+').expect("two numbers");
        let (a, b): (u32, u32) = (a.parse().expect("a"), b.parse().expect("b"));
        assert_eq!(learnt.trim_matches('_').trim_end(), (a + b).to_string());
        assert!((10..100).contains(&a) && (10..100).contains(&b), "{shown}");
        (a, b)
    };
    texts(set, batch).iter().map(pair).collect()
}

#[test]
fn only_what_follows_the_equals_sign_is_to_be_learnt() {
    let set = sums();
    assert_eq!((set.sample_shape(), set.classes()), (&[9][..], 13));
    assert_eq!((set.labels_per_sample(), set.image_shape()), (9, None));
    let mut shown = texts(&set, &set.train(Order::Sequential, 0, 0, 7_400));
    shown.extend(texts(&set, &set.test(0, u32::MAX)));
    let of = |start: &str| shown.iter().find(|[shown, _]| shown.starts_with(start));
    assert_eq!(
        of("10+10="),
        Some(&["10+10=20\n".into(), "_____20\n_".into()])
    );
    assert_eq!(
        of("98+99="),
        Some(&["98+99=197".into(), "_____197\n".into()])
    );
    let longer = Dataset::addition(12).expect("a sum fits");
    let shown = texts(&longer, &longer.train(Order::Sequential, 0, 0, 1));
    assert_eq!(
        shown,
        [["10+10=20\n\n\n\n", "_____20\n____"].map(str::to_owned)]
    );
}

#[test]
fn every_pair_is_on_one_side_and_its_mirror_image_on_the_same() {
    let set = sums();
    let train = set.train_len().expect("finite");
    let test = set.test_len();
    assert!((700..900).contains(&test), "one in ten of 8,100: {test}");
    let (known, asked) = (
        all(&set, &set.train(Order::Shuffled, 9, 0, train as u32)),
        all(&set, &set.test(0, test)),
    );
    assert_eq!(known.len() as u64, train, "a pass shows each pair once");
    assert_eq!(known.len() + asked.len(), 90 * 90);
    for (a, b) in asked {
        assert!(
            !known.contains(&(a, b)) && !known.contains(&(b, a)),
            "{a}+{b}"
        );
    }
}

#[test]
fn seeds_and_passes_change_the_order_and_nothing_else() {
    let set = sums();
    let length = set.train_len().expect("finite") as u32;
    let pass = |seed, pass: u32| set.train(Order::Shuffled, seed, (pass * length).into(), length);
    assert_eq!(pass(1, 0), pass(1, 0));
    assert_ne!(pass(1, 0), pass(2, 0));
    assert_ne!(pass(1, 0), pass(1, 1));
    assert_eq!(all(&set, &pass(1, 0)), all(&set, &pass(2, 1)));
}

#[test]
fn what_is_past_the_end_is_padded_without_labels() {
    let set = sums();
    let batch = set.test_padded(set.test_len() - 1, 3, u32::MAX);
    assert_eq!((batch.len(), batch.inputs.tokens().len()), (3, 27));
    assert!(batch.labels[9..].iter().all(|label| *label == UNLABELLED));
    assert!(batch.labels[..9].iter().any(|label| *label != UNLABELLED));
    let nothing = set.test_padded(0, 2, 0);
    assert!(nothing.labels.iter().all(|label| *label == UNLABELLED));
}

#[test]
fn a_context_that_no_sum_fits_into_is_refused() {
    for context in [0, 8, ADDITION_CONTEXT_MAX + 1, usize::MAX] {
        let refused = Dataset::addition(context).expect_err("out of bounds");
        assert_eq!(refused, AdditionContext { context });
    }
}
