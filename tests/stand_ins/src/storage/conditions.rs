//! The conditional headers: `If-Match`, `If-None-Match`, `If-Modified-Since`, `If-Unmodified-Since`.
//!
//! Invalid dates are rejected. A create that must not overwrite (`If-None-Match: *`) fails with `BlobAlreadyExists`,
//! every other unmet condition with `ConditionNotMet`, and a read of an unchanged blob with 304.
//!
//! See <https://learn.microsoft.com/rest/api/storageservices/specifying-conditional-headers-for-blob-service-operations>.

use time::OffsetDateTime;
use time::format_description::well_known::Rfc2822;

use super::blobs::Stamp;
use super::call::Call;
use super::error::{BLOB_ALREADY_EXISTS, CONDITION_NOT_MET, Error, INVALID_HEADER_VALUE, NOT_MODIFIED, Result};

/// Checks the conditions of a write; `stamp` is the existing blob's, if any.
pub(super) fn of_write(call: &Call, stamp: Option<&Stamp>) -> Result<()> {
    if stamp.is_some() && call.header("if-none-match") == Some("*") {
        return Err(BLOB_ALREADY_EXISTS);
    }
    if stamp.is_none() && call.header("if-match").is_some() {
        return Err(CONDITION_NOT_MET);
    }
    stamp.map_or(Ok(()), |stamp| check(call, stamp, &CONDITION_NOT_MET))
}

/// Checks the conditions of a read.
pub(super) fn of_read(call: &Call, stamp: &Stamp) -> Result<()> {
    check(call, stamp, &NOT_MODIFIED)
}

/// Checks the conditions of a lease operation; they are those of a write that creates nothing.
pub(super) fn of_lease(call: &Call, stamp: &Stamp) -> Result<()> {
    check(call, stamp, &CONDITION_NOT_MET)
}

fn check(call: &Call, stamp: &Stamp, unchanged: &Error) -> Result<()> {
    let names = |tags: &str| tags == "*" || tags.split(',').any(|tag| tag.trim() == stamp.etag);
    if call.header("if-match").is_some_and(|tags| !names(tags)) {
        return Err(CONDITION_NOT_MET);
    }
    if call.header("if-none-match").is_some_and(names) {
        return Err(unchanged.clone());
    }
    // HTTP dates have whole seconds.
    let modified = stamp.modified.replace_nanosecond(0).unwrap_or(stamp.modified);
    if date(call, "if-modified-since")?.is_some_and(|since| modified <= since) {
        return Err(unchanged.clone());
    }
    if date(call, "if-unmodified-since")?.is_some_and(|since| modified > since) {
        return Err(CONDITION_NOT_MET);
    }
    Ok(())
}

fn date(call: &Call, name: &str) -> Result<Option<OffsetDateTime>> {
    let parse = |text| OffsetDateTime::parse(text, &Rfc2822).map_err(|_| INVALID_HEADER_VALUE.because(name));
    call.header(name).map(parse).transpose()
}
