//! Text as the database compares it.
//!
//! Dataverse's collations ignore case and trailing blanks always, and accents, width and kana in most languages. Two spellings of
//! one row must share a lock, so [`coarse`] ignores all of these. It may be coarser than the environment's collation: then two rows
//! share a lock, and one waits for the other. Where that would be wrong, [`fine`] ignores only what every collation ignores.
//!
//! <https://learn.microsoft.com/sql/relational-databases/collations/collation-and-unicode-support>

use icu_normalizer::DecomposingNormalizerBorrowed;
use icu_normalizer::properties::CanonicalCombiningClassMapBorrowed;

/// Without case and trailing blanks.
pub(super) fn fine(text: &str) -> String {
    let mut folded: String = without_case(text.chars()).collect();
    folded.truncate(folded.trim_end_matches(' ').len());
    folded
}

/// Without case, accents, width, kana and trailing blanks.
pub(super) fn coarse(text: &str) -> String {
    let marks = CanonicalCombiningClassMapBorrowed::new();
    let decomposed = DecomposingNormalizerBorrowed::new_nfkd().normalize_iter(text.chars());
    let letters = without_case(decomposed).filter(|letter| marks.get_u8(*letter) == 0);
    let mut folded = String::with_capacity(text.len());
    for letter in letters {
        match letter {
            // Letters that Unicode does not decompose, and these collations equate.
            'æ' => folded.push_str("ae"),
            'œ' => folded.push_str("oe"),
            'þ' => folded.push_str("th"),
            'ø' => folded.push('o'),
            'đ' | 'ð' => folded.push('d'),
            'ħ' => folded.push('h'),
            'ł' => folded.push('l'),
            // Hiragana as katakana.
            '\u{3041}'..='\u{3096}' => folded.extend(char::from_u32(u32::from(letter) + 0x60)),
            other => folded.push(other),
        }
    }
    folded.truncate(folded.trim_end_matches(' ').len());
    folded
}

/// By way of capitals: `ß` is `ss`, and both forms of a small sigma are one.
fn without_case(letters: impl Iterator<Item = char>) -> impl Iterator<Item = char> {
    letters.flat_map(char::to_uppercase).flat_map(char::to_lowercase)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spellings_that_some_collation_equates_are_one() {
        for (one, other) in [
            ("E-1", "e-1"),
            ("E-1", "E-1   "),
            ("Müller", "MULLER"),
            ("Mu\u{308}ller", "müller"),
            ("Straße", "STRASSE"),
            ("Σίσυφος", "ΣΊΣΥΦΟΣ"),
            ("Ａｃｍｅ\u{3000}", "acme"),
            ("İstanbul", "istanbul"),
            ("ｶﾞ", "が"),
            ("Æther Łódź Øre", "aether lodz ore"),
            ("ﬁn", "FIN"),
        ] {
            assert_eq!(coarse(one), coarse(other), "{one} {other}");
        }
    }

    #[test]
    fn only_case_and_trailing_blanks_are_ignored_by_every_collation() {
        for (one, other) in [("E-1", "e-1"), ("E-1", "e-1  "), ("MÜLLER", "müller")] {
            assert_eq!(fine(one), fine(other), "{one} {other}");
        }
        for (one, other) in [("Müller", "Muller"), ("Ａ", "A"), (" e", "e"), ("a b", "ab"), ("が", "ガ")] {
            assert_ne!(fine(one), fine(other), "{one} {other}");
        }
    }

    #[test]
    fn different_text_stays_different() {
        for (one, other) in [("a", "b"), (" a", "a"), ("a-1", "a1"), ("1", "01"), ("ы", "и")] {
            assert_ne!(coarse(one), coarse(other), "{one} {other}");
        }
    }
}
