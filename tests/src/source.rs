//! Reads Rust source as far as tidiness needs: which lines are code, and where functions begin and end.

use std::ops::Range;

/// A function in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Function {
    /// Its name.
    pub name: String,
    /// Its lines, from `fn` to the closing brace, counting from 1.
    pub lines: Range<usize>,
}

/// The source with everything blanked out that is not code: comments, and what is between the quotes of texts and
/// characters. Lines and columns (in bytes) stay where they are.
pub fn code_only(source: &str) -> String {
    let bytes = source.as_bytes();
    let mut code = bytes.to_vec();
    let mut i = 0;
    while i < bytes.len() {
        let end = skipped(bytes, i);
        for byte in &mut code[i..end.unwrap_or(i)] {
            if *byte != b'\n' {
                *byte = b' ';
            }
        }
        i = end.unwrap_or(i + 1);
    }
    // Whole characters are blanked or none, so this loses nothing.
    String::from_utf8_lossy(&code).into_owned()
}

/// Where the comment or literal that begins at `i` ends, if one does.
fn skipped(bytes: &[u8], i: usize) -> Option<usize> {
    let rest = &bytes[i..];
    let after_word = i > 0 && is_word(bytes[i - 1]);
    match rest {
        [b'/', b'/', ..] => Some(
            i + rest
                .iter()
                .position(|byte| *byte == b'\n')
                .unwrap_or(rest.len()),
        ),
        [b'/', b'*', ..] => Some(i + block_comment(rest)),
        [b'"', ..] => Some(i + quoted(rest, 1)),
        [b'r' | b'b' | b'c', ..] if !after_word => prefixed_literal(rest).map(|length| i + length),
        [b'\'', ..] => character(rest).map(|length| i + length),
        _ => None,
    }
}

/// The length of a block comment; they nest.
fn block_comment(rest: &[u8]) -> usize {
    let (mut depth, mut i) = (0, 0);
    while i < rest.len() {
        match &rest[i..] {
            [b'/', b'*', ..] => (depth, i) = (depth + 1, i + 2),
            [b'*', b'/', ..] => (depth, i) = (depth - 1, i + 2),
            _ => i += 1,
        }
        if depth == 0 {
            return i;
        }
    }
    rest.len()
}

/// The length of a text with escapes, whose first quote is before `i`.
fn quoted(rest: &[u8], mut i: usize) -> usize {
    while i < rest.len() {
        match rest[i] {
            b'\\' => i += 2,
            b'"' => return i + 1,
            _ => i += 1,
        }
    }
    rest.len()
}

/// The length of `r"..."`, `r#"..."#`, `b"..."`, `br"..."`, `c"..."` and so on.
fn prefixed_literal(rest: &[u8]) -> Option<usize> {
    let letters = rest
        .iter()
        .take(2)
        .take_while(|byte| matches!(byte, b'r' | b'b' | b'c'))
        .count();
    let raw = rest[..letters].contains(&b'r');
    let hashes = rest[letters..]
        .iter()
        .take_while(|byte| **byte == b'#')
        .count();
    let start = letters + hashes;
    if rest.get(start) != Some(&b'"') || (hashes > 0 && !raw) {
        return None;
    }
    if !raw {
        return Some(quoted(rest, start + 1));
    }
    let close: Vec<u8> = std::iter::once(b'"')
        .chain(std::iter::repeat_n(b'#', hashes))
        .collect();
    let body = &rest[start + 1..];
    let length = body.windows(close.len()).position(|window| window == close);
    Some(length.map_or(rest.len(), |length| start + 1 + length + close.len()))
}

/// The length of a character, if it is one and not a lifetime.
fn character(rest: &[u8]) -> Option<usize> {
    if rest.get(1) == Some(&b'\\') {
        let close = rest.iter().skip(3).position(|byte| *byte == b'\'')?;
        return Some(close + 4);
    }
    // At most four bytes of UTF-8 between the quotes.
    let close = rest
        .iter()
        .skip(2)
        .take(4)
        .position(|byte| *byte == b'\'')?;
    let is_one =
        std::str::from_utf8(&rest[1..close + 2]).is_ok_and(|text| text.chars().count() == 1);
    is_one.then_some(close + 3)
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

/// Blanks out the items marked `#[cfg(test)]`, in code without comments and literals.
pub fn without_tests(code: &str) -> String {
    let mut bytes = code.as_bytes().to_vec();
    let mark = "#[cfg(test)]";
    let mut from = 0;
    while let Some(start) = code[from..].find(mark).map(|at| from + at) {
        let item = start + mark.len();
        let end = item_end(code.as_bytes(), item);
        for byte in &mut bytes[start..end] {
            if *byte != b'\n' {
                *byte = b' ';
            }
        }
        from = end;
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Where the item that begins at `i` ends: after its `;`, or after the brace that closes its first one.
fn item_end(code: &[u8], i: usize) -> usize {
    let mut nested = 0_u32;
    for (at, byte) in code.iter().enumerate().skip(i) {
        match byte {
            b'(' | b'[' => nested += 1,
            b')' | b']' => nested = nested.saturating_sub(1),
            b';' if nested == 0 => return at + 1,
            b'{' if nested == 0 => return closing_brace(code, at),
            _ => {}
        }
    }
    code.len()
}

/// The place after the brace that closes the one at `open`.
fn closing_brace(code: &[u8], open: usize) -> usize {
    let mut depth = 0_u32;
    for (at, byte) in code.iter().enumerate().skip(open) {
        match byte {
            b'{' => depth += 1,
            b'}' if depth == 1 => return at + 1,
            b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    code.len()
}

/// The functions with bodies, in code without comments and literals.
pub fn functions(code: &str) -> Vec<Function> {
    let bytes = code.as_bytes();
    let line_of = |at: usize| 1 + bytes[..at].iter().filter(|byte| **byte == b'\n').count();
    let mut found = Vec::new();
    for (at, _) in code.match_indices("fn ") {
        if at > 0 && is_word(bytes[at - 1]) {
            continue;
        }
        let name: String = code[at + 3..]
            .chars()
            .take_while(|c| c.is_alphanumeric() || *c == '_')
            .collect();
        let end = item_end(bytes, at);
        // `fn(..)` is a type, and a declaration in a trait ends in a semicolon.
        if !name.is_empty() && bytes[end - 1] == b'}' {
            found.push(Function {
                name,
                lines: line_of(at)..line_of(end - 1) + 1,
            });
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_and_literals_are_blanked_and_lifetimes_are_not() {
        let source = r##"let a = "todo!()"; // todo!()
/* todo!() /* nested */ todo!() */ let b: &'static str = r#"x " todo!()"#;
let c = ('"', '\'', b'{', 'é'); let d: &'a u8;"##;
        let code = code_only(source);
        assert!(!code.contains("todo"), "{code}");
        assert!(code.contains("let b: &'static str ="), "{code}");
        assert!(
            code.contains("let d: &'a u8;") && !code.contains('{'),
            "{code}"
        );
        assert_eq!(code.lines().count(), source.lines().count());
    }

    #[test]
    fn functions_are_measured_from_their_name_to_their_last_brace() {
        let code = "impl A {\n    fn one(&self) -> [u8; 3] {\n        if x { y }\n    }\n    fn declared(&self);\n}\nfn two() {}\n";
        let expected = [("one", 2..5), ("two", 7..8)];
        let found = functions(code);
        let found: Vec<_> = found
            .iter()
            .map(|function| (function.name.as_str(), function.lines.clone()))
            .collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn items_for_tests_are_left_out() {
        let code = "fn a() {}\n#[cfg(test)]\nmod tests;\n#[cfg(test)]\nmod more {\n    fn b() {}\n}\nfn c() {}\n";
        let names: Vec<_> = functions(&without_tests(code))
            .into_iter()
            .map(|function| function.name)
            .collect();
        assert_eq!(names, ["a", "c"]);
    }
}
