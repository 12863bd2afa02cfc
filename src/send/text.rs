//! A file's text as UTF-8, without its byte order mark, read piece by piece.
//!
//! Only encodings that Windows programs write are known. What is malformed is an error; it is never replaced.

use std::char::decode_utf16;
use std::io::{self, Chain, Cursor, Read};

use clap::ValueEnum;
use serde::Serialize;

/// How a file's characters are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Encoding {
    /// UTF-8; with or without a byte order mark.
    #[value(name = "utf-8")]
    Utf8,
    /// UTF-16, little-endian unless its byte order mark says otherwise.
    #[value(name = "utf-16")]
    Utf16,
    /// Western European, as Excel's "CSV" in many countries.
    #[value(name = "windows-1252")]
    Windows1252,
}

/// Bytes that are decoded at once; even.
const PIECE: u64 = 8 * 1024;

/// The characters of the bytes 0x80 to 0x9f; the other bytes are those of Unicode.
/// <https://encoding.spec.whatwg.org/index-windows-1252.txt>
const WINDOWS_1252: [char; 32] = [
    '€', '\u{81}', '‚', 'ƒ', '„', '…', '†', '‡', 'ˆ', '‰', 'Š', '‹', 'Œ', '\u{8d}', 'Ž', '\u{8f}', '\u{90}', '‘', '’',
    '“', '”', '•', '–', '—', '˜', '™', 'š', '›', 'œ', '\u{9d}', 'ž', 'Ÿ',
];

/// What has been read of a file to find its byte order mark, and the rest.
type Input<R> = Chain<Cursor<Vec<u8>>, R>;

/// A file's text in UTF-8. UTF-8 itself passes through unchecked.
pub(super) enum Text<R> {
    Utf8(Input<R>),
    Decoded { input: Input<R>, decode: fn(&[u8]) -> io::Result<String>, piece: Cursor<Vec<u8>> },
}

impl<R: Read> Text<R> {
    /// Reads `input` in this encoding, else in that of its byte order mark, else as UTF-8.
    pub(super) fn new(mut input: R, encoding: Option<Encoding>) -> io::Result<Self> {
        let mut head = Vec::new();
        input.by_ref().take(3).read_to_end(&mut head)?;
        let (marked, length) = match head[..] {
            [0xef, 0xbb, 0xbf] => (Some(Encoding::Utf8), 3),
            [0xff, 0xfe, ..] | [0xfe, 0xff, ..] => (Some(Encoding::Utf16), 2),
            _ => (None, 0),
        };
        let encoding = encoding.or(marked).unwrap_or(Encoding::Utf8);
        let is_big_endian = head.starts_with(&[0xfe, 0xff]);
        let length = if marked == Some(encoding) { length } else { 0 };
        let input = Cursor::new(head.split_off(length)).chain(input);
        let decode = match encoding {
            Encoding::Utf8 => return Ok(Self::Utf8(input)),
            Encoding::Utf16 if is_big_endian => |piece: &[u8]| utf_16(piece, u16::from_be_bytes),
            Encoding::Utf16 => |piece: &[u8]| utf_16(piece, u16::from_le_bytes),
            Encoding::Windows1252 => windows_1252,
        };
        Ok(Self::Decoded { input, decode, piece: Cursor::default() })
    }
}

impl<R: Read> Read for Text<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Utf8(input) => input.read(buffer),
            Self::Decoded { input, decode, piece } => {
                let read = piece.read(buffer)?;
                if read > 0 || buffer.is_empty() {
                    return Ok(read);
                }
                *piece = Cursor::new(next_piece(input, *decode)?);
                piece.read(buffer)
            }
        }
    }
}

fn next_piece(input: &mut impl Read, decode: fn(&[u8]) -> io::Result<String>) -> io::Result<Vec<u8>> {
    let mut piece = Vec::new();
    input.take(PIECE).read_to_end(&mut piece)?;
    // A pair of surrogates is not divided between two pieces.
    let decoded = decode(&piece)
        .or_else(|error| if input.take(2).read_to_end(&mut piece)? == 0 { Err(error) } else { decode(&piece) });
    decoded.map(String::into_bytes)
}

fn utf_16(piece: &[u8], unit: fn([u8; 2]) -> u16) -> io::Result<String> {
    let malformed = || io::Error::new(io::ErrorKind::InvalidData, "it is not UTF-16; name its --encoding");
    let (units, rest) = piece.as_chunks::<2>();
    let text: Result<String, _> = decode_utf16(units.iter().map(|bytes| unit(*bytes))).collect();
    text.ok().filter(|_| rest.is_empty()).ok_or_else(malformed)
}

#[expect(clippy::unnecessary_wraps, reason = "one of several decoders")]
fn windows_1252(piece: &[u8]) -> io::Result<String> {
    let character = |byte: &u8| match byte {
        0x80..=0x9f => WINDOWS_1252[usize::from(byte - 0x80)],
        _ => char::from(*byte),
    };
    Ok(piece.iter().map(character).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(bytes: &[u8], encoding: Option<Encoding>) -> io::Result<String> {
        let mut text = String::new();
        Text::new(bytes, encoding)?.read_to_string(&mut text).map(|_| text)
    }

    fn utf_16(text: &str, bytes: fn(u16) -> [u8; 2]) -> Vec<u8> {
        text.encode_utf16().flat_map(bytes).collect()
    }

    #[test]
    fn a_byte_order_mark_names_the_encoding_and_is_left_out() {
        let text = "ä;€;🙂\r\n";
        let marked = format!("\u{feff}{text}");
        for bytes in [
            text.as_bytes().to_vec(),
            marked.clone().into_bytes(),
            utf_16(&marked, u16::to_le_bytes),
            utf_16(&marked, u16::to_be_bytes),
        ] {
            assert_eq!(read(&bytes, None).expect("text"), text, "{bytes:?}");
        }
        assert_eq!(read(&utf_16(text, u16::to_le_bytes), Some(Encoding::Utf16)).expect("text"), text);
        assert_eq!(read(&utf_16(&marked, u16::to_be_bytes), Some(Encoding::Utf16)).expect("text"), text);
        for short in ["", "a", "ab", "abc"] {
            assert_eq!(read(short.as_bytes(), None).expect("text"), short);
        }
    }

    #[test]
    fn windows_1252_has_its_own_characters_between_those_of_unicode() {
        let bytes = b"M\xfcller \x80 \x84Zo\xeb\x93 \x9f\x81";
        assert_eq!(read(bytes, Some(Encoding::Windows1252)).expect("text"), "Müller € „Zoë“ Ÿ\u{81}");
    }

    #[test]
    fn a_pair_of_surrogates_may_lie_between_two_pieces() {
        let text = format!("a{}", "🙂".repeat(10_000));
        assert_eq!(read(&utf_16(&text, u16::to_le_bytes), Some(Encoding::Utf16)).expect("text"), text);
    }

    #[test]
    fn what_is_malformed_is_an_error() {
        for bytes in [&b"\xff\xfea"[..], b"\xff\xfe\x00\xd8", b"\xff\xfe\x00\xdcaa", b"\xff\xfe\x00\xd8a\x00"] {
            let error = read(bytes, None).expect_err("malformed");
            assert!(error.to_string().contains("--encoding"), "{error}");
        }
        assert!(read(b"M\xfcller", None).is_err());
    }
}
