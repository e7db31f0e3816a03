//! Numbers as people read them, in the language that is spoken: everything is first written as English has it.

use crate::words::{self, Language, spoken};
use ringtmp_core::ids::ShortCode;

/// A number as English writes it, in the language that is spoken.
pub fn local(english: &str) -> String {
    in_language(spoken(), english)
}

/// `1,234.5%` as `1.234,5 %` (DIN 1333 and 5008), where that is how numbers are written.
fn in_language(language: Language, english: &str) -> String {
    match language {
        Language::English => english.to_owned(),
        Language::German => {
            let mut text = String::with_capacity(english.len() + 2);
            for letter in english.chars() {
                match letter {
                    ',' => text.push('.'),
                    '.' => text.push(','),
                    // It does not stand alone on the next line.
                    '%' => text.push_str("\u{a0}%"),
                    other => text.push(other),
                }
            }
            text
        }
    }
}

/// `1234567` as `1,234,567`.
pub fn count(value: u64) -> String {
    local(&grouped(value))
}

fn grouped(value: u64) -> String {
    let digits = value.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Bytes in decimal units, three digits: `512 B`, `1.23 MB`.
pub fn bytes(value: u64) -> String {
    const UNITS: [&str; 5] = ["kB", "MB", "GB", "TB", "PB"];
    if value < 1000 {
        return format!("{value} B");
    }
    let mut scaled = value as f64 / 1000.0;
    let mut unit = 0;
    // 999.5 would be written as "1000".
    while scaled >= 999.5 && unit + 1 < UNITS.len() {
        scaled /= 1000.0;
        unit += 1;
    }
    let number = three_digits(scaled);
    format!("{} {}", local(&number), UNITS[unit])
}

/// Events a second: `12.3`, `4,567`; nothing for what is no rate.
pub fn rate(per_second: f64) -> Option<String> {
    if !per_second.is_finite() || per_second < 0.0 {
        return None;
    }
    Some(if per_second >= 999.5 {
        count(per_second.round() as u64)
    } else {
        local(&three_digits(per_second))
    })
}

/// Bytes a second: `1.23 MB`; nothing for what is no rate.
pub fn byte_rate(per_second: f64) -> Option<String> {
    (per_second.is_finite() && per_second >= 0.0).then(|| bytes(per_second.round() as u64))
}

/// A loss: `2.303`, `0.0123`.
pub fn loss(value: f32) -> String {
    if !value.is_finite() {
        let text = if value.is_nan() {
            words::NUMBER_NOT_ONE
        } else {
            words::NUMBER_INFINITE
        };
        return text.now().to_owned();
    }
    local(&match value {
        value if value.abs() >= 1e6 => format!("{value:.1e}"),
        value if value.abs() >= 0.1 || value == 0.0 => format!("{value:.3}"),
        value if value.abs() >= 1e-4 => format!("{value:.4}"),
        value => format!("{value:.1e}"),
    })
}

/// A share of one as a percentage: `97.1%`.
pub fn percent(share: f32) -> String {
    if share.is_finite() {
        local(&format!("{:.1}%", share * 100.0))
    } else {
        words::NUMBER_NOT_ONE.now().to_owned()
    }
}

/// A share of one as a percentage without digits behind the point: `97%`.
pub fn percent_whole(share: f64) -> String {
    local(&format!("{:.0}%", share.clamp(0.0, 1.0) * 100.0))
}

/// A duration: `0.8 s`, `38 s`, `2 min 05 s`, `1 h 02 min`.
pub fn duration(seconds: f64) -> String {
    if !seconds.is_finite() || seconds < 0.0 {
        return words::TIME_UNKNOWN.now().to_owned();
    }
    if seconds < 9.95 {
        return local(&format!("{seconds:.1} s"));
    }
    let whole = seconds.round() as u64;
    match whole {
        0..60 => format!("{whole} s"),
        60..3600 => format!("{} min {:02} s", whole / 60, whole % 60),
        _ => format!("{} h {:02} min", whole / 3600, whole % 3600 / 60),
    }
}

/// The start of a text, with an ellipsis if it is longer than `characters_max`.
pub fn shorten(text: &str, characters_max: usize) -> String {
    if text.chars().count() <= characters_max {
        return text.to_owned();
    }
    let kept: String = text
        .chars()
        .take(characters_max.saturating_sub(1))
        .collect();
    format!("{}…", kept.trim_end())
}

/// A text as a sentence of its own: with a capital letter in front and a full stop at the end.
pub fn sentence(text: &str) -> String {
    let text = text.trim();
    let mut letters = text.chars();
    let Some(first) = letters.next() else {
        return String::new();
    };
    let stop = if text.ends_with(['.', '!', '?']) {
        ""
    } else {
        "."
    };
    format!("{}{}{stop}", first.to_uppercase(), letters.as_str())
}

/// A number under 1000 with three significant digits.
fn three_digits(value: f64) -> String {
    match value {
        value if value >= 99.95 => format!("{value:.0}"),
        value if value >= 9.995 => format!("{value:.1}"),
        value => format!("{value:.2}"),
    }
}

/// A room's short code in two groups, as it is read aloud.
pub fn short_code(code: ShortCode) -> String {
    let text = code.to_string();
    let (first, second) = text.split_at(text.len() / 2);
    format!("{first}-{second}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_short_code_is_shown_in_two_groups() {
        let code: ShortCode = "abc234".parse().expect("a short code");
        assert_eq!(short_code(code), "ABC-234");
        assert_eq!(short_code(code).parse(), Ok(code));
    }

    #[test]
    fn german_has_its_own_separators_and_a_space_before_the_percent_sign() {
        let german = |text| in_language(Language::German, text);
        assert_eq!(german("1,234,567"), "1.234.567");
        assert_eq!(german("97.1%"), "97,1\u{a0}%");
        assert_eq!(german("1.2e-5"), "1,2e-5");
        assert_eq!(in_language(Language::English, "1,234.5%"), "1,234.5%");
    }

    #[test]
    fn counts_are_grouped_by_thousands() {
        let cases = [
            (0, "0"),
            (999, "999"),
            (1000, "1,000"),
            (235_146, "235,146"),
            (1_234_567, "1,234,567"),
        ];
        for (value, text) in cases {
            assert_eq!(count(value), text);
        }
    }

    #[test]
    fn bytes_show_three_digits_and_never_a_thousand_of_a_unit() {
        let cases = [
            (999, "999 B"),
            (1000, "1.00 kB"),
            (12_340, "12.3 kB"),
            (999_499, "999 kB"),
            (999_600, "1.00 MB"),
            (34_500_000, "34.5 MB"),
            (u64::MAX, "18447 PB"),
        ];
        for (value, text) in cases {
            assert_eq!(bytes(value), text);
        }
    }

    #[test]
    fn what_is_no_rate_is_not_shown_as_one() {
        assert_eq!(rate(f64::NAN), None);
        assert_eq!(rate(f64::INFINITY), None);
        assert_eq!(rate(-1.0), None);
        assert_eq!(rate(12.345).as_deref(), Some("12.3"));
        assert_eq!(rate(4567.4).as_deref(), Some("4,567"));
        assert_eq!(byte_rate(1.5e6).as_deref(), Some("1.50 MB"));
        assert_eq!(byte_rate(f64::NAN), None);
    }

    #[test]
    fn a_loss_keeps_its_leading_digits_and_names_what_is_no_number() {
        let cases = [
            (2.3456, "2.346"),
            (0.0, "0.000"),
            (0.012_34, "0.0123"),
            (0.000_012, "1.2e-5"),
            (f32::NAN, "not a number"),
        ];
        for (value, text) in cases {
            assert_eq!(loss(value), text);
        }
    }

    #[test]
    fn durations_use_the_units_that_fit() {
        let cases = [
            (0.84, "0.8 s"),
            (9.97, "10 s"),
            (38.2, "38 s"),
            (59.7, "1 min 00 s"),
            (125.0, "2 min 05 s"),
            (3725.0, "1 h 02 min"),
        ];
        for (seconds, text) in cases {
            assert_eq!(duration(seconds), text);
        }
        assert_eq!(duration(f64::NAN), "an unknown time");
    }

    #[test]
    fn an_errors_words_become_a_sentence() {
        assert_eq!(sentence("there is no room"), "There is no room.");
        assert_eq!(sentence("Is it full?"), "Is it full?");
        assert_eq!(sentence(" 2 devices. "), "2 devices.");
        assert_eq!(sentence(""), "");
    }

    #[test]
    fn a_long_name_is_cut_by_characters_with_an_ellipsis() {
        assert_eq!(shorten("Chromium on Linux", 17), "Chromium on Linux");
        assert_eq!(shorten("Chromium on Linux", 10), "Chromium…");
        assert_eq!(shorten("öäüöäü", 3), "öä…");
    }
}
