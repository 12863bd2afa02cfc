//! Where the lock storage is and how to get in: Functions connection names and storage connection strings.
//!
//! A connection name is resolved as the Functions host does it: the variable of that name holds a connection string, or
//! `<name>__blobServiceUri` / `<name>__accountName` name an account that is opened with Entra ID.
//! <https://learn.microsoft.com/azure/azure-functions/functions-reference#connections>
//! <https://learn.microsoft.com/azure/storage/common/storage-configure-connection-string>
//!
//! Keys and signatures are secrets: they are in no Debug output and no error.

mod shared_key;

use std::sync::Arc;

use azure_core::credentials::{Secret, TokenCredential};
use azure_core::http::{ClientOptions, RetryOptions, Transport};
use url::Url;

use crate::config::Problem;
use shared_key::SharedKey;

/// The account and key that Azurite and every other emulator are known by; public by design.
/// <https://learn.microsoft.com/azure/storage/common/storage-connect-azurite#connection-strings>
const DEVELOPMENT_ACCOUNT: &str = "devstoreaccount1";
const DEVELOPMENT_KEY: &str =
    "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==";

/// A storage account's blob service and the way in.
#[derive(Debug)]
pub struct Connection {
    address: Address,
    credential: Option<Arc<dyn TokenCredential>>,
    transport: Transport,
}

/// What the settings say about a connection.
#[derive(Debug, Clone)]
pub struct Address {
    service: Url,
    access: Access,
}

#[derive(Debug, Clone)]
enum Access {
    Entra,
    SharedKey(SharedKey),
    Sas(Secret),
}

impl Address {
    /// Resolves the Functions connection `name` with the settings that `lookup` gives.
    ///
    /// # Errors
    /// What is wrong, with the variable's name.
    pub fn resolve(name: &str, lookup: &dyn Fn(&str) -> Option<String>) -> Result<Self, Problem> {
        if let Some(text) = lookup(name) {
            return from_connection_string(&text).map_err(|text| Problem::new(name, text));
        }
        let (uri, account) = (format!("{name}__blobServiceUri"), format!("{name}__accountName"));
        let entra = |service| Self { service, access: Access::Entra };
        if let Some(text) = lookup(&uri) {
            let service = https(&text).ok_or_else(|| {
                Problem::new(&uri, "must be an https address such as https://account.blob.core.windows.net")
            });
            return service.map(entra);
        }
        if let Some(text) = lookup(&account) {
            let service = account_url("https", &text, "core.windows.net");
            return service.map(entra).ok_or_else(|| {
                Problem::new(&account, "is no storage account name (3 to 24 lower-case letters and digits)")
            });
        }
        let missing = format!("is not set, nor is {uri} or {account}; the locks need a storage account");
        Err(Problem::new(name, missing))
    }

    /// Whether this address is opened with Entra ID.
    pub fn needs_identity(&self) -> bool {
        matches!(self.access, Access::Entra)
    }

    /// How it is opened, for the log.
    pub fn access(&self) -> &'static str {
        match self.access {
            Access::Entra => "entra",
            Access::SharedKey(_) => "shared_key",
            Access::Sas(_) => "sas",
        }
    }

    /// The host, for the log.
    pub fn host(&self) -> &str {
        self.service.host_str().unwrap_or_default()
    }
}

impl Connection {
    /// Opens `address`, with `identity` where it is addressed by Entra.
    pub fn new(address: Address, identity: &Arc<dyn TokenCredential>, http: reqwest::Client) -> Self {
        let credential = address.needs_identity().then(|| identity.clone());
        Self { address, credential, transport: Transport::new(Arc::new(http)) }
    }

    /// The address of a container, with the signature where there is one.
    pub fn container(&self, container: &str) -> Url {
        let mut url = self.address.service.clone();
        url.path_segments_mut().expect("checked when it was resolved").pop_if_empty().push(container);
        if let Access::Sas(signature) = &self.address.access {
            url.set_query(Some(signature.secret()));
        }
        url
    }

    /// The Entra credential, where one is needed.
    pub fn credential(&self) -> Option<Arc<dyn TokenCredential>> {
        self.credential.clone()
    }

    /// Options for a client: the shared transport, no retries of its own (their owner is `lock::blob`), and signing.
    pub fn client_options(&self) -> ClientOptions {
        let mut options = ClientOptions {
            retry: RetryOptions::none(),
            transport: Some(self.transport.clone()),
            ..ClientOptions::default()
        };
        if let Access::SharedKey(key) = &self.address.access {
            options.per_try_policies.push(Arc::new(key.clone()));
        }
        options
    }
}

fn https(text: &str) -> Option<Url> {
    Url::parse(text).ok().filter(|url| url.scheme() == "https" && url.has_host())
}

fn account_url(scheme: &str, account: &str, suffix: &str) -> Option<Url> {
    let valid = (3..=24).contains(&account.len())
        && account.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
    if !valid {
        return None;
    }
    Url::parse(&format!("{scheme}://{account}.blob.{suffix}")).ok()
}

fn from_connection_string(text: &str) -> Result<Address, &'static str> {
    let part = |name: &str| {
        let parts = text.split(';').filter_map(|part| part.trim().split_once('='));
        parts.filter(|(found, _)| found.trim().eq_ignore_ascii_case(name)).map(|(_, value)| value.trim()).next()
    };
    if part("UseDevelopmentStorage").is_some_and(|value| value.eq_ignore_ascii_case("true")) {
        return development(part("DevelopmentStorageProxyUri"));
    }
    let account = part("AccountName");
    let service = match (part("BlobEndpoint"), account) {
        (Some(endpoint), _) => Url::parse(endpoint).ok().filter(|url| url.has_host() && !url.cannot_be_a_base()),
        (None, Some(account)) => {
            let scheme = part("DefaultEndpointsProtocol").unwrap_or("https");
            let suffix = part("EndpointSuffix").unwrap_or("core.windows.net");
            (scheme == "https" || scheme == "http").then(|| account_url(scheme, account, suffix)).flatten()
        }
        (None, None) => return Err("is no storage connection string: it has neither AccountName nor BlobEndpoint"),
    };
    let service = service.ok_or("is a connection string whose account name or BlobEndpoint is not usable")?;
    let access = match (part("AccountKey"), part("SharedAccessSignature"), account) {
        (Some(key), _, Some(account)) => {
            Access::SharedKey(SharedKey::new(account, key).ok_or("has an AccountKey that is not base64")?)
        }
        (Some(_), _, None) => return Err("has an AccountKey but no AccountName"),
        (None, Some(sas), _) => Access::Sas(Secret::new(sas.trim_start_matches('?').to_owned())),
        (None, None, _) => return Err("has neither AccountKey nor SharedAccessSignature"),
    };
    Ok(Address { service, access })
}

fn development(proxy: Option<&str>) -> Result<Address, &'static str> {
    let host = proxy.unwrap_or("http://127.0.0.1").trim_end_matches('/');
    let service = Url::parse(&format!("{host}:10000/{DEVELOPMENT_ACCOUNT}"))
        .map_err(|_| "has a DevelopmentStorageProxyUri that is no address")?;
    let key = SharedKey::new(DEVELOPMENT_ACCOUNT, DEVELOPMENT_KEY).expect("the well-known key is base64");
    Ok(Address { service, access: Access::SharedKey(key) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolve(settings: &[(&str, &str)]) -> Result<Address, String> {
        let lookup =
            |name: &str| settings.iter().find(|(found, _)| *found == name).map(|(_, value)| (*value).to_owned());
        Address::resolve("Locks", &lookup).map_err(|problem| problem.to_string())
    }

    fn key() -> &'static str {
        DEVELOPMENT_KEY
    }

    #[test]
    fn every_form_of_a_connection_is_understood() {
        for (settings, host, access) in [
            (vec![("Locks", "UseDevelopmentStorage=true")], "127.0.0.1", "shared_key"),
            (
                vec![("Locks", "useDevelopmentStorage=True;DevelopmentStorageProxyUri=http://storage")],
                "storage",
                "shared_key",
            ),
            (
                vec![(
                    "Locks",
                    "DefaultEndpointsProtocol=https;AccountName=abc;AccountKey=a2V5;EndpointSuffix=core.windows.net",
                )],
                "abc.blob.core.windows.net",
                "shared_key",
            ),
            (
                vec![("Locks", "BlobEndpoint=http://127.0.0.1:1/acc;AccountName=acc;AccountKey=a2V5;")],
                "127.0.0.1",
                "shared_key",
            ),
            (
                vec![("Locks", "BlobEndpoint=https://abc.blob.core.windows.net/;SharedAccessSignature=?sv=1&sig=x%3D")],
                "abc.blob.core.windows.net",
                "sas",
            ),
            (
                vec![("Locks__blobServiceUri", "https://abc.blob.core.windows.net")],
                "abc.blob.core.windows.net",
                "entra",
            ),
            (vec![("Locks__accountName", "abc")], "abc.blob.core.windows.net", "entra"),
        ] {
            let address = resolve(&settings).expect("a connection");
            assert_eq!((address.host(), address.access()), (host, access), "{settings:?}");
        }
    }

    #[test]
    fn every_problem_names_the_variable() {
        for (settings, name) in [
            (vec![], "Locks"),
            (vec![("Locks", "nonsense")], "Locks"),
            (vec![("Locks", "AccountName=abc")], "Locks"),
            (vec![("Locks", "AccountName=abc;AccountKey=%%%")], "Locks"),
            (vec![("Locks", "AccountName=A B;AccountKey=a2V5")], "Locks"),
            (vec![("Locks", "BlobEndpoint=nowhere;AccountName=abc;AccountKey=a2V5")], "Locks"),
            (vec![("Locks", "BlobEndpoint=http://h/;AccountKey=a2V5")], "Locks"),
            (vec![("Locks__blobServiceUri", "http://abc.blob.core.windows.net")], "Locks__blobServiceUri"),
            (vec![("Locks__accountName", "No Account")], "Locks__accountName"),
        ] {
            let text = resolve(&settings).expect_err("a problem");
            assert!(text.starts_with(name), "{settings:?}: {text}");
        }
    }

    #[test]
    fn keys_and_signatures_are_in_no_debug_output() {
        for text in [
            format!("AccountName=abc;AccountKey={}", key()),
            "BlobEndpoint=https://h/;SharedAccessSignature=sig=Eby8".into(),
        ] {
            let address = resolve(&[("Locks", &text)]).expect("a connection");
            assert!(!format!("{address:?}").contains("Eby8"));
        }
    }
}
