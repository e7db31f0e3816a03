//! Writes a picture of digits as the project draws them: two rows for each class.
//!
//! `cargo run -p ringtmp-data --example contact_sheet -- [FILE.png] [SEED]`

use flate2::{Compression, Crc, write::ZlibEncoder};
use ringtmp_data::{CLASSES, DataSpec, Dataset, Order};
use std::error::Error;
use std::io::Write;

/// Digits in a row of the sheet.
const COLUMNS: usize = 32;

/// Rows for each class.
const ROWS: usize = 2;

/// Pixels between digits.
const GAP: usize = 2;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let path = arguments.next().unwrap_or_else(|| "digits.png".to_owned());
    let seed = arguments.next().map_or(Ok(0), |seed| seed.parse())?;

    let digits = Dataset::digits(seed);
    let [rows, columns] = digits.image_shape().ok_or("digits are pictures")?;
    let [cell_height, cell_width] = [rows + GAP, columns + GAP];
    let width = COLUMNS * cell_width;
    let mut sheet = vec![0; CLASSES * ROWS * cell_height * width];
    // Every ten samples in a row hold each class once.
    let batch = digits.train(
        Order::Sequential,
        seed,
        0,
        (CLASSES * COLUMNS * ROWS) as u32,
    );
    let mut drawn = [0; CLASSES];
    for (picture, label) in batch
        .inputs
        .floats()
        .chunks(rows * columns)
        .zip(&batch.labels)
    {
        let class = *label as usize;
        let (row, column) = (
            class * ROWS + drawn[class] / COLUMNS,
            drawn[class] % COLUMNS,
        );
        drawn[class] += 1;
        for (y, line) in picture.chunks(columns).enumerate() {
            let start = (row * cell_height + y) * width + column * cell_width;
            for (pixel, ink) in sheet[start..start + columns].iter_mut().zip(line) {
                *pixel = (ink * 255.0).round() as u8;
            }
        }
    }
    std::fs::write(&path, png(&sheet, width)?)?;
    println!("{path}: {} of seed {seed}", DataSpec::Digits);
    Ok(())
}

/// A grey picture of 8 bits a pixel as a PNG file (W3C, "Portable Network Graphics", third edition).
fn png(pixels: &[u8], width: usize) -> Result<Vec<u8>, Box<dyn Error>> {
    let mut header = Vec::new();
    header.extend(u32::try_from(width)?.to_be_bytes());
    header.extend(u32::try_from(pixels.len() / width)?.to_be_bytes());
    // Eight bits, grey, deflate, the standard filters, not interlaced.
    header.extend([8, 0, 0, 0, 0]);

    let mut packed = ZlibEncoder::new(Vec::new(), Compression::default());
    for line in pixels.chunks(width) {
        // No filter.
        packed.write_all(&[0])?;
        packed.write_all(line)?;
    }

    let mut file = b"\x89PNG\r\n\x1a\n".to_vec();
    for (name, content) in [
        (b"IHDR", header),
        (b"IDAT", packed.finish()?),
        (b"IEND", Vec::new()),
    ] {
        let mut checksum = Crc::new();
        checksum.update(name);
        checksum.update(&content);
        file.extend(u32::try_from(content.len())?.to_be_bytes());
        file.extend(name);
        file.extend(content);
        file.extend(checksum.sum().to_be_bytes());
    }
    Ok(file)
}
