//! Numbers as people read them.

/// Bytes with a decimal prefix and three digits or so: `0 B`, `999 B`, `1.5 kB`, `21.0 MB`.
pub(crate) fn bytes(bytes: u64) -> String {
    let units = ["kB", "MB", "GB", "TB", "PB", "EB"];
    if bytes < 1000 {
        return format!("{bytes} B");
    }
    let mut value = bytes as f64 / 1000.0;
    let mut unit = 0;
    // 999.95 would be shown as 1000.0 of the smaller unit.
    while value >= 999.95 && unit + 1 < units.len() {
        value /= 1000.0;
        unit += 1;
    }
    format!("{value:.1} {}", units[unit])
}

/// A share of 1 as a percentage: `93.8 %`.
pub(crate) fn percent(share: f32) -> String {
    format!("{:.1} %", share * 100.0)
}

/// A text cut to so many characters, with an ellipsis where something is missing. Control characters, which a remote
/// device could use to redraw our terminal, become spaces.
pub(crate) fn short(text: &str, chars_max: usize) -> String {
    let clean = |c: char| if c.is_control() { ' ' } else { c };
    let mut shown: String = text.chars().take(chars_max).map(clean).collect();
    if text.chars().nth(chars_max).is_some() {
        shown.pop();
        shown.push('…');
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_keep_their_order_of_magnitude() {
        let shown = [
            (0, "0 B"),
            (999, "999 B"),
            (1000, "1.0 kB"),
            (1_500_000, "1.5 MB"),
            (999_960, "1.0 MB"),
        ];
        for (count, text) in shown {
            assert_eq!(bytes(count), text);
        }
        assert_eq!(bytes(u64::MAX), "18.4 EB");
    }

    #[test]
    fn a_remote_text_is_cut_and_cannot_control_the_terminal() {
        assert_eq!(short("abc", 3), "abc");
        assert_eq!(short("abcd", 3), "ab…");
        assert_eq!(short("a\u{1b}[2Jb\n", 20), "a [2Jb ");
        assert_eq!(percent(0.9375), "93.8 %");
    }
}
