//! Where the runs of one byte begin in a text, many bytes looked at together.
//!
//! For text in which they stand a few bytes apart, as the quotes of JSON do; where they are rare, `memchr` is faster. Pure.

/// Bytes that are looked at together.
const BLOCK: usize = 64;

/// Multiplied with it, the lowest bits of a word's eight bytes stand together in the highest byte, the first byte's lowest.
const GATHER: u64 = 0x0102_0408_1020_4080;

/// Where each run of `wanted` begins: for one block of `bytes` after the other, where the block begins, and the bits of its
/// bytes, the first byte's lowest.
///
/// To find the next one does not have to wait for what is done with the last one, as a search from there on would.
pub(super) fn runs(bytes: &[u8], wanted: u8) -> impl Iterator<Item = (usize, u64)> {
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
}
