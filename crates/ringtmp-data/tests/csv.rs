//! Tables, good and bad.
#![cfg(not(target_arch = "wasm32"))]

use proptest::prelude::*;
use ringtmp_data::{CsvError, Dataset, Order};

/// Rows whose first number is their place and whose label is that modulo 3.
fn rows(count: usize) -> String {
    (0..count)
        .map(|i| format!("{i},-0.5,{}\n", i % 3))
        .collect()
}

fn first_numbers(set: &Dataset, inputs: &[f32]) -> Vec<f32> {
    inputs
        .iter()
        .step_by(set.sample_shape()[0])
        .copied()
        .collect()
}

#[test]
fn every_tenth_row_is_held_out_and_the_rest_is_passed_over_in_order() {
    let set = Dataset::csv(rows(25).as_bytes()).expect("a table");
    assert_eq!((set.sample_shape(), set.classes()), (&[2][..], 3));
    assert_eq!((set.train_len(), set.test_len()), (Some(23), 2));
    let test = set.test(0, 10);
    assert_eq!(test.inputs.floats(), [9.0, -0.5, 19.0, -0.5]);
    assert_eq!(test.labels, [0, 1]);
    let train = set.train(Order::Sequential, 0, 0, 24);
    let expected = (0..25).filter(|i| ![9, 19].contains(i)).chain([0]);
    let expected: Vec<f32> = expected.map(|i| i as f32).collect();
    assert_eq!(first_numbers(&set, train.inputs.floats()), expected);
    let mut shuffled = first_numbers(&set, set.train(Order::Shuffled, 4, 0, 23).inputs.floats());
    assert_ne!(shuffled, expected[..23]);
    shuffled.sort_by(f32::total_cmp);
    assert_eq!(shuffled, expected[..23]);
}

#[test]
fn a_header_is_skipped_and_may_name_the_label() {
    let plain = Dataset::csv(rows(20).as_bytes()).expect("a table");
    let with = |head: &str| Dataset::csv(format!("{head}\n{}", rows(20)).as_bytes());
    let last = with("\u{feff}x,\"y, the second\",z").expect("a header");
    let batch = |set: &Dataset| set.train(Order::Sequential, 0, 0, 18);
    assert_eq!(batch(&last), batch(&plain));
    let first = with("Label,y,z").expect("a header");
    assert_eq!(first.classes(), 20, "the first column are labels now");
    assert_eq!(batch(&first).inputs.floats()[..2], [-0.5, 0.0]);
    assert_eq!(batch(&first).labels[..3], [0, 1, 2]);
}

#[test]
fn quotes_blanks_and_line_ends_of_other_systems_do_no_harm() {
    let plain = Dataset::csv(rows(20).as_bytes()).expect("a table");
    let other = rows(20)
        .replace(",-0.5,", " , \"-5e-1\" ,")
        .replace('\n', "\r\n\r\n");
    let other = Dataset::csv(other.as_bytes()).expect("a table");
    let batch = |set: &Dataset| set.train(Order::Sequential, 0, 0, 18);
    assert_eq!(batch(&other), batch(&plain));
}

#[test]
fn a_table_that_cannot_be_used_is_refused_with_the_line() {
    let refused = |text: &str| Dataset::csv(text.as_bytes()).expect_err("bad");
    let after = |line: &str| refused(&format!("a,b,c\n1,2,0\n\n{line}\n"));
    let (line, text) = (4, "x".to_owned());
    assert_eq!(
        after("1,x,0"),
        CsvError::Number {
            line,
            column: 2,
            text
        }
    );
    for label in ["-1", "1.5", "65536", "", "x"] {
        let error = CsvError::Label {
            line,
            column: 3,
            text: label.to_owned(),
        };
        assert_eq!(after(&format!("1,2,{label}")), error);
    }
    for number in ["nan", "inf", "1e40", ""] {
        assert!(matches!(
            after(&format!("{number},2,0")),
            CsvError::Number { line: 4, .. }
        ));
    }
    assert_eq!(
        after("1,2"),
        CsvError::Ragged {
            line,
            found: 2,
            expected: 3
        }
    );
    assert_eq!(after("1,\"2,0"), CsvError::Quote { line });
    assert_eq!(after("1,\"2\"3,0"), CsvError::Quote { line });
    assert_eq!(refused(""), CsvError::TooFew { rows: 0 });
    assert_eq!(
        refused("1;2;3"),
        CsvError::Columns {
            line: 1,
            columns: 1
        }
    );
    assert_eq!(refused(&rows(9)), CsvError::TooFew { rows: 9 });
    let wide = refused(&",".repeat(100_000));
    assert!(matches!(wide, CsvError::Columns { line: 1, .. }));
    assert_eq!(
        Dataset::csv(b"1,2\n\xff,0").expect_err("bad"),
        CsvError::NotUtf8 { line: 2 }
    );
    assert!(
        after(&format!("{},2,0", "y".repeat(100_000)))
            .to_string()
            .len()
            < 200
    );
}

proptest! {
    #[test]
    fn no_bytes_panic_and_what_is_read_can_be_drawn(
        bytes in proptest::collection::vec(any::<u8>(), 0..300),
        text in "([0-9a-z\",. \n-]{0,12}[,\n]){0,60}",
        cells in proptest::collection::vec((any::<f32>(), 0u32..9), 0..40),
    ) {
        let table: String = cells.iter().map(|(x, label)| format!("{x},{label}\n")).collect();
        for bytes in [&bytes[..], text.as_bytes(), table.as_bytes()] {
            let Ok(set) = Dataset::csv(bytes) else { continue };
            let batch = set.train(Order::Shuffled, 1, u64::MAX - 2, 5);
            prop_assert_eq!(batch.inputs.floats().len(), 5 * set.sample_shape()[0]);
            prop_assert!(batch.labels.iter().all(|label| (*label as usize) < set.classes()));
            prop_assert_eq!(set.test(0, u32::MAX).len(), set.test_len() as usize);
        }
    }
}
