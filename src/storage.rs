//! Where blobs and queues are and how to get in: Functions connection names and storage connection strings.
//!
//! A connection name is resolved as the Functions host does it: the variable of that name holds a connection string, or
//! `<name>__blobServiceUri`, `<name>__queueServiceUri` or `<name>__accountName` name an account that is opened with Entra ID.
//! <https://learn.microsoft.com/azure/azure-functions/functions-reference#connections>
//! <https://learn.microsoft.com/azure/storage/common/storage-configure-connection-string>
//!
//! Keys and signatures are secrets: they are in no Debug output and no error.

mod shared_key;
mod transport;

use std::sync::Arc;

use azure_core::credentials::{Secret, TokenCredential};
use azure_core::http::{ClientOptions, RetryOptions, Transport};
use url::Url;

use crate::http::{Http, Server, Way};
use crate::settings::{Lookup, Problem};
use shared_key::SharedKey;

/// The account and key that Azurite and every other emulator are known by; public by design.
/// <https://learn.microsoft.com/azure/storage/common/storage-connect-azurite#connection-strings>
const DEVELOPMENT_ACCOUNT: &str = "devstoreaccount1";
const DEVELOPMENT_KEY: &str =
    "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==";

/// The services of a storage account that this program speaks to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Service {
    /// Locks are blobs.
    Blob,
    /// Letters are in queues.
    Queue,
}

impl Service {
    /// As in host names and in `<name>__blobServiceUri`.
    fn label(self) -> &'static str {
        match self {
            Self::Blob => "blob",
            Self::Queue => "queue",
        }
    }

    /// Its part of a connection string.
    fn endpoint(self) -> &'static str {
        match self {
            Self::Blob => "BlobEndpoint",
            Self::Queue => "QueueEndpoint",
        }
    }

    /// Where emulators listen.
    fn development_port(self) -> u16 {
        match self {
            Self::Blob => 10_000,
            Self::Queue => 10_001,
        }
    }

    fn purpose(self) -> &'static str {
        match self {
            Self::Blob => "the locks need a storage account",
            Self::Queue => "the queues are in a storage account",
        }
    }
}

/// One service of a storage account and the way in.
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
    /// Resolves the Functions connection `name` for `service`, with the settings that `lookup` gives.
    ///
    /// # Errors
    /// What is wrong, with the variable's name.
    pub fn resolve(service: Service, name: &str, lookup: &Lookup) -> Result<Self, Problem> {
        if let Some(text) = lookup(name) {
            return from_connection_string(service, &text).map_err(|text| Problem::new(name, text));
        }
        let label = service.label();
        let (uri, account) = (format!("{name}__{label}ServiceUri"), format!("{name}__accountName"));
        let entra = |service| Self { service, access: Access::Entra };
        if let Some(text) = lookup(&uri) {
            let problem = format!("must be an https address such as https://account.{label}.core.windows.net");
            return https(&text).map(entra).ok_or_else(|| Problem::new(&uri, problem));
        }
        if let Some(text) = lookup(&account) {
            return account_url("https", &text, service, "core.windows.net").map(entra).ok_or_else(|| {
                Problem::new(&account, "is no storage account name (3 to 24 lower-case letters and digits)")
            });
        }
        let missing = format!("is not set, nor is {uri} or {account}; {}", service.purpose());
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
    pub fn new(address: Address, identity: &Arc<dyn TokenCredential>, http: impl Into<Http>) -> Self {
        let credential = address.needs_identity().then(|| identity.clone());
        let way = Way::to(address.service.as_str(), Server::Storage, http.into());
        Self { address, credential, transport: Transport::new(Arc::new(way)) }
    }

    /// The address of a container or queue, with the signature where there is one.
    pub fn within(&self, name: &str) -> Url {
        let mut url = self.address.service.clone();
        url.path_segments_mut().expect("checked when it was resolved").pop_if_empty().push(name);
        if let Access::Sas(signature) = &self.address.access {
            url.set_query(Some(signature.secret()));
        }
        url
    }

    /// The Entra credential, where one is needed.
    pub fn credential(&self) -> Option<Arc<dyn TokenCredential>> {
        self.credential.clone()
    }

    /// Options for a client: the shared transport, no retries of its own (whoever uses the client owns them), and signing.
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

fn account_url(scheme: &str, account: &str, service: Service, suffix: &str) -> Option<Url> {
    let valid = (3..=24).contains(&account.len())
        && account.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
    if !valid {
        return None;
    }
    Url::parse(&format!("{scheme}://{account}.{}.{suffix}", service.label())).ok()
}

fn from_connection_string(service: Service, text: &str) -> Result<Address, String> {
    let part = |name: &str| {
        let parts = text.split(';').filter_map(|part| part.trim().split_once('='));
        parts.filter(|(found, _)| found.trim().eq_ignore_ascii_case(name)).map(|(_, value)| value.trim()).next()
    };
    if part("UseDevelopmentStorage").is_some_and(|value| value.eq_ignore_ascii_case("true")) {
        return development(service, part("DevelopmentStorageProxyUri"));
    }
    let (account, endpoint) = (part("AccountName"), service.endpoint());
    let address = match (part(endpoint), account) {
        (Some(text), _) => Url::parse(text).ok().filter(|url| url.has_host() && !url.cannot_be_a_base()),
        (None, Some(account)) => {
            let scheme = part("DefaultEndpointsProtocol").unwrap_or("https");
            let suffix = part("EndpointSuffix").unwrap_or("core.windows.net");
            (scheme == "https" || scheme == "http").then(|| account_url(scheme, account, service, suffix)).flatten()
        }
        (None, None) => {
            return Err(format!("is no storage connection string: it has neither AccountName nor {endpoint}"));
        }
    };
    let unusable = || format!("is a connection string whose account name or {endpoint} is not usable");
    Ok(Address { service: address.ok_or_else(unusable)?, access: access(account, &part)? })
}

fn access<'a>(account: Option<&str>, part: &dyn Fn(&str) -> Option<&'a str>) -> Result<Access, &'static str> {
    match (part("AccountKey"), part("SharedAccessSignature"), account) {
        (Some(key), _, Some(account)) => {
            Ok(Access::SharedKey(SharedKey::new(account, key).ok_or("has an AccountKey that is not base64")?))
        }
        (Some(_), _, None) => Err("has an AccountKey but no AccountName"),
        (None, Some(sas), _) => Ok(Access::Sas(Secret::new(sas.trim_start_matches('?').to_owned()))),
        (None, None, _) => Err("has neither AccountKey nor SharedAccessSignature"),
    }
}

fn development(service: Service, proxy: Option<&str>) -> Result<Address, String> {
    let host = proxy.unwrap_or("http://127.0.0.1").trim_end_matches('/');
    let address = Url::parse(&format!("{host}:{}/{DEVELOPMENT_ACCOUNT}", service.development_port()))
        .map_err(|_| "has a DevelopmentStorageProxyUri that is no address")?;
    let key = SharedKey::new(DEVELOPMENT_ACCOUNT, DEVELOPMENT_KEY).expect("the well-known key is base64");
    Ok(Address { service: address, access: Access::SharedKey(key) })
}

#[cfg(test)]
mod tests;
