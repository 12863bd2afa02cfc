//! Signs storage requests with an account key.
//!
//! `azure_storage_blob` knows Entra tokens and SAS only; Azurite and many apps still use the key of a connection string.
//! The rules: <https://learn.microsoft.com/rest/api/storageservices/authorize-with-shared-key>

use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use async_trait::async_trait;
use azure_core::http::headers::AUTHORIZATION;
use azure_core::http::policies::{Policy, PolicyResult};
use azure_core::http::{Context, Request};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use httpdate::fmt_http_date;
use ring::hmac;

/// The account's name and key, as a pipeline policy.
#[derive(Clone)]
pub(super) struct SharedKey {
    account: String,
    key: hmac::Key,
}

impl SharedKey {
    /// A key in base64, or `None` when it is not.
    pub(super) fn new(account: &str, key: &str) -> Option<Self> {
        let key = STANDARD.decode(key).ok().filter(|key| !key.is_empty())?;
        Some(Self { account: account.to_owned(), key: hmac::Key::new(hmac::HMAC_SHA256, &key) })
    }

    fn authorization(&self, request: &Request) -> String {
        let signature = hmac::sign(&self.key, string_to_sign(&self.account, request).as_bytes());
        format!("SharedKey {}:{}", self.account, STANDARD.encode(signature))
    }
}

impl fmt::Debug for SharedKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedKey").field("account", &self.account).finish_non_exhaustive()
    }
}

#[async_trait]
impl Policy for SharedKey {
    async fn send(&self, ctx: &Context, request: &mut Request, next: &[Arc<dyn Policy>]) -> PolicyResult {
        request.insert_header("x-ms-date", fmt_http_date(SystemTime::now()));
        let authorization = self.authorization(request);
        request.insert_header(AUTHORIZATION, authorization);
        let (first, rest) = next.split_first().expect("a pipeline ends with its transport");
        first.send(ctx, request, rest).await
    }
}

/// The headers that have a line of their own, in the order of their lines. Two lines are not copied from a header: the length,
/// and the date, which `x-ms-date` says.
const LINES: [&str; 11] = [
    "content-encoding",
    "content-language",
    "",
    "content-md5",
    "content-type",
    "",
    "if-modified-since",
    "if-match",
    "if-none-match",
    "if-unmodified-since",
    "range",
];

/// Where the length stands in [`LINES`].
const LENGTH: usize = 2;

/// The SDK keeps names of headers in lower case. Asked for one that is not there it makes an error, so all are looked at once.
fn string_to_sign(account: &str, request: &Request) -> String {
    let (mut lines, mut own) = ([""; LINES.len()], Vec::with_capacity(8));
    for (name, value) in request.headers().iter() {
        let (name, value) = (name.as_str(), value.as_str());
        if name.starts_with("x-ms-") {
            own.push((name, value.trim()));
        } else if let Some(line) = LINES.iter().position(|line| *line == name) {
            lines[line] = value;
        }
    }
    own.sort_unstable();
    let length = request.body().len().filter(|length| *length > 0).map(|length| length.to_string());
    lines[LENGTH] = length.as_deref().unwrap_or_default();
    let mut text = String::with_capacity(512);
    text.push_str(request.method().as_str());
    for line in lines {
        text.push('\n');
        text.push_str(line);
    }
    text.push('\n');
    for (name, value) in own {
        text.extend([name, ":", value, "\n"]);
    }
    text.extend(["/", account, request.url().path()]);
    push_parameters(&mut text, request);
    text
}

/// Each parameter once, in order, with all its values.
fn push_parameters(text: &mut String, request: &Request) {
    let mut parameters: Vec<_> =
        request.url().query_pairs().map(|(name, value)| (name.to_lowercase(), value)).collect();
    parameters.sort_unstable();
    let mut last = None;
    for (name, value) in &parameters {
        if last == Some(name) {
            text.extend([",", value]);
        } else {
            text.extend(["\n", name, ":", value]);
        }
        last = Some(name);
    }
}

#[cfg(test)]
mod tests {
    use azure_core::http::{Method, Url};

    use super::*;

    #[test]
    fn the_string_to_sign_has_the_documented_shape() {
        let url = Url::parse("http://127.0.0.1:1/acc/locks/a-b?timeout=20&comp=lease").expect("an address");
        let mut request = Request::new(url, Method::Put);
        request.insert_header("x-ms-version", "2026-04-06");
        request.insert_header("x-ms-date", "Mon, 23 Nov 2026 10:00:00 GMT");
        request.insert_header("x-ms-lease-action", "acquire");
        request.insert_header("if-none-match", "*");
        let standard = "PUT\n\n\n\n\n\n\n\n\n*\n\n\n";
        let headers = "x-ms-date:Mon, 23 Nov 2026 10:00:00 GMT\nx-ms-lease-action:acquire\nx-ms-version:2026-04-06\n";
        let resource = "/acc/acc/locks/a-b\ncomp:lease\ntimeout:20";
        assert_eq!(string_to_sign("acc", &request), format!("{standard}{headers}{resource}"));
    }

    #[test]
    fn the_signature_is_the_one_another_tool_computes() {
        // By `openssl dgst -sha256 -mac HMAC -macopt key:key -binary | base64` over the string to sign.
        let url = Url::parse("http://127.0.0.1:1/locks?restype=container").expect("an address");
        let request = Request::new(url, Method::Put);
        let key = SharedKey::new("acc", "a2V5").expect("base64");
        assert_eq!(key.authorization(&request), "SharedKey acc:iNvSACQ+4NnmQjvC7AhdIV9eeOp2wOoshXXtRZVK53o=");
    }
}
