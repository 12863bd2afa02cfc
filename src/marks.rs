//! Where given bytes stand in a text, many bytes looked at together.
//!
//! For text whose marks stand a few bytes apart, as the quotes of JSON do; where they are rare, `memchr` is faster. Pure.

use memchr::memchr2;

/// Bytes that [`runs`] looks at together.
const BLOCK: usize = 64;

/// Words that are looked at before what is looked for is said to be rare.
const CLOSE: usize = 4;

const LOWEST: u64 = 0x0101_0101_0101_0101;
const HIGHEST: u64 = 0x8080_8080_8080_8080;

/// Multiplied with it, the lowest bits of a word's eight bytes stand together in the highest byte, the first byte's lowest.
const GATHER: u64 = 0x0102_0408_1020_4080;

/// Where each run of `wanted` begins: for one block of `bytes` after the other, where the block begins, and the bits of its
/// bytes, the first byte's lowest.
///
/// To find the next one does not have to wait for what is done with the last one, as a search from there on would.
pub(crate) fn runs(bytes: &[u8], wanted: u8) -> impl Iterator<Item = (usize, u64)> {
    let mut last = 0;
    bytes.chunks(BLOCK).enumerate().map(move |(nth, bytes)| {
        let found = match bytes.first_chunk() {
            Some(block) => all(block, wanted),
            None => all(&padded(bytes, !wanted), wanted),
        };
        let begins = found & !(found << 1 | last);
        last = found >> (BLOCK - 1);
        (nth * BLOCK, begins)
    })
}

/// The bytes of `block` that are `wanted`. Compilers compare sixteen of them at once.
fn all(block: &[u8; BLOCK], wanted: u8) -> u64 {
    let found = block.map(|byte| u8::from(byte == wanted));
    let (words, _) = found.as_chunks();
    let bits = words.iter().map(|word| u64::from_le_bytes(*word).wrapping_mul(GATHER) >> 56);
    bits.rev().fold(0, |behind, bits| behind << 8 | bits)
}

fn padded(bytes: &[u8], with: u8) -> [u8; BLOCK] {
    let mut block = [with; BLOCK];
    block[..bytes.len()].copy_from_slice(bytes);
    block
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

/// How many bytes of `word` stand before the first that is one of `wanted`; eight if none is.
fn before(word: [u8; 8], wanted: [u8; 2]) -> usize {
    let marks = wanted.into_iter().fold(0, |all, wanted| all | up_to_first(word, wanted));
    marks.trailing_zeros() as usize / 8
}

/// The bytes of `word` that are `wanted`: the lowest bit that is set stands in the first of them. Bits above it mean nothing.
/// <https://graphics.stanford.edu/~seander/bithacks.html#ZeroInWord>
fn up_to_first(word: [u8; 8], wanted: u8) -> u64 {
    let word = u64::from_le_bytes(word) ^ (LOWEST * u64::from(wanted));
    word.wrapping_sub(LOWEST) & !word & HIGHEST
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn beginnings(bytes: &[u8]) -> Vec<usize> {
        let of_block =
            |(base, bits): (usize, u64)| (0..BLOCK).filter(move |at| bits >> at & 1 == 1).map(move |at| base + at);
        runs(bytes, b'\\').flat_map(of_block).collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(2_000) })]

        #[test]
        fn it_is_where_a_look_at_each_byte_finds_it(
            word in proptest::array::uniform8(prop_oneof![b'!'..=b'#', b'['..=b']', 0xa1..=0xa3_u8, 0..=1_u8]),
        ) {
            let found = word.iter().position(|byte| matches!(byte, b'"' | b'\\')).unwrap_or(8);
            prop_assert_eq!(before(word, [b'"', b'\\']), found);
        }

        #[test]
        fn a_run_begins_where_the_byte_before_is_another(
            bytes in prop::collection::vec(prop_oneof![3 => Just(b'\\'), 1 => b'['..=b']', 1 => 0xdb..=0xdd_u8], 0..300),
        ) {
            let begins = |at: &usize| bytes[*at] == b'\\' && (*at == 0 || bytes[at - 1] != b'\\');
            prop_assert_eq!(beginnings(&bytes), (0..bytes.len()).filter(begins).collect::<Vec<_>>());
        }
    }

    #[test]
    fn a_run_over_the_end_of_a_block_begins_once() {
        for length in 0..200 {
            let begins: &[usize] = if length == 0 { &[] } else { &[0] };
            assert_eq!(beginnings(&vec![b'\\'; length]), begins, "{length}");
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
            assert_eq!(before(word, [b'"', b'\\']), at);
        }
        assert_eq!(before(*b"no quote", [b'"', b'\\']), 8);
    }
}
