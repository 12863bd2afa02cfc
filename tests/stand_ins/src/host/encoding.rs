//! Messages as they lie in a queue: base64 or text, as `messageEncoding` says.
//!
//! Contract: <https://learn.microsoft.com/azure/azure-functions/functions-bindings-storage-queue#host-json>; the storage library's
//! limits are <https://learn.microsoft.com/rest/api/storageservices/put-message#remarks>.

use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig, STANDARD};
use base64::{Engine, alphabet};

use super::settings::Encoding;

/// A message's bytes of UTF-8 as it is sent.
const MAX_MESSAGE: usize = 64 * 1024;

/// A received message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Item {
    /// Its text.
    Text(String),
    /// Bytes that are not text: binding them to text fails.
    Bytes,
}

/// Decodes a message; `None` if it is not in the encoding that host.json requires.
pub(super) fn decode(raw: &str, encoding: Encoding) -> Option<Item> {
    match encoding {
        Encoding::None => Some(Item::Text(raw.to_owned())),
        Encoding::Base64 => Some(String::from_utf8(from_base64(raw)?).map_or(Item::Bytes, Item::Text)),
    }
}

/// Encodes a message's bytes as host.json requires; the error is the exception text.
pub(super) fn encode(bytes: &[u8], encoding: Encoding) -> Result<String, String> {
    let raw = match encoding {
        Encoding::None => String::from_utf8_lossy(bytes).into_owned(),
        Encoding::Base64 => STANDARD.encode(bytes),
    };
    if let Some(character) = raw.chars().find(|character| !may_be_in_xml(*character)) {
        let value = u32::from(character);
        return Err(format!("'{character}', hexadecimal value 0x{value:02X}, is an invalid character."));
    }
    if raw.len() > MAX_MESSAGE {
        return Err("The request body is too large and exceeds the maximum permissible limit.".to_owned());
    }
    Ok(raw)
}

/// Decodes base64 as .NET does: white space is ignored, and so are bits after the last byte.
/// <https://learn.microsoft.com/dotnet/api/system.convert.frombase64string>
pub(super) fn from_base64(text: &str) -> Option<Vec<u8>> {
    const LENIENT: GeneralPurpose =
        GeneralPurpose::new(&alphabet::STANDARD, GeneralPurposeConfig::new().with_decode_allow_trailing_bits(true));
    let compact: String = text.chars().filter(|character| !" \t\r\n".contains(*character)).collect();
    LENIENT.decode(compact).ok()
}

/// <https://www.w3.org/TR/xml/#charsets>
fn may_be_in_xml(character: char) -> bool {
    matches!(character, '\t' | '\n' | '\r' | ' '..='\u{d7ff}' | '\u{e000}'..='\u{fffd}' | '\u{10000}'..)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decoded(raw: &str, encoding: Encoding) -> Option<Result<String, ()>> {
        decode(raw, encoding).map(|item| match item {
            Item::Text(text) => Ok(text),
            Item::Bytes => Err(()),
        })
    }

    #[test]
    fn a_message_that_is_not_wrapped_is_not_read() {
        for (raw, base64, none) in [
            ("{\"a\":1}", None, "{\"a\":1}"),
            ("e30=", Some(Ok("{}")), "e30="),
            ("", Some(Ok("")), ""),
            ("//57fQ==", Some(Err(())), "//57fQ=="),
        ] {
            assert_eq!(decoded(raw, Encoding::Base64), base64.map(|text| text.map(str::to_owned)), "{raw}");
            assert_eq!(decoded(raw, Encoding::None), Some(Ok(none.to_owned())), "{raw}");
        }
    }

    #[test]
    fn a_message_may_have_64_kib_as_it_is_sent() {
        for (encoding, length) in [(Encoding::Base64, 49_152), (Encoding::None, 65_536)] {
            assert!(encode("<".repeat(length).as_bytes(), encoding).is_ok());
            assert!(encode("<".repeat(length + 1).as_bytes(), encoding).is_err());
        }
    }

    #[test]
    fn base64_is_read_as_dotnet_reads_it() {
        for (text, bytes) in
            [("YQ==", Some("a")), (" Y\r\nQ= =", Some("a")), ("YR==", Some("a")), ("YQ", None), ("Y_==", None)]
        {
            assert_eq!(from_base64(text).as_deref(), bytes.map(str::as_bytes), "{text}");
        }
    }

    #[test]
    fn what_xml_cannot_hold_is_not_sent_as_text() {
        for character in ["\u{fffe}", "\u{ffff}", "\u{1}", "i\u{fffd}\u{1d}"] {
            assert!(encode(character.as_bytes(), Encoding::None).is_err(), "{character:?}");
            assert!(encode(character.as_bytes(), Encoding::Base64).is_ok(), "{character:?}");
        }
        assert_eq!(encode(b"a\xff\r\n\t", Encoding::None), Ok("a\u{fffd}\r\n\t".to_owned()));
    }
}
