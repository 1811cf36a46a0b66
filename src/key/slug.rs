//! The slug rule: any text → a path segment of `[a-z0-9-]`.

use std::fmt::Write as _;

use sha2::{Digest as _, Sha256};

/// Longest slug in bytes. An object key may have 1,024 bytes in S3, so a path of eight key columns still fits.
pub const MAX_SLUG_LEN: usize = 100;

/// Hexadecimal digits of the value's SHA-256 that stand in for what a slug can't show.
const FINGERPRINT_LEN: usize = 10;

/// Returns the path segment of a text: transliterated to ASCII, lower case, runs of anything else as one `-`.
///
/// `United States` → `united-states`, `São Paulo` → `sao-paulo`, `Санкт-Петербург` → `sankt-peterburg`. A text of
/// which nothing is left (punctuation only) gives `x-` and a fingerprint of the text, and one that is longer than
/// [`MAX_SLUG_LEN`] is cut and ends in a fingerprint, so that two long texts with one beginning stay apart.
pub fn slug(text: &str) -> String {
    let mut slug = String::with_capacity(text.len());
    for c in deunicode::deunicode(text).chars() {
        if c.is_ascii_alphanumeric() {
            slug.push(c.to_ascii_lowercase());
        } else if c == '\'' {
            // An apostrophe joins what it stands between: `Côte d'Ivoire` is `cote-divoire`.
        } else if !slug.is_empty() && !slug.ends_with('-') {
            slug.push('-');
        }
    }
    slug.truncate(slug.trim_end_matches('-').len());
    if slug.is_empty() {
        return format!("x-{}", fingerprint(text));
    }
    if slug.len() > MAX_SLUG_LEN {
        slug.truncate(MAX_SLUG_LEN - FINGERPRINT_LEN - 1);
        slug.truncate(slug.trim_end_matches('-').len());
        slug.push('-');
        slug.push_str(&fingerprint(text));
    }
    slug
}

/// Says whether a text may stand in a path as it is: `[a-z0-9-]`, not empty, at most [`MAX_SLUG_LEN`] bytes.
pub fn is_slug(text: &str) -> bool {
    !text.is_empty()
        && text.len() <= MAX_SLUG_LEN
        && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
}

fn fingerprint(text: &str) -> String {
    let digest = Sha256::digest(text.as_bytes());
    let mut hex = String::with_capacity(FINGERPRINT_LEN);
    for byte in &digest[..FINGERPRINT_LEN / 2] {
        let _ = write!(hex, "{byte:02x}");
    }
    hex
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn known_values() {
        for (text, expected) in [
            ("United States", "united-states"),
            ("CRISPR", "crispr"),
            ("São Paulo", "sao-paulo"),
            ("Zürich", "zurich"),
            ("苏州", "su-zhou"),
            ("宿州", "su-zhou"),
            ("Санкт-Петербург", "sankt-peterburg"),
            ("Côte d'Ivoire", "cote-divoire"),
            ("AC/DC", "ac-dc"),
            ("  a  b  ", "a-b"),
        ] {
            assert_eq!(slug(text), expected, "{text}");
        }
    }

    #[test]
    fn nothing_left_gives_a_fingerprint_and_different_texts_stay_apart() {
        assert!(slug("!!!").starts_with("x-"));
        assert_ne!(slug("!!!"), slug("???"));
        let long = "a".repeat(300);
        assert_ne!(slug(&format!("{long}1")), slug(&format!("{long}2")));
    }

    proptest! {
        #[test]
        fn every_slug_is_a_slug_and_its_own_slug(text in ".{1,400}") {
            let first = slug(&text);
            prop_assert!(is_slug(&first), "{first:?}");
            prop_assert_eq!(slug(&first), first);
        }
    }
}
