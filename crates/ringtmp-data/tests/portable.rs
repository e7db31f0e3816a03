//! The same samples natively and in a browser, bit for bit: both run these tests, against the same constants.

use ringtmp_data::{Batch, Dataset, IdxFiles, Order};

#[cfg(target_arch = "wasm32")]
wasm_bindgen_test::wasm_bindgen_test_configure!(run_in_browser);

#[cfg_attr(not(target_arch = "wasm32"), test)]
#[cfg_attr(target_arch = "wasm32", wasm_bindgen_test::wasm_bindgen_test)]
fn digits_are_the_same_on_every_platform() {
    let digits = Dataset::digits(1);
    let train = checksum(&digits.train(Order::Shuffled, 2, 1 << 40, 500));
    let test = checksum(&digits.test(0, 500));
    assert_eq!(
        [train, test],
        [0x4c54_cd94_fc96_2905, 0xf029_799b_c126_d389],
        "{train:#018x}, {test:#018x}"
    );
}

#[cfg_attr(not(target_arch = "wasm32"), test)]
#[cfg_attr(target_arch = "wasm32", wasm_bindgen_test::wasm_bindgen_test)]
fn a_shuffled_set_has_the_same_order_on_every_platform() {
    let mut images = vec![0, 0, 8, 3, 0, 0, 0, 100, 0, 0, 0, 1, 0, 0, 0, 1];
    images.extend(0..100);
    let mut labels = vec![0, 0, 8, 1, 0, 0, 0, 100];
    labels.extend((0..100).map(|index| index % 10));
    let files = IdxFiles {
        train: Some((images, labels)),
        test: None,
    };
    let set = Dataset::idx(files).expect("made well");
    let order = checksum(&set.train(Order::Shuffled, 3, 0, 1_000));
    assert_eq!(order, 0xb554_e947_cc9b_c9ef, "{order:#018x}");
}

/// FNV-1a over the bits of the inputs and the labels.
fn checksum(batch: &Batch) -> u64 {
    let words = batch
        .inputs
        .floats()
        .iter()
        .map(|input| input.to_bits())
        .chain(batch.labels.iter().copied());
    words
        .flat_map(u32::to_le_bytes)
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        })
}
