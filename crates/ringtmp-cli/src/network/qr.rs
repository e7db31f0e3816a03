//! A QR code of characters, two modules in each.

use qrcode::{Color, QrCode};

/// Modules of white around the code, without which readers do not find it (ISO/IEC 18004).
const QUIET: i32 = 4;

/// White on black, whatever the terminal's colours are: light modules are drawn, dark ones left out.
const COLOURS: (&str, &str) = ("\x1b[38;5;231;48;5;16m", "\x1b[0m");

/// The lines of a QR code; none for a text that is too long for one. Without colours it is right on a dark background.
pub(super) fn drawing(text: &str, colours: bool) -> Vec<String> {
    let Ok(code) = QrCode::new(text) else {
        return Vec::new();
    };
    let modules = code.to_colors();
    let width = i32::try_from(code.width()).unwrap_or(0);
    let inside = 0..width;
    let light = |x: i32, y: i32| {
        if !inside.contains(&x) || !inside.contains(&y) {
            return true;
        }
        let index = usize::try_from(y * width + x).unwrap_or(usize::MAX);
        modules.get(index) != Some(&Color::Dark)
    };
    let (begin, end) = if colours { COLOURS } else { ("", "") };
    let rows = (-QUIET..width + QUIET).step_by(2);
    rows.map(|y| {
        let characters = (-QUIET..width + QUIET).map(|x| match (light(x, y), light(x, y + 1)) {
            (true, true) => '█',
            (true, false) => '▀',
            (false, true) => '▄',
            (false, false) => ' ',
        });
        format!("{begin}{}{end}", characters.collect::<String>())
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The modules that a drawing shows: true where it is dark.
    fn modules(lines: &[String]) -> Vec<Vec<bool>> {
        let halves = lines.iter().flat_map(|line| {
            let half = |lit: [char; 2]| line.chars().map(|c| !lit.contains(&c)).collect();
            [half(['█', '▀']), half(['█', '▄'])]
        });
        halves.collect()
    }

    #[test]
    fn what_is_drawn_is_the_code_with_white_around_it() {
        let text = "https://192.168.1.7:8443/r/0123456789abcdef";
        let drawn = modules(&drawing(text, false));
        let code = QrCode::new(text).expect("short");
        let (width, quiet) = (code.width(), 4);
        assert!(drawn.iter().all(|row| row.len() == width + 2 * quiet));
        for (y, row) in drawn.iter().enumerate() {
            for (x, dark) in row.iter().enumerate() {
                let inside = |i: usize| (quiet..width + quiet).contains(&i);
                let expected =
                    inside(x) && inside(y) && code[(x - quiet, y - quiet)] == Color::Dark;
                assert_eq!(*dark, expected, "{x}, {y}");
            }
        }
        let coloured = drawing(text, true);
        assert!(
            coloured
                .iter()
                .all(|line| line.starts_with('\x1b') && line.ends_with("\x1b[0m"))
        );
    }

    #[test]
    fn a_text_that_is_too_long_is_not_drawn() {
        assert!(drawing(&"x".repeat(5000), false).is_empty());
    }
}
