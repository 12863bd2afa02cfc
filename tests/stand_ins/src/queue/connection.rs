//! A storage connection string, and the SharedKey signature made with its key.
//!
//! For queues only; strings with a SAS or without a key are rejected. The key does not leave this module: no `Debug`
//! output and no error contains it.
//!
//! Contract: <https://learn.microsoft.com/azure/storage/common/storage-configure-connection-string> and
//! <https://learn.microsoft.com/rest/api/storageservices/authorize-with-shared-key>.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::fmt::Write;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring::hmac;
use time::OffsetDateTime;
use time::macros::format_description;
use url::Url;

/// Azurite's built-in account; its key is public:
/// <https://learn.microsoft.com/azure/storage/common/storage-connect-azurite>.
const DEVELOPMENT: &str = "AccountName=devstoreaccount1;\
    AccountKey=Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==;\
    QueueEndpoint=http://127.0.0.1:10001/devstoreaccount1";

/// An account's queue endpoint and key.
pub(super) struct Account {
    name: String,
    key: hmac::Key,
    endpoint: Url,
}

impl Account {
    /// Parses a connection string; the error says what is missing.
    pub(super) fn parse(text: &str) -> Result<Self, &'static str> {
        let mut fields = fields(text)?;
        if fields.get("usedevelopmentstorage").is_some_and(|value| value.eq_ignore_ascii_case("true")) {
            fields = self::fields(DEVELOPMENT)?;
        }
        let name = *fields.get("accountname").ok_or("AccountName is missing")?;
        let key = *fields.get("accountkey").ok_or("AccountKey is missing")?;
        let key = STANDARD.decode(key).map_err(|_| "AccountKey is not base64")?;
        let scheme = fields.get("defaultendpointsprotocol").unwrap_or(&"https");
        let suffix = fields.get("endpointsuffix").unwrap_or(&"core.windows.net");
        let host_style = format!("{scheme}://{name}.queue.{suffix}");
        let endpoint = Url::parse(fields.get("queueendpoint").unwrap_or(&host_style.as_str()))
            .map_err(|_| "QueueEndpoint is not a URL")?;
        if endpoint.cannot_be_a_base() {
            return Err("QueueEndpoint is not a URL");
        }
        Ok(Self { name: name.to_owned(), key: hmac::Key::new(hmac::HMAC_SHA256, &key), endpoint })
    }

    /// The queue endpoint, path-style or host-style.
    pub(super) fn endpoint(&self) -> &Url {
        &self.endpoint
    }

    /// The Authorization header of one request; `headers` are its `x-ms-` headers, `length` is its body's in bytes.
    pub(super) fn authorization(&self, method: &str, url: &Url, length: usize, headers: &[(&str, &str)]) -> String {
        let text = string_to_sign(&self.name, method, url, length, headers);
        let signature = hmac::sign(&self.key, text.as_bytes());
        format!("SharedKey {}:{}", self.name, STANDARD.encode(signature))
    }
}

impl fmt::Debug for Account {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Account").field("name", &self.name).finish_non_exhaustive()
    }
}

/// A time in HTTP's format, to the second.
pub(super) fn http_date(at: OffsetDateTime) -> String {
    let format =
        format_description!("[weekday repr:short], [day] [month repr:short] [year] [hour]:[minute]:[second] GMT");
    at.to_offset(time::UtcOffset::UTC).format(format).expect("a UTC time has all these parts")
}

/// The inverse of [`http_date`].
pub(super) fn parse_http_date(text: &str) -> Option<OffsetDateTime> {
    let format =
        format_description!("[weekday repr:short], [day] [month repr:short] [year] [hour]:[minute]:[second] GMT");
    time::PrimitiveDateTime::parse(text, format).ok().map(time::PrimitiveDateTime::assume_utc)
}

fn fields(text: &str) -> Result<BTreeMap<String, &str>, &'static str> {
    let parts = text.split(';').map(str::trim).filter(|part| !part.is_empty());
    let pairs = parts.map(|part| part.split_once('=').ok_or("a part is not name=value"));
    pairs.map(|pair| pair.map(|(name, value)| (name.trim().to_ascii_lowercase(), value.trim()))).collect()
}

fn string_to_sign(account: &str, method: &str, url: &Url, length: usize, headers: &[(&str, &str)]) -> String {
    // There are eleven standard headers. The client sends only Content-Length, which is signed as empty if it is zero.
    let length = if length == 0 { String::new() } else { length.to_string() };
    let mut text = format!("{method}\n\n\n{length}\n\n\n\n\n\n\n\n\n");
    let headers: BTreeMap<&str, &str> = headers.iter().copied().collect();
    for (name, value) in headers {
        writeln!(text, "{name}:{value}").expect("writing to a String cannot fail");
    }
    write!(text, "/{account}{}", url.path()).expect("writing to a String cannot fail");
    let mut query: BTreeMap<String, Vec<Cow<str>>> = BTreeMap::new();
    for (name, value) in url.query_pairs() {
        query.entry(name.to_lowercase()).or_default().push(value);
    }
    for (name, mut values) in query {
        values.sort();
        write!(text, "\n{name}:{}", values.join(",")).expect("writing to a String cannot fail");
    }
    text
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    // The example in "Authorize with Shared Key", section Blob and Queue Services.
    #[test]
    fn the_string_to_sign_is_the_documented_one() {
        let url = "https://myaccount.blob.core.windows.net/mycontainer?restype=container&comp=metadata&timeout=20";
        let url = Url::parse(url).expect("it is valid");
        let headers = [("x-ms-version", "2015-02-21"), ("x-ms-date", "Fri, 26 Jun 2015 23:39:12 GMT")];
        assert_eq!(
            string_to_sign("myaccount", "GET", &url, 0, &headers),
            "GET\n\n\n\n\n\n\n\n\n\n\n\nx-ms-date:Fri, 26 Jun 2015 23:39:12 GMT\nx-ms-version:2015-02-21\n\
             /myaccount/mycontainer\ncomp:metadata\nrestype:container\ntimeout:20"
        );
    }

    #[test]
    fn a_path_style_resource_names_the_account_twice_and_signs_decoded_values() {
        let url = Url::parse("http://127.0.0.1:1/acc/q/messages/1?popreceipt=a%2Bb%3D").expect("it is valid");
        let text = string_to_sign("acc", "DELETE", &url, 0, &[]);
        assert!(text.ends_with("\n/acc/acc/q/messages/1\npopreceipt:a+b="), "{text}");
    }

    #[test]
    fn a_body_is_signed_with_its_length() {
        let url = Url::parse("http://127.0.0.1:1/acc/q").expect("it is valid");
        assert!(string_to_sign("acc", "PUT", &url, 12, &[]).starts_with("PUT\n\n\n12\n\n\n\n\n\n\n\n\n/acc/acc/q"));
    }

    #[test]
    fn development_storage_is_a_path_style_endpoint() {
        let account = Account::parse("UseDevelopmentStorage=true").expect("it is valid");
        assert_eq!(account.endpoint().as_str(), "http://127.0.0.1:10001/devstoreaccount1");
    }

    #[test]
    fn an_endpoint_suffix_makes_a_host_style_endpoint() {
        let text = "DefaultEndpointsProtocol=https;AccountName=acc;AccountKey=a2V5;EndpointSuffix=example.net";
        let account = Account::parse(text).expect("it is valid");
        assert_eq!(account.endpoint().as_str(), "https://acc.queue.example.net/");
    }

    #[test]
    fn a_connection_string_without_a_key_is_refused() {
        assert_eq!(Account::parse("AccountName=a").err(), Some("AccountKey is missing"));
        assert_eq!(Account::parse("AccountName=a;AccountKey=!").err(), Some("AccountKey is not base64"));
        assert_eq!(Account::parse("nonsense").err(), Some("a part is not name=value"));
    }

    #[test]
    fn debug_shows_no_key() {
        let account = Account::parse("AccountName=a;AccountKey=c2VjcmV0").expect("it is valid");
        assert_eq!(format!("{account:?}"), "Account { name: \"a\", .. }");
    }

    #[test]
    fn dates_survive_a_round_trip() {
        let at = datetime!(2026-11-03 04:05:06 UTC);
        assert_eq!(http_date(at), "Tue, 03 Nov 2026 04:05:06 GMT");
        assert_eq!(parse_http_date(&http_date(at)), Some(at));
    }
}
