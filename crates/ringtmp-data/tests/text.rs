//! Texts, good and bad.
#![cfg(not(target_arch = "wasm32"))]

use proptest::prelude::*;
use ringtmp_data::{Dataset, Order, TEXT_BYTES_MAX, TextError};

/// Ten different characters, again and again, so that a window tells where it begins.
fn counting(characters: usize) -> String {
    ('0'..='9').cycle().take(characters).collect()
}

#[test]
fn sequential_windows_lie_side_by_side_and_labels_are_one_further() {
    let set = Dataset::text(counting(100).as_bytes(), 4).expect("long enough");
    assert_eq!((set.sample_shape(), set.classes()), (&[4][..], 10));
    // 90 to train on: 22 windows and a character after the last.
    assert_eq!((set.train_len(), set.test_len()), (Some(22), 2));
    let batch = set.train(Order::Sequential, 5, 0, 3);
    assert_eq!(batch.inputs.tokens(), [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0, 1]);
    assert_eq!(batch.labels, [1, 2, 3, 4, 5, 6, 7, 8, 9, 0, 1, 2]);
    let again = set.train(Order::Sequential, 6, 22, 3);
    assert_eq!(again, batch, "a pass ends with the last whole window");
}

#[test]
fn characters_are_numbered_in_sorted_order_and_decode_to_the_text() {
    let text = "bä\na".repeat(30);
    let set = Dataset::text(text.as_bytes(), 8).expect("long enough");
    let batch = set.train(Order::Sequential, 0, 0, 1);
    assert_eq!(batch.inputs.tokens(), [2, 3, 0, 1, 2, 3, 0, 1]);
    let vocabulary = set.vocabulary().expect("text");
    assert_eq!(vocabulary.decode(batch.inputs.tokens()), "bä\nabä\na");
}

#[test]
fn the_last_tenth_is_held_out_and_no_window_crosses_the_border() {
    let text = "a".repeat(90) + &"b".repeat(10);
    let set = Dataset::text(text.as_bytes(), 4).expect("long enough");
    let seed = 11;
    let train = set.train(Order::Shuffled, seed, 0, 2_000);
    assert!(train.inputs.tokens().iter().all(|token| *token == 0));
    assert!(train.labels.iter().all(|token| *token == 0), "seed {seed}");
    let test = set.test(0, 100);
    assert_eq!(test.len(), 2);
    assert!(test.inputs.tokens().iter().all(|token| *token == 1));
}

#[test]
fn shuffled_windows_begin_everywhere_and_repeat_by_seed_and_number() {
    let set = Dataset::text(counting(30).as_bytes(), 2).expect("long enough");
    let seed = 3;
    let batch = set.train(Order::Shuffled, seed, 0, 1_000);
    let mut begun = [0; 10];
    batch
        .inputs
        .tokens()
        .chunks(2)
        .for_each(|window| begun[window[0] as usize] += 1);
    assert!(
        begun.iter().all(|count| *count > 20),
        "seed {seed}: {begun:?}"
    );
    let one = set.train(Order::Shuffled, seed, 500, 1);
    assert_eq!(one.inputs.tokens(), &batch.inputs.tokens()[1_000..1_002]);
    assert_ne!(batch, set.train(Order::Shuffled, seed + 1, 0, 1_000));
}

#[test]
fn a_text_that_cannot_be_used_is_refused_with_the_reason() {
    let refused = |bytes: &[u8], context| Dataset::text(bytes, context).expect_err("bad");
    assert_eq!(refused(b"a\nb\n\xff", 1), TextError::NotUtf8 { line: 3 });
    assert_eq!(refused(b"", 0), TextError::Context { context: 0 });
    let endless = usize::MAX;
    assert_eq!(
        refused(b"", endless),
        TextError::Context { context: endless }
    );
    let short = refused(counting(40).as_bytes(), 4);
    assert!(short.to_string().contains("at least 41"), "{short}");
    assert!(Dataset::text(counting(41).as_bytes(), 4).is_ok());
    let bytes = TEXT_BYTES_MAX as usize + 1;
    assert_eq!(
        refused(&vec![b'a'; bytes], 4),
        TextError::TooLarge { bytes }
    );
    let many: String = ('\0'..=char::MAX).take(70_000).collect();
    assert_eq!(refused(many.as_bytes(), 4), TextError::Vocabulary);
}

proptest! {
    #[test]
    fn no_bytes_panic_and_what_is_read_can_be_drawn(
        bytes in proptest::collection::vec(any::<u8>(), 0..400),
        text in ".{0,200}",
        context in 0usize..40,
        first in any::<u64>(),
    ) {
        for bytes in [&bytes[..], text.as_bytes()] {
            let Ok(set) = Dataset::text(bytes, context) else { continue };
            for order in [Order::Sequential, Order::Shuffled] {
                let batch = set.train(order, 1, first, 5);
                prop_assert_eq!(batch.inputs.tokens().len(), 5 * context);
                prop_assert!(batch.labels.iter().all(|label| (*label as usize) < set.classes()));
            }
            let test = set.test(0, set.test_len());
            prop_assert_eq!(test.len(), set.test_len() as usize);
        }
    }
}

#[test]
fn a_text_may_be_told_with_the_characters_of_another_but_has_to_have_no_others() {
    let whole = Dataset::text("abcdefghij".repeat(20).as_bytes(), 4).expect("a text");
    let vocabulary = whole.vocabulary().expect("a text");
    let part = Dataset::text_with("jihg".repeat(40).as_bytes(), 4, vocabulary).expect("a text");
    let batch = part.train(Order::Sequential, 1, 0, 1);
    assert_eq!(batch.inputs.tokens(), [9, 8, 7, 6]);
    let error = Dataset::text_with("jihgz".repeat(40).as_bytes(), 4, vocabulary);
    assert_eq!(error.err(), Some(TextError::Stranger { character: 'z' }));
}
