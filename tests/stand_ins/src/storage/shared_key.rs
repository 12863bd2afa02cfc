//! The Shared Key scheme: an HMAC over the request's canonical form.
//!
//! It rejects Shared Key Lite, a request without a date, and a date that is more than 15 minutes off.
//!
//! See <https://learn.microsoft.com/rest/api/storageservices/authorize-with-shared-key>.

use std::collections::BTreeMap;
use std::fmt::Write;

use time::format_description::well_known::Rfc2822;
use time::{Duration, OffsetDateTime};

use super::auth::Account;
use super::call::Call;
use super::error::{AUTHENTICATION_FAILED, Result, old_date};

/// How far a client's clock may be off.
const TOLERANCE: Duration = Duration::minutes(15);

/// The standard headers in the order in which they are signed; the length and the date have their own rules.
const BEFORE_LENGTH: [&str; 2] = ["content-encoding", "content-language"];
const BEFORE_DATE: [&str; 2] = ["content-md5", "content-type"];
const AFTER_DATE: [&str; 5] = ["if-modified-since", "if-match", "if-none-match", "if-unmodified-since", "range"];

/// Checks `<account>:<signature>`.
pub(super) fn check(account: &Account, call: &Call, credential: &str) -> Result<()> {
    let Some((name, signature)) = credential.split_once(':') else {
        return Err(AUTHENTICATION_FAILED.because("The credential is not <account>:<signature>."));
    };
    if name != account.name {
        return Err(AUTHENTICATION_FAILED.because("The account in the Authorization header is another one."));
    }
    check_date(call)?;
    let text = string_to_sign(account, call);
    if account.signed(&text, signature) {
        return Ok(());
    }
    Err(AUTHENTICATION_FAILED.because(format!("The MAC signature is not that of the string to sign: {text:?}")))
}

fn check_date(call: &Call) -> Result<()> {
    let Some(date) = call.header("x-ms-date").or_else(|| call.header("date")) else {
        return Err(AUTHENTICATION_FAILED.because("Neither x-ms-date nor Date is there."));
    };
    match OffsetDateTime::parse(date, &Rfc2822) {
        Ok(sent) if (OffsetDateTime::now_utc() - sent).abs() <= TOLERANCE => Ok(()),
        Ok(_) => Err(old_date(date)),
        Err(_) => Err(AUTHENTICATION_FAILED.because("The request's date is not in the RFC 1123 format.")),
    }
}

fn string_to_sign(account: &Account, call: &Call) -> String {
    let header = |name: &&str| call.header(name).unwrap_or_default().to_owned();
    let length = call.header("content-length").filter(|length| *length != "0").unwrap_or_default().to_owned();
    // A date in x-ms-date is signed with the x-ms- headers only.
    let own_date = call.header("x-ms-date").is_some();
    let date = call.header("date").filter(|_| !own_date).unwrap_or_default().to_owned();

    let mut lines = vec![call.method.as_str().to_owned()];
    lines.extend(BEFORE_LENGTH.iter().map(header));
    lines.push(length);
    lines.extend(BEFORE_DATE.iter().map(header));
    lines.push(date);
    lines.extend(AFTER_DATE.iter().map(header));
    format!("{}\n{}{}", lines.join("\n"), canonical_headers(call), canonical_resource(account, call))
}

fn canonical_headers(call: &Call) -> String {
    let mut headers: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for (name, value) in call.headers.iter().filter(|(name, _)| name.as_str().starts_with("x-ms-")) {
        let value = String::from_utf8_lossy(value.as_bytes()).trim().to_owned();
        headers.entry(name.as_str()).or_default().push(value);
    }
    headers.into_iter().fold(String::new(), |text, (name, values)| format!("{text}{name}:{}\n", values.join(",")))
}

fn canonical_resource(account: &Account, call: &Call) -> String {
    let mut resource = format!("/{}{}", account.name, call.raw_path);
    for (name, value) in &call.query {
        write!(resource, "\n{name}:{value}").expect("a string takes any text");
    }
    resource
}
