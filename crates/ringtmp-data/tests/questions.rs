//! Files of samples whose class is asked for.

#![cfg(not(target_arch = "wasm32"))]

use proptest::prelude::*;
use ringtmp_data::{CsvError, IdxError, Questions};

#[test]
fn rows_are_read_with_and_without_labels_and_others_refused_with_the_line() {
    let bare = Questions::csv(b"1,2\n3,4.5\n", 2).expect("two numbers a row");
    let expected = Questions {
        numbers: vec![1.0, 2.0, 3.0, 4.5],
        columns: 2,
        labels: None,
    };
    assert_eq!(bare, expected);
    let labelled = Questions::csv(b"class,x,y\n7,1,2\n0,3,4.5\n", 2).expect("a label beside them");
    assert_eq!(labelled.numbers, expected.numbers);
    assert_eq!(labelled.labels, Some(vec![7, 0]));
    let refused = |text: &str| Questions::csv(text.as_bytes(), 2).expect_err("bad");
    let cells = |found| CsvError::Cells {
        line: 1,
        found,
        needed: 2,
    };
    assert_eq!(refused("1\n"), cells(1));
    assert_eq!(refused("1,2,3,4\n"), cells(4));
    assert_eq!(refused(""), CsvError::TooFew { rows: 0 });
    assert!(matches!(
        refused("1,2\n1,2,3\n"),
        CsvError::Ragged { line: 2, .. }
    ));
    assert!(matches!(
        refused("1,2\n1,x\n"),
        CsvError::Number { line: 2, .. }
    ));
}

#[test]
fn images_are_read_as_ink_and_a_cut_file_is_refused() {
    let mut file = vec![0, 0, 8, 3, 0, 0, 0, 2, 0, 0, 0, 1, 0, 0, 0, 2];
    file.extend([0, 255, 51, 0]);
    let images = Questions::images(&file).expect("two images of one by two pixels");
    assert_eq!(images.numbers, [0.0, 1.0, 0.2, 0.0]);
    assert_eq!((images.columns, images.labels), (2, None));
    file.pop();
    let cut = Questions::images(&file).expect_err("a pixel is missing");
    assert!(matches!(cut, IdxError::CutShort { .. }), "{cut}");
}

proptest! {
    #[test]
    fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..200), columns in 1usize..9) {
        if let Ok(questions) = Questions::csv(&bytes, columns) {
            prop_assert!(questions.numbers.len().is_multiple_of(columns));
        }
        let _ = Questions::images(&bytes);
    }
}
