//! A QR code as a drawing.

use qrcode::{Color, QrCode};
use std::fmt::Write;

/// Modules of white around the code, without which readers do not find it (ISO/IEC 18004).
const QUIET: usize = 4;

/// A QR code, in modules.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QrDrawing {
    /// Width and height, with the white around it.
    pub size: usize,
    /// The dark modules, as the `d` of an SVG path.
    pub path: String,
}

impl QrDrawing {
    /// The code of a text; none for one that is too long for any.
    pub fn new(text: &str) -> Option<Self> {
        let code = QrCode::new(text).ok()?;
        let width = code.width();
        let modules = code.to_colors();
        let mut path = String::new();
        for (row, modules) in modules.chunks_exact(width).enumerate() {
            let mut column = 0;
            for run in modules.chunk_by(|a, b| a == b) {
                if run.first() == Some(&Color::Dark) {
                    let (x, y, length) = (column + QUIET, row + QUIET, run.len());
                    // A text takes whatever is written to it.
                    let _ = write!(path, "M{x} {y}h{length}v1h-{length}z");
                }
                column += run.len();
            }
        }
        Some(Self {
            size: width + 2 * QUIET,
            path,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_drawing_has_just_the_dark_modules_with_white_around_them() {
        let text = "https://192.168.1.7:8443/r/0123456789abcdef";
        let drawing = QrDrawing::new(text).expect("short");
        let code = QrCode::new(text).expect("short");
        assert_eq!(drawing.size, code.width() + 8);
        let mut dark = vec![vec![false; drawing.size]; drawing.size];
        for run in drawing.path.split('M').filter(|run| !run.is_empty()) {
            let numbers: Vec<usize> = run
                .split(|c: char| !c.is_ascii_digit())
                .filter_map(|number| number.parse().ok())
                .collect();
            let [x, y, length, 1, back] = numbers[..] else {
                panic!("{run}")
            };
            assert_eq!(length, back);
            dark[y][x..x + length].fill(true);
        }
        for (y, row) in dark.iter().enumerate() {
            for (x, dark) in row.iter().enumerate() {
                let inside = |i: usize| (4..code.width() + 4).contains(&i);
                let expected = inside(x) && inside(y) && code[(x - 4, y - 4)] == Color::Dark;
                assert_eq!(*dark, expected, "{x}, {y}");
            }
        }
    }

    #[test]
    fn a_text_that_is_too_long_is_not_drawn() {
        assert_eq!(QrDrawing::new(&"x".repeat(5000)), None);
    }
}
