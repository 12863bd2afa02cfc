//! Dataverse's error codes as data.
//!
//! From <https://learn.microsoft.com/power-apps/developer/data-platform/reference/web-service-error-codes>, and
//! <https://learn.microsoft.com/power-apps/developer/data-platform/api-limits> for the limits.

/// What a refusal says, whatever was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Meaning {
    /// A unique key is taken: ours or another.
    DuplicateKey,
    /// A deleted row that can still be restored has the key.
    InRecycleBin,
    /// The row is not as it was read.
    VersionMismatch,
    /// A duplicate-detection rule.
    DuplicateDetected,
    /// A row is missing: ours, or one that a lookup is bound to.
    RowMissing,
    /// No such entity set.
    UnknownTable,
    /// The data can never be stored.
    InvalidData,
    /// The catch-all code: one more try is fair.
    Unclear,
    /// The payload.
    TooLarge,
    /// Another transaction won.
    Deadlock,
    /// It may work later.
    Busy,
    /// Service protection.
    Throttled,
    /// Our identity; an operator can mend it.
    Unauthorized,
}

/// Code and meaning; the comments say what the service calls them, where it has one name for them.
pub(super) const CODES: [(u32, Meaning); 56] = [
    (0x8004_0237, Meaning::DuplicateKey), // DuplicateRecord
    (0x8006_0892, Meaning::DuplicateKey), // DuplicateRecordEntityKey
    (0x8007_3002, Meaning::DuplicateKey), // some unique constraint
    (0x8004_3239, Meaning::InRecycleBin),
    (0x8006_0882, Meaning::VersionMismatch),   // ConcurrencyVersionMismatch
    (0x8004_0333, Meaning::DuplicateDetected), // DuplicateRecordsFound
    (0x8004_0217, Meaning::RowMissing),        // by id
    (0x8006_0891, Meaning::RowMissing),        // by alternate key
    (0x8006_088A, Meaning::UnknownTable),
    (0x8006_0883, Meaning::InvalidData), // a row version is required
    (0x8006_088D, Meaning::InvalidData), // the table has no optimistic concurrency
    (0x8006_0890, Meaning::InvalidData), // key attributes
    (0x8004_8D19, Meaning::InvalidData), // undeclared navigation property, bad payload
    (0x8004_4331, Meaning::InvalidData), // too long
    (0x8004_4330, Meaning::InvalidData), // out of range
    (0x8004_431A, Meaning::InvalidData), // choice
    (0x8004_0239, Meaning::InvalidData), // date
    (0x8004_0278, Meaning::InvalidData), // control characters
    (0x8004_0203, Meaning::InvalidData), // argument
    (0x8004_0265, Meaning::InvalidData), // a plug-in refused
    (0x8004_0216, Meaning::Unclear),     // the catch-all
    (0x8004_4151, Meaning::Busy),        // SQL timeout
    (0x8004_0255, Meaning::Busy),        // transaction rolled back
    (0x8004_4339, Meaning::Busy),        // lock not obtained
    (0x8004_A001, Meaning::Busy),        // server busy
    // Connections and throttled queries.
    (0x8007_3000, Meaning::Busy),
    (0x8004_8551, Meaning::Busy),
    (0x8004_8559, Meaning::Busy),
    (0x8004_8561, Meaning::Busy),
    (0x8004_8562, Meaning::Busy),
    (0x8004_8563, Meaning::Busy),
    (0x8004_8544, Meaning::Busy),
    (0x8005_0544, Meaning::Busy),
    // Upgrades, solution imports, administration mode: these last.
    (0x8004_8543, Meaning::Busy),
    (0x8004_8553, Meaning::Busy),
    (0x8004_F061, Meaning::Busy),
    (0x8004_F062, Meaning::Busy),
    (0x8004_F063, Meaning::Busy),
    (0x8004_F064, Meaning::Busy),
    (0x8004_F065, Meaning::Busy),
    (0x8004_F066, Meaning::Busy),
    (0x8004_F067, Meaning::Busy),
    (0x8007_1154, Meaning::Busy),
    (0x8007_1151, Meaning::Busy),
    (0x8004_A113, Meaning::Busy),
    (0x8007_2322, Meaning::Throttled),    // requests in 300 s
    (0x8007_2321, Meaning::Throttled),    // execution time in 300 s
    (0x8007_2326, Meaning::Throttled),    // requests at once
    (0x8004_0220, Meaning::Unauthorized), // privilege
    (0x8004_2F09, Meaning::Unauthorized), // no role
    (0x8004_8306, Meaning::Unauthorized),
    (0x8007_2560, Meaning::Unauthorized), // not a member of the organisation
    (0x8004_A101, Meaning::Unauthorized), // expired
    (0x8004_0277, Meaning::Unauthorized),
    (0x8009_5FFC, Meaning::Unauthorized),
    (0x8004_A112, Meaning::Unauthorized),
];

/// SQL errors share a code; the number of a deadlock's victim is in the text.
const SQL_ERROR: u32 = 0x8004_4150;
const DEADLOCK: &str = "sql number: 1205";

/// Texts that stand for a code where the code is empty.
const TEXTS: [(&str, Meaning); 5] = [
    ("a record with matching key values already exists", Meaning::DuplicateKey),
    ("a record with the same value for", Meaning::DuplicateKey),
    ("doesn't match the rowversion property provided", Meaning::VersionMismatch),
    ("because a duplicate of the current record already exists", Meaning::DuplicateDetected),
    (DEADLOCK, Meaning::Deadlock),
];

/// Says that a row is missing under a 404, and that a property is under a 400.
const MISSING: &str = "does not exist";

/// What a code says, if it is known.
pub(super) fn meaning_of_code(code: u32, message: &str) -> Option<Meaning> {
    if code == SQL_ERROR {
        return Some(if message.to_ascii_lowercase().contains(DEADLOCK) { Meaning::Deadlock } else { Meaning::Busy });
    }
    CODES.iter().find(|(known, _)| *known == code).map(|(_, meaning)| *meaning)
}

/// What a text says when there is no code.
pub(super) fn meaning_of_text(status: u16, message: &str) -> Option<Meaning> {
    // These are about our identity or our pace, whatever they quote.
    if matches!(status, 401 | 403 | 429) {
        return None;
    }
    let message = message.to_ascii_lowercase();
    if status == 404 && message.contains(MISSING) {
        return Some(Meaning::RowMissing);
    }
    TEXTS.iter().find(|(text, _)| message.contains(text)).map(|(_, meaning)| *meaning)
}
