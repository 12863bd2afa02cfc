//! Account shared access signatures, as the portal or a script creates them.
//!
//! <https://learn.microsoft.com/rest/api/storageservices/create-account-sas>

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::hmac;
use stand_ins::storage::{EMULATOR_ACCOUNT, EMULATOR_KEY};
use url::form_urlencoded;

/// The service version that defines this string to sign.
const VERSION: &str = "2022-11-02";

/// An expiry in the far future.
pub(crate) const LATER: &str = "2999-01-01T00:00:00Z";

/// A signature for blobs and queues with all permissions that blobs have.
pub(crate) fn everything() -> String {
    signature("rwdlac", LATER)
}

/// A signature for blobs and queues with `permissions` until `expiry`, as a query without its `?`.
pub(crate) fn signature(permissions: &str, expiry: &str) -> String {
    let (services, types) = ("bq", "sco");
    // The empty lines are start, address range, protocol and encryption scope.
    let text = format!("{EMULATOR_ACCOUNT}\n{permissions}\n{services}\n{types}\n\n{expiry}\n\n\n{VERSION}\n\n");
    let key = STANDARD.decode(EMULATOR_KEY).expect("account keys are base64");
    let signed = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &key), text.as_bytes());
    form_urlencoded::Serializer::new(String::new())
        .extend_pairs([("sv", VERSION), ("ss", services), ("srt", types), ("sp", permissions), ("se", expiry)])
        .append_pair("sig", &STANDARD.encode(signed))
        .finish()
}
