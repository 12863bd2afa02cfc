//! Eight bytes at a time: where one of them is a given one.
//!
//! For text whose marks stand a few bytes apart, as the quotes of JSON do; where they are rare, `memchr` is faster. Pure.

use memchr::memchr2;

/// Words that are looked at before what is looked for is said to be rare.
pub(crate) const CLOSE: usize = 4;

const LOWEST: u64 = 0x0101_0101_0101_0101;
const HIGHEST: u64 = 0x8080_8080_8080_8080;

/// The bytes of `word` that are `wanted`: the lowest bit that is set stands in the first of them. Bits above it mean nothing.
/// <https://graphics.stanford.edu/~seander/bithacks.html#ZeroInWord>
fn marks(word: [u8; 8], wanted: u8) -> u64 {
    let word = u64::from_le_bytes(word) ^ (LOWEST * u64::from(wanted));
    word.wrapping_sub(LOWEST) & !word & HIGHEST
}

/// How many bytes of `word` stand before the first that is one of `wanted`; eight if none is.
pub(crate) fn before<const N: usize>(word: [u8; 8], wanted: [u8; N]) -> usize {
    let marks = wanted.into_iter().fold(0, |all, wanted| all | marks(word, wanted));
    marks.trailing_zeros() as usize / 8
}

/// Where the first byte of `bytes` stands that is one of two.
pub(crate) fn first(bytes: &[u8], wanted: [u8; 2]) -> Option<usize> {
    let (words, _) = bytes.as_chunks();
    let close = words.iter().take(CLOSE);
    let mut at = 0;
    for word in close {
        match before(*word, wanted) {
            8 => at += 8,
            plain => return Some(at + plain),
        }
    }
    memchr2(wanted[0], wanted[1], &bytes[at..]).map(|further| at + further)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(2_000) })]

        #[test]
        fn it_is_where_a_look_at_each_byte_finds_it(
            word in proptest::array::uniform8(prop_oneof![b'!'..=b'#', b'['..=b']', 0xa1..=0xa3_u8, 0..=1_u8]),
        ) {
            let found = word.iter().position(|byte| matches!(byte, b'"' | b'\\')).unwrap_or(8);
            prop_assert_eq!(before(word, [b'"', b'\\']), found);
            prop_assert_eq!(before(word, [b'\\']), word.iter().position(|byte| *byte == b'\\').unwrap_or(8));
        }
    }

    #[test]
    fn a_byte_is_found_near_and_far_and_where_there_is_none_none_is() {
        for length in 0..80 {
            let mut text = vec![b' '; length];
            assert_eq!(first(&text, [b'"', b'\\']), None);
            for at in (0..length).rev() {
                text[at] = if at % 2 == 0 { b'"' } else { b'\\' };
                assert_eq!(first(&text, [b'"', b'\\']), Some(at));
            }
        }
    }

    #[test]
    fn a_byte_is_found_in_every_place_and_of_several_the_first() {
        for at in 0..8 {
            let mut word = [b' '; 8];
            word[at..].fill(b'"');
            assert_eq!(before(word, [b'"']), at);
        }
        assert_eq!(before(*b"no quote", [b'"', b'\\']), 8);
    }
}
