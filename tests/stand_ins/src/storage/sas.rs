//! Shared access signatures in the query: for the account, or for a container or blob.
//!
//! Stored access policies (`si`), user delegation signatures (`skoid`) and queue service signatures are rejected:
//! nothing here uses them, and an incomplete check would be worse than none.
//!
//! See <https://learn.microsoft.com/rest/api/storageservices/create-account-sas> and
//! <https://learn.microsoft.com/rest/api/storageservices/create-service-sas>.

use std::net::Ipv4Addr;

use time::format_description::well_known::Rfc3339;
use time::macros::format_description;
use time::{Date, OffsetDateTime, PrimitiveDateTime};

use super::auth::{Account, Grant};
use super::call::{Call, Service};
use super::error::{
    AUTHENTICATION_FAILED, PERMISSION_MISMATCH, PROTOCOL_MISMATCH, RESOURCE_TYPE_MISMATCH, Result, SERVICE_MISMATCH,
};
use super::operation::Operation;

/// Older versions sign other strings and are not supported.
const OLDEST_VERSION: &str = "2018-11-09";
/// From this version on, the encryption scope is signed.
const SCOPED_VERSION: &str = "2020-12-06";

/// Checks the signature in the query and what it permits.
pub(super) fn check(account: &Account, call: &Call, operation: Operation) -> Result<Grant> {
    let field = |name: &str| call.query(name).unwrap_or_default();
    if field("sv") < OLDEST_VERSION {
        return Err(AUTHENTICATION_FAILED.because("The signature's version sv is missing or too old."));
    }
    if !field("si").is_empty() || !field("skoid").is_empty() {
        return Err(AUTHENTICATION_FAILED.because("Stored policies and user delegation are not spoken here."));
    }
    let of_account = !field("ss").is_empty();
    let text = if of_account { account_string(account, call) } else { service_string(account, call)? };
    if !account.signed(&text, field("sig")) {
        return Err(AUTHENTICATION_FAILED.because(format!("Signature did not match. String to sign was {text:?}")));
    }
    check_times(field("st"), field("se"))?;
    check_origin(call)?;
    if of_account { check_account_scope(call, operation) } else { check_service_scope(call, operation) }
}

fn account_string(account: &Account, call: &Call) -> String {
    let mut names = vec!["sp", "ss", "srt", "st", "se", "sip", "spr", "sv"];
    if call.query("sv").unwrap_or_default() >= SCOPED_VERSION {
        names.push("ses");
    }
    let fields: Vec<&str> = names.into_iter().map(|name| call.query(name).unwrap_or_default()).collect();
    format!("{}\n{}\n", account.name, fields.join("\n"))
}

fn service_string(account: &Account, call: &Call) -> Result<String> {
    let (Service::Blob, Some(container)) = (call.service, &call.container) else {
        return Err(AUTHENTICATION_FAILED.because("A service signature is for a container or a blob."));
    };
    let resource = match (call.query("sr"), &call.name) {
        (Some("c"), _) => format!("/blob/{}/{container}", account.name),
        (Some("b"), Some(blob)) => format!("/blob/{}/{container}/{blob}", account.name),
        _ => return Err(AUTHENTICATION_FAILED.because("The signed resource sr does not fit the request.")),
    };
    let field = |name: &str| call.query(name).unwrap_or_default().to_owned();
    let mut lines = vec![field("sp"), field("st"), field("se"), resource];
    // The empty line is the snapshot's time.
    lines.extend([field("si"), field("sip"), field("spr"), field("sv"), field("sr"), String::new()]);
    if field("sv").as_str() >= SCOPED_VERSION {
        lines.push(field("ses"));
    }
    lines.extend(["rscc", "rscd", "rsce", "rscl", "rsct"].map(field));
    Ok(lines.join("\n"))
}

fn check_times(start: &str, expiry: &str) -> Result<()> {
    let now = OffsetDateTime::now_utc();
    let Some(expiry) = parse_time(expiry) else {
        return Err(AUTHENTICATION_FAILED.because("The expiry se is missing or no ISO 8601 time."));
    };
    if expiry <= now {
        return Err(AUTHENTICATION_FAILED.because("Signature not valid in the specified time frame: expired."));
    }
    if start.is_empty() {
        return Ok(());
    }
    match parse_time(start) {
        Some(start) if start <= now => Ok(()),
        Some(_) => Err(AUTHENTICATION_FAILED.because("Signature not valid in the specified time frame: too early.")),
        None => Err(AUTHENTICATION_FAILED.because("The start st is not an ISO 8601 time.")),
    }
}

/// The forms that the service accepts: a date, or a UTC time with minutes, seconds or fractions.
fn parse_time(text: &str) -> Option<OffsetDateTime> {
    let minutes = format_description!("[year]-[month]-[day]T[hour]:[minute]Z");
    let date = format_description!("[year]-[month]-[day]");
    OffsetDateTime::parse(text, &Rfc3339)
        .ok()
        .or_else(|| PrimitiveDateTime::parse(text, minutes).ok().map(PrimitiveDateTime::assume_utc))
        .or_else(|| Date::parse(text, date).ok().map(|date| date.midnight().assume_utc()))
}

fn check_origin(call: &Call) -> Result<()> {
    match call.query("spr") {
        None | Some("https,http") => {}
        Some("https") if call.secure => {}
        Some("https") => return Err(PROTOCOL_MISMATCH),
        Some(_) => return Err(AUTHENTICATION_FAILED.because("The protocol spr is neither https nor https,http.")),
    }
    let Some(range) = call.query("sip") else { return Ok(()) };
    let (first, last) = range.split_once('-').unwrap_or((range, range));
    match (first.parse::<Ipv4Addr>(), last.parse::<Ipv4Addr>()) {
        (Ok(first), Ok(last)) if (first..=last).contains(&Ipv4Addr::LOCALHOST) => Ok(()),
        _ => Err(AUTHENTICATION_FAILED.because("The address range sip does not hold this caller.")),
    }
}

fn check_account_scope(call: &Call, operation: Operation) -> Result<Grant> {
    let allows = |name: &str, letter: char| call.query(name).unwrap_or_default().contains(letter);
    let needed = operation.needed();
    let service = if call.service == Service::Blob { 'b' } else { 'q' };
    if !allows("ss", service) {
        return Err(SERVICE_MISMATCH);
    }
    if !allows("srt", needed.resource_type) {
        return Err(RESOURCE_TYPE_MISMATCH);
    }
    grant(call, operation, needed.account)
}

fn check_service_scope(call: &Call, operation: Operation) -> Result<Grant> {
    let needed = operation.needed();
    grant(call, operation, if call.query("sr") == Some("b") { needed.blob } else { needed.container })
}

fn grant(call: &Call, operation: Operation, any_of: &str) -> Result<Grant> {
    let allowed = call.query("sp").unwrap_or_default();
    if !allowed.contains(|letter| any_of.contains(letter)) {
        return Err(PERMISSION_MISMATCH);
    }
    let overwrites = operation != Operation::PutBlob || allowed.contains('w');
    Ok(if overwrites { Grant::Full } else { Grant::CreateOnly })
}
