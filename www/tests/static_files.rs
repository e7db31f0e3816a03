//! The files that are served beside the module.

use std::collections::BTreeMap;

const STYLE: &str = include_str!("../static/style.css");
const DARK: &str = include_str!("../static/dark.css");
const INDEX: &str = include_str!("../static/index.html");

/// The custom colours of a block of declarations, as red, green and blue.
fn colours(block: &str) -> BTreeMap<&str, [f64; 3]> {
    let declarations = block
        .lines()
        .filter_map(|line| line.trim().strip_suffix(';'));
    let pairs = declarations.filter_map(|line| line.split_once(": #"));
    pairs
        .filter(|(name, value)| name.starts_with("--") && value.len() == 6)
        .map(|(name, value)| {
            let channel = |at| u8::from_str_radix(&value[at..at + 2], 16).expect("hexadecimal");
            (name, [0, 2, 4].map(|at| f64::from(channel(at))))
        })
        .collect()
}

/// Light, and dark, which replaces some of it.
fn schemes() -> [BTreeMap<&'static str, [f64; 3]>; 2] {
    let block = |style: &'static str| {
        let blocks: Vec<&str> = style.split(":root {").skip(1).collect();
        assert_eq!(blocks.len(), 1, "each colour stands once");
        blocks[0].split('}').next().expect("a block")
    };
    let light = colours(block(STYLE));
    let mut dark = light.clone();
    dark.extend(colours(block(DARK)));
    [light, dark]
}

/// WCAG 2.2, "relative luminance" and "contrast ratio".
fn contrast(one: [f64; 3], other: [f64; 3]) -> f64 {
    let luminance = |colour: [f64; 3]| {
        let linear = colour.map(|channel| {
            let share = channel / 255.0;
            if share <= 0.04045 {
                share / 12.92
            } else {
                ((share + 0.055) / 1.055).powf(2.4)
            }
        });
        0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
    };
    let (a, b) = (luminance(one), luminance(other));
    (a.max(b) + 0.05) / (a.min(b) + 0.05)
}

#[test]
fn texts_stand_out_from_their_ground_in_both_colour_schemes() {
    // WCAG 2.2, 1.4.3: 4.5 for texts. 1.4.11: 3 for what has to be seen but not read.
    let pairs = [
        ("--ink", "--ground", 4.5),
        ("--ink", "--panel", 4.5),
        ("--ink", "--line", 4.5),
        ("--ink-soft", "--ground", 4.5),
        ("--ink-soft", "--panel", 4.5),
        ("--accent", "--ground", 4.5),
        ("--on-accent", "--accent", 4.5),
        ("--on-accent", "--accent-strong", 4.5),
        ("--accent-strong", "--accent-ground", 4.5),
        ("--ink", "--accent-ground", 4.5),
        ("--warning", "--ground", 4.5),
        ("--warning", "--warning-ground", 4.5),
        ("--ink", "--warning-ground", 4.5),
        ("--error", "--ground", 4.5),
        ("--error", "--error-ground", 4.5),
        ("--ink", "--error-ground", 4.5),
        ("--accent", "--panel", 3.0),
    ];
    for (scheme, colours) in ["light", "dark"].into_iter().zip(schemes()) {
        for (text, ground, least) in pairs {
            let colour = |name| {
                *colours
                    .get(name)
                    .unwrap_or_else(|| panic!("no {name} in {scheme}"))
            };
            let ratio = contrast(colour(text), colour(ground));
            assert!(
                ratio >= least,
                "{text} on {ground}, {scheme}: {ratio:.2} < {least}"
            );
        }
    }
}

#[test]
fn the_page_asks_for_nothing_that_its_security_policy_forbids() {
    for forbidden in [
        "style=", "<style", "onclick", "onload", "http://", "https://",
    ] {
        assert!(!INDEX.contains(forbidden), "{forbidden} in index.html");
    }
    for forbidden in ["@import", "http://", "https://", "@font-face"] {
        assert!(!STYLE.contains(forbidden), "{forbidden} in style.css");
        assert!(!DARK.contains(forbidden), "{forbidden} in dark.css");
    }
    for script in INDEX.split("<script").skip(1) {
        assert!(
            script.contains("src=\"/"),
            "a script of its own file: {script}"
        );
    }
}

#[test]
fn addresses_are_absolute_because_rooms_lie_in_a_folder() {
    for attribute in ["src=\"", "href=\""] {
        for value in INDEX.split(attribute).skip(1) {
            assert!(
                value.starts_with('/'),
                "{attribute}{}",
                &value[..value.len().min(20)]
            );
        }
    }
}
