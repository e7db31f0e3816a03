//! What a client accepts and what it already has: the request headers `Accept-Encoding` and `If-None-Match`
//! (RFC 9110, sections 12.5.3 and 13.1.2).

/// How a body is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Encoding {
    Brotli,
    Gzip,
    Identity,
}

impl Encoding {
    /// The name in `Content-Encoding`; none for the plain body.
    pub(crate) fn name(self) -> Option<&'static str> {
        match self {
            Self::Brotli => Some("br"),
            Self::Gzip => Some("gzip"),
            Self::Identity => None,
        }
    }
}

/// The best of the encodings `available` (best first) that the client takes. The plain body is always available, and is
/// also what a client gets that takes nothing we have: a page that arrives beats a 406.
pub(crate) fn choose(accept: Option<&str>, available: &[Encoding]) -> Encoding {
    let Some(accept) = accept else {
        return Encoding::Identity;
    };
    let mut best = (0, Encoding::Identity);
    for encoding in available {
        let Some(name) = encoding.name() else {
            continue;
        };
        let weight = weight_of(accept, name);
        if weight > best.0 {
            best = (weight, *encoding);
        }
    }
    let identity_preferred = names(accept, "identity").is_some_and(|weight| weight > best.0);
    if identity_preferred {
        Encoding::Identity
    } else {
        best.1
    }
}

/// How much the client likes an encoding, in thousandths: its own entry, else that of `*`, else 0.
fn weight_of(accept: &str, name: &str) -> u16 {
    names(accept, name)
        .or_else(|| names(accept, "*"))
        .unwrap_or(0)
}

/// The weight of the entry of this very name.
fn names(accept: &str, name: &str) -> Option<u16> {
    accept.split(',').find_map(|entry| {
        let mut parts = entry.split(';').map(str::trim);
        let named = parts
            .next()
            .is_some_and(|coding| coding.eq_ignore_ascii_case(name));
        let quality = parts.find_map(|part| part.strip_prefix("q=").or(part.strip_prefix("Q=")));
        named.then(|| quality.map_or(1000, thousandths))
    })
}

/// A quality such as `0.8` in thousandths; what is no number counts as 0.
fn thousandths(quality: &str) -> u16 {
    let value: f32 = quality.trim().parse().unwrap_or(0.0);
    // The cast saturates, and turns NaN into 0.
    (value.clamp(0.0, 1.0) * 1000.0) as u16
}

/// Whether one of the tags in `If-None-Match` is this one, compared weakly.
pub(crate) fn client_has(if_none_match: Option<&str>, etag: &str) -> bool {
    let strong = |tag: &str| tag.trim().trim_start_matches("W/").to_owned();
    if_none_match.is_some_and(|tags| {
        tags.trim() == "*" || tags.split(',').any(|tag| strong(tag) == strong(etag))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: &[Encoding] = &[Encoding::Brotli, Encoding::Gzip];

    #[test]
    fn the_best_encoding_that_the_client_takes_is_chosen() {
        assert_eq!(choose(None, ALL), Encoding::Identity);
        assert_eq!(choose(Some(""), ALL), Encoding::Identity);
        assert_eq!(
            choose(Some("gzip, deflate, br, zstd"), ALL),
            Encoding::Brotli
        );
        assert_eq!(choose(Some("gzip, deflate"), ALL), Encoding::Gzip);
        assert_eq!(choose(Some("br;q=0, gzip;q=0.5"), ALL), Encoding::Gzip);
        assert_eq!(choose(Some("br;q=0.2, gzip;q=0.9"), ALL), Encoding::Gzip);
        assert_eq!(choose(Some("BR"), ALL), Encoding::Brotli);
        assert_eq!(choose(Some("*"), ALL), Encoding::Brotli);
        assert_eq!(choose(Some("*;q=0.5, br;q=0"), ALL), Encoding::Gzip);
        assert_eq!(
            choose(Some("identity;q=1, br;q=0.5"), ALL),
            Encoding::Identity
        );
        assert_eq!(choose(Some("br"), &[]), Encoding::Identity);
    }

    #[test]
    fn nonsense_in_accept_encoding_gives_the_plain_body() {
        for nonsense in ["br;q=NaN", "br;q=-1", "br;q=x", ";;;,,,", "br;q="] {
            assert_eq!(
                choose(Some(nonsense), ALL),
                Encoding::Identity,
                "{nonsense}"
            );
        }
    }

    #[test]
    fn a_tag_is_found_in_a_list_and_compared_weakly() {
        assert!(client_has(Some("\"a\", W/\"b\""), "\"b\""));
        assert!(client_has(Some("*"), "\"b\""));
        assert!(client_has(Some("\"b\""), "W/\"b\""));
        assert!(!client_has(Some("\"a\""), "\"b\""));
        assert!(!client_has(Some("b"), "\"b\""));
        assert!(!client_has(None, "\"b\""));
    }
}
