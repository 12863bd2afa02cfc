//! Signs storage requests with an account key.
//!
//! The SDK supports Entra tokens and SAS only; Azurite and many apps use the key of a connection string.
//! The rules: <https://learn.microsoft.com/rest/api/storageservices/authorize-with-shared-key>

use std::borrow::Cow;
use std::collections::BTreeMap;
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

/// The account's name and key, which `ring` shows in no Debug output, as a pipeline policy.
#[derive(Debug, Clone)]
pub(super) struct SharedKey {
    account: String,
    key: hmac::Key,
}

impl SharedKey {
    /// A key in base64, or `None` if it is not base64.
    pub(super) fn new(account: &str, key: &str) -> Option<Self> {
        let key = STANDARD.decode(key).ok().filter(|key| !key.is_empty())?;
        Some(Self { account: account.to_owned(), key: hmac::Key::new(hmac::HMAC_SHA256, &key) })
    }

    fn authorization(&self, request: &Request) -> String {
        let signature = hmac::sign(&self.key, string_to_sign(&self.account, request).as_bytes());
        format!("SharedKey {}:{}", self.account, STANDARD.encode(signature))
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

fn string_to_sign(account: &str, request: &Request) -> String {
    // The SDK keeps header names in lower case.
    let headers = || request.headers().iter().map(|(name, value)| (name.as_str(), value.as_str()));
    let header = |name: &str| headers().find(|(found, _)| *found == name).map_or("", |(_, value)| value);
    let length = request.body().len().filter(|length| *length > 0).map(|length| length.to_string());
    let lines = [
        request.method().as_str(),
        header("content-encoding"),
        header("content-language"),
        length.as_deref().unwrap_or_default(),
        header("content-md5"),
        header("content-type"),
        "", // The date is in `x-ms-date`.
        header("if-modified-since"),
        header("if-match"),
        header("if-none-match"),
        header("if-unmodified-since"),
        header("range"),
    ];
    let own = headers().filter(|(name, _)| name.starts_with("x-ms-"));
    let mut own: Vec<_> = own.map(|(name, value)| format!("{name}:{}\n", value.trim())).collect();
    own.sort_unstable();
    let (lines, own, path) = (lines.join("\n"), own.concat(), request.url().path());
    format!("{lines}\n{own}/{account}{path}{}", parameters(request))
}

/// Each query parameter once, sorted, with all its values.
fn parameters(request: &Request) -> String {
    let mut parameters = BTreeMap::<_, Vec<_>>::new();
    for (name, value) in request.url().query_pairs() {
        parameters.entry(name.to_lowercase()).or_default().push(value);
    }
    let line = |(name, mut values): (String, Vec<Cow<'_, str>>)| {
        values.sort_unstable();
        format!("\n{name}:{}", values.join(","))
    };
    parameters.into_iter().map(line).collect()
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
        // Computed with `openssl dgst -sha256 -mac HMAC -macopt key:key -binary | base64` over the string to sign.
        let url = Url::parse("http://127.0.0.1:1/locks?restype=container").expect("an address");
        let request = Request::new(url, Method::Put);
        let key = SharedKey::new("acc", "a2V5").expect("base64");
        assert_eq!(key.authorization(&request), "SharedKey acc:iNvSACQ+4NnmQjvC7AhdIV9eeOp2wOoshXXtRZVK53o=");
    }
}
