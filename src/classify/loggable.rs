//! What of an answer may be logged: the code's name in Microsoft's lists, and missing privileges. The rest of its text can hold column
//! values.

use std::collections::BTreeSet;

use super::codes::CODES;
use crate::dataverse::Error;

/// Most characters of a privilege's name, which holds a table's name.
const MAX_NAME_LENGTH: usize = 140;

/// Most privileges of one answer.
const MAX_PRIVILEGES: usize = 4;

/// Such as `PrivilegeDenied prvCreateContact`.
pub(crate) fn loggable_names(fault: &Error) -> Option<String> {
    let Error::Answered { code, message, .. } = fault else { return None };
    let name = CODES.iter().find(|(known, ..)| Some(*known) == *code).map(|(_, name, ..)| *name);
    let words = message.as_deref().unwrap_or_default().split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    let privileges: BTreeSet<_> = words.filter(|word| is_privilege(word)).collect();
    let names: Vec<_> =
        name.into_iter().filter(|name| !name.is_empty()).chain(privileges.into_iter().take(MAX_PRIVILEGES)).collect();
    (!names.is_empty()).then(|| names.join(" "))
}

/// <https://learn.microsoft.com/power-apps/developer/data-platform/security-access-coding#privileges>
fn is_privilege(word: &str) -> bool {
    word.strip_prefix("prv").is_some_and(|name| name.starts_with(|c: char| c.is_ascii_uppercase()))
        && word.len() <= MAX_NAME_LENGTH
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(code: u32, text: &str) -> Option<String> {
        loggable_names(&Error::answered(403, Some(code), Some(text)))
    }

    #[test]
    fn names_the_code_and_the_privileges_and_quotes_nothing_else() {
        let denied = "Principal user (Id=0c7b3f3e-1111-4222-8333-444455550000, type=8) is missing prvReadAccount, prvReadAccount \
                      and prvAppendnew_thing privileges (Id=7) on OTC=2 for entity 'Ada'. provided prv prvx";
        let expected = "PrivilegeDenied prvAppendnew_thing prvReadAccount";
        assert_eq!(named(0x8004_0220, denied).as_deref(), Some(expected));
        assert_eq!(named(0x8007_2560, "Ada").as_deref(), Some("UserNotMemberOfOrg"));
        assert_eq!(named(0x8123_4567, "Ada"), None);
        let many = "prvR1 prvR2 prvR3 prvR4 prvR5 ".to_owned() + &format!("prvA{}", "a".repeat(200));
        assert_eq!(named(0x8123_4567, &many).as_deref(), Some("prvR1 prvR2 prvR3 prvR4"));
        assert_eq!(loggable_names(&Error::Ambiguous), None);
    }
}
