//! A name for this device, from what its browser says of itself.

use ringtmp_core::signal::Form;

/// Browsers, the more particular before those whose names they also carry.
const BROWSERS: [(&str, &str); 8] = [
    ("Edg", "Edge"),
    ("OPR/", "Opera"),
    ("SamsungBrowser", "Samsung Internet"),
    ("Firefox", "Firefox"),
    ("FxiOS", "Firefox"),
    ("CriOS", "Chrome"),
    ("Chrome", "Chrome"),
    ("Safari", "Safari"),
];

/// Systems, the more particular first.
const SYSTEMS: [(&str, &str); 7] = [
    ("iPhone", "iPhone"),
    ("iPad", "iPad"),
    ("Android", "Android"),
    ("CrOS", "ChromeOS"),
    ("Windows", "Windows"),
    ("Mac OS X", "Mac"),
    ("Linux", "Linux"),
];

/// A name such as "Chrome on Android". Only a name: nothing depends on it.
pub fn device_name(user_agent: &str) -> String {
    let find = |table: &[(&str, &'static str)]| {
        table
            .iter()
            .find(|(sign, _)| user_agent.contains(sign))
            .map(|(_, name)| *name)
    };
    crate::words::device_name(find(&BROWSERS), find(&SYSTEMS))
}

/// The shorter side, in CSS pixels, from which a device that is used with fingers is larger than a hand: where Android draws this line.
const TABLET_PIXELS_MIN: i32 = 600;

/// What a device looks like that is mostly used with fingers, or not, and has a screen with so short a side.
pub const fn form(with_fingers: bool, shorter_side: i32) -> Form {
    match (with_fingers, shorter_side < TABLET_PIXELS_MIN) {
        (false, _) => Form::Computer,
        (true, true) => Form::Phone,
        (true, false) => Form::Tablet,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn usual_browsers_are_named_as_people_know_them() {
        let cases = [
            (
                "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/156.0.0.0 Safari/537.36",
                "Chrome on Linux",
            ),
            (
                "Mozilla/5.0 (Linux; Android 16; Pixel 9) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/156.0.0.0 Mobile Safari/537.36",
                "Chrome on Android",
            ),
            (
                "Mozilla/5.0 (iPhone; CPU iPhone OS 26_0 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/26.0 Mobile/15E148 Safari/604.1",
                "Safari on iPhone",
            ),
            (
                "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/156.0.0.0 Safari/537.36 Edg/156.0.0.0",
                "Edge on Windows",
            ),
            (
                "Mozilla/5.0 (X11; Linux x86_64; rv:153.0) Gecko/20100101 Firefox/153.0",
                "Firefox on Linux",
            ),
            ("", "Browser"),
        ];
        for (user_agent, name) in cases {
            assert_eq!(device_name(user_agent), name);
        }
    }

    #[test]
    fn what_is_used_with_fingers_is_a_phone_or_a_tablet_by_its_size() {
        assert_eq!(form(true, 390), Form::Phone);
        assert_eq!(form(true, 600), Form::Tablet);
        assert_eq!(form(false, 390), Form::Computer);
    }
}
