//! Characters by number.

use std::collections::BTreeSet;

/// The most characters that are told apart: more than any script writes, few enough for two bytes.
pub const VOCABULARY_MAX: usize = 1 << 16;

/// What stands for a number that names no character.
const UNKNOWN: char = '\u{fffd}';

/// The characters of a text, numbered in the order of their code points.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Vocabulary {
    /// Ascending, each once.
    characters: Vec<char>,
}

impl Vocabulary {
    /// The characters of a text; `None` if they are more than [`VOCABULARY_MAX`].
    pub(crate) fn of(text: &str) -> Option<Self> {
        let mut characters = BTreeSet::new();
        for character in text.chars() {
            characters.insert(character);
            if characters.len() > VOCABULARY_MAX {
                return None;
            }
        }
        Some(Self {
            characters: characters.into_iter().collect(),
        })
    }

    /// How many characters.
    pub fn len(&self) -> usize {
        self.characters.len()
    }

    /// Whether there is no character.
    pub fn is_empty(&self) -> bool {
        self.characters.is_empty()
    }

    /// The numbers of a text's characters; the first character that has none is the error.
    ///
    /// # Errors
    ///
    /// A character that the text behind this vocabulary does not contain.
    pub fn encode(&self, text: &str) -> Result<Vec<u32>, char> {
        text.chars()
            .map(|character| self.token(character).ok_or(character))
            .collect()
    }

    /// The text that these numbers stand for; a number that names no character becomes U+FFFD.
    pub fn decode(&self, tokens: &[u32]) -> String {
        let character = |token: &u32| self.characters.get(*token as usize).unwrap_or(&UNKNOWN);
        tokens.iter().map(character).collect()
    }

    fn token(&self, character: char) -> Option<u32> {
        let place = self.characters.binary_search(&character).ok()?;
        Some(place as u32)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn characters_are_numbered_by_code_point_and_read_back() {
        let vocabulary = Vocabulary::of("ba→a\n").expect("a few characters");
        assert_eq!(vocabulary.len(), 4);
        assert_eq!(vocabulary.encode("\nab→"), Ok(vec![0, 1, 2, 3]));
        assert_eq!(vocabulary.encode("abc"), Err('c'));
        assert_eq!(
            vocabulary.decode(&[3, 2, 4, u32::MAX]),
            "→b\u{fffd}\u{fffd}"
        );
        assert!(Vocabulary::of("").is_some_and(|none| none.is_empty()));
    }

    #[test]
    fn more_characters_than_two_bytes_number_are_refused() {
        let all = |count| ('\0'..=char::MAX).take(count).collect::<String>();
        let most = Vocabulary::of(&all(VOCABULARY_MAX)).expect("as many as there may be");
        assert_eq!(most.len(), VOCABULARY_MAX);
        assert_eq!(Vocabulary::of(&all(VOCABULARY_MAX + 1)), None);
    }
}
