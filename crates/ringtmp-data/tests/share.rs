//! Shares of datasets: what each source trains on.

use ringtmp_data::{Dataset, Inputs, Order, ShareError, Split};
use std::collections::BTreeSet;

fn numbers(inputs: &Inputs) -> Vec<u32> {
    match inputs {
        Inputs::Floats(numbers) => numbers.iter().map(|number| number.to_bits()).collect(),
        Inputs::Tokens(tokens) => tokens.clone(),
    }
}

/// Samples of each source, one list a source.
fn drawn(
    data: &Dataset,
    split: Split,
    of: u16,
    order: Order,
    count: u32,
) -> Vec<Vec<(Vec<u32>, u32)>> {
    let width = data.sample_shape()[0];
    let labels = data.labels_per_sample();
    let source = |number| {
        let share = data.share(split, number, of).expect("enough for all");
        let batch = data.train_share(&share, order, 5, 0, count);
        let inputs = numbers(&batch.inputs);
        let samples = inputs.chunks(width).map(<[u32]>::to_vec);
        samples
            .zip(batch.labels.chunks(labels).map(|labels| labels[0]))
            .collect()
    };
    (0..of).map(source).collect()
}

#[test]
fn digits_of_different_sources_differ_and_one_source_of_one_has_them_all() {
    let digits = Dataset::digits(3);
    let whole = digits.share(Split::Even, 0, 1).expect("all of them");
    assert_eq!(
        digits.train_share(&whole, Order::Shuffled, 9, 40, 30),
        digits.train(Order::Shuffled, 9, 40, 30)
    );
    for (split, of) in [(Split::Even, 3), (Split::ByLabel, 3), (Split::ByLabel, 12)] {
        let sources = drawn(&digits, split, of, Order::Shuffled, 30);
        let all: BTreeSet<&Vec<u32>> = sources.iter().flatten().map(|(sample, _)| sample).collect();
        assert_eq!(all.len(), 30 * usize::from(of), "{split:?} of {of}");
        let mut classes: BTreeSet<u32> = BTreeSet::new();
        for (source, number) in sources.iter().zip(0u32..) {
            let own: BTreeSet<u32> = source.iter().map(|(_, label)| *label).collect();
            classes.extend(&own);
            let expected: BTreeSet<u32> = match split {
                Split::Even => (0..10).collect(),
                Split::ByLabel if of > 10 => BTreeSet::from([number % 10]),
                Split::ByLabel => (0..10)
                    .filter(|class| class % u32::from(of) == number)
                    .collect(),
            };
            assert_eq!(own, expected, "{split:?}, source {number} of {of}");
        }
        assert_eq!(classes.len(), 10);
    }
}

#[test]
fn a_finite_set_is_dealt_out_whole_and_each_source_passes_over_its_own_part() {
    let rows = (0..200).map(|row| format!("{row},{}\n", row / 70));
    let table = Dataset::csv(rows.collect::<String>().as_bytes()).expect("a table");
    let sums = Dataset::addition(9).expect("a context");
    for (data, split) in [
        (&table, Split::Even),
        (&table, Split::ByLabel),
        (&sums, Split::Even),
    ] {
        let all = data.train_len().expect("finite") as usize;
        for order in [Order::Sequential, Order::Shuffled] {
            let sources = drawn(data, split, 3, order, all as u32);
            let mut seen = BTreeSet::new();
            for source in &sources {
                let own: BTreeSet<&Vec<u32>> = source.iter().map(|(sample, _)| sample).collect();
                // One pass has each once, and the next ones have the same.
                let first: BTreeSet<&Vec<u32>> = source[..own.len()]
                    .iter()
                    .map(|(sample, _)| sample)
                    .collect();
                assert_eq!(first, own, "{split:?} {order:?}");
                assert!(
                    own.iter().all(|sample| seen.insert(*sample)),
                    "in two shares"
                );
            }
            assert_eq!(seen.len(), all, "{split:?} {order:?}");
        }
    }
}

#[test]
fn stretches_of_a_text_do_not_overlap() {
    // Every character occurs once, so that a token tells its place.
    let text: String = (0..4000)
        .filter_map(|i| char::from_u32(0x4e00 + i))
        .collect();
    let text = Dataset::text(text.as_bytes(), 16).expect("a text");
    for order in [Order::Sequential, Order::Shuffled] {
        let mut seen = BTreeSet::new();
        for source in drawn(&text, Split::Even, 4, order, 500) {
            let own: BTreeSet<u32> = source.into_iter().flat_map(|(sample, _)| sample).collect();
            assert!(own.len() > 850, "{} of 900", own.len());
            assert!(own.into_iter().all(|token| seen.insert(token)), "{order:?}");
        }
    }
}

#[test]
fn what_cannot_be_divided_is_refused_with_advice() {
    let sums = Dataset::addition(9).expect("a context");
    assert_eq!(sums.share(Split::ByLabel, 0, 2), Err(ShareError::NoLabels));
    let rows: String = (0..20).map(|row| format!("{row},0\n")).collect();
    let table = Dataset::csv(rows.as_bytes()).expect("a table");
    let empty = table.share(Split::Even, 18, 19).expect_err("eighteen rows");
    assert!(empty.to_string().contains("source 19"), "{empty}");
    let text = Dataset::text("ab".repeat(40).as_bytes(), 4).expect("a text");
    assert!(matches!(
        text.share(Split::Even, 1, 60),
        Err(ShareError::Empty { number: 1, of: 60 })
    ));
}
