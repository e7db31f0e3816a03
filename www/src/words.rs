//! Every text the page shows, in English and in German: `page`, `room` and `write` are the table, `sentences` and `visit` have what is
//! put together from parts. One more language is one more column.
//!
//! Two texts lie elsewhere because nothing else can show them: `static/index.html` says that a browser is too old to
//! run this module at all, and errors of the crates below carry their own words, which are English.

mod page;
mod room;
mod sentences;
mod team;
mod visit;
mod write;

pub use page::*;
pub use room::*;
pub use sentences::*;
pub use team::*;
pub use visit::*;
pub use write::*;

use std::sync::atomic::{AtomicU8, Ordering};

/// The languages there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Language {
    /// English.
    #[default]
    English,
    /// German.
    German,
}

/// The language that this page, or this worker, speaks now.
static SPOKEN: AtomicU8 = AtomicU8::new(0);

impl Language {
    /// The one whose tag (as `de-AT`) is this; none if it is another.
    pub fn of_tag(tag: &str) -> Option<Self> {
        match tag.split('-').next()?.to_ascii_lowercase().as_str() {
            "en" => Some(Self::English),
            "de" => Some(Self::German),
            _ => None,
        }
    }

    /// Its tag.
    pub const fn tag(self) -> &'static str {
        match self {
            Self::English => "en",
            Self::German => "de",
        }
    }

    /// Its own name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::English => "English",
            Self::German => "Deutsch",
        }
    }

    /// The other one.
    pub const fn other(self) -> Self {
        match self {
            Self::English => Self::German,
            Self::German => Self::English,
        }
    }
}

/// From now on all texts are in this language.
pub fn speak(language: Language) {
    SPOKEN.store(language as u8, Ordering::Relaxed);
}

/// The language of all texts.
pub fn spoken() -> Language {
    match SPOKEN.load(Ordering::Relaxed) {
        1 => Language::German,
        _ => Language::English,
    }
}

/// A text in every language.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Text {
    english: &'static str,
    german: &'static str,
}

impl Text {
    /// In the language that is spoken.
    pub fn now(self) -> &'static str {
        match spoken() {
            Language::English => self.english,
            Language::German => self.german,
        }
    }
}

/// The table: name, English, German.
macro_rules! texts {
    ($($name:ident: $english:literal, $german:literal;)*) => {
        $(pub const $name: Text = Text { english: $english, german: $german };)*
        #[cfg(test)]
        pub(super) const ALL: &[(&str, Text)] = &[$((stringify!($name), $name)),*];
    };
}
pub(crate) use texts;

/// A sentence with parts, in the language that is spoken.
macro_rules! say {
    ($english:literal, $german:literal) => {
        match $crate::words::spoken() {
            $crate::words::Language::English => format!($english),
            $crate::words::Language::German => format!($german),
        }
    };
}
pub(crate) use say;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_text_is_there_in_every_language() {
        let all = || page::ALL.iter().chain(room::ALL).chain(write::ALL);
        for (name, Text { english, german }) in all() {
            assert!(
                !english.trim().is_empty() && !german.trim().is_empty(),
                "{name}"
            );
            assert_eq!(english.ends_with('.'), german.ends_with('.'), "{name}");
        }
        let translated = all().filter(|(_, text)| text.english != text.german);
        assert!(translated.count() > all().count() * 9 / 10);
    }

    #[test]
    fn languages_are_known_by_the_tags_of_browsers() {
        assert_eq!(Language::of_tag("de-AT"), Some(Language::German));
        assert_eq!(Language::of_tag("EN"), Some(Language::English));
        assert_eq!(Language::of_tag("fr-FR"), None);
        for language in [Language::English, Language::German] {
            assert_eq!(Language::of_tag(language.tag()), Some(language));
            assert_eq!(language.other().other(), language);
        }
    }
}
