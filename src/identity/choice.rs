//! Which Entra credential the settings choose, and the SDK's credential for it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use azure_core::cloud::{CloudConfiguration, CustomConfiguration};
use azure_core::credentials::{Secret, TokenCredential};
use azure_core::http::{ClientOptions, RetryOptions, Transport};
use azure_identity::{
    ClientAssertionCredential, ClientAssertionCredentialOptions, ClientSecretCredential, ClientSecretCredentialOptions,
    ManagedIdentityCredential, ManagedIdentityCredentialOptions, UserAssignedId,
};
use url::Url;

use super::answer::{Service, TokenTransport};
use super::certificate::{Assertion, Certificate};
use super::developer_tools::DeveloperTools;
use super::token_file::TokenFile;
use super::tool_process::ToolProcess;
use crate::files;
use crate::http::Http;
use crate::http::sdk::SdkTransport;
use crate::settings::{Lookup, Problem, both};

/// The Entra authority of the public cloud; `AZURE_AUTHORITY_HOST` names another.
const PUBLIC_AUTHORITY: &str = "https://login.microsoftonline.com";

/// The bytes of a token answer that are read.
const MAX_TOKEN_BYTES: usize = 64 * 1024;

/// A registered application.
#[derive(Debug, Clone)]
pub struct Application {
    /// Directory.
    pub tenant: String,
    /// Application id.
    pub client: String,
    /// The Entra authority, such as `https://login.microsoftonline.com`.
    pub authority: String,
}

/// A credential.
#[derive(Debug, Clone)]
pub enum Choice {
    /// An application with a secret.
    ClientSecret {
        /// The application.
        application: Application,
        /// Its secret.
        secret: Secret,
    },
    /// An application with a certificate.
    ClientCertificate {
        /// The application.
        application: Application,
        /// The certificate and its key.
        certificate: Arc<Certificate>,
        /// The file that they were read from.
        file: PathBuf,
    },
    /// An application with a federated token, as in Kubernetes.
    WorkloadIdentity {
        /// The application.
        application: Application,
        /// The file with the federated token.
        token_file: PathBuf,
    },
    /// The identity of the Functions app.
    ManagedIdentity {
        /// The client id of a user-assigned identity.
        client: Option<String>,
    },
    /// The developer's `az` or `azd` login.
    DeveloperTools,
}

impl Choice {
    /// Chooses by what is set: secret, certificate, federated token, managed identity, developer login, in this order.
    ///
    /// # Errors
    /// Every setting that is missing or unusable.
    pub fn from_settings(lookup: &Lookup) -> Result<Self, Vec<Problem>> {
        let application = |because| Application::from_settings(because, lookup);
        if let Some(secret) = lookup("AZURE_CLIENT_SECRET") {
            return Ok(Self::ClientSecret { application: application("AZURE_CLIENT_SECRET")?, secret: secret.into() });
        }
        if let Some(path) = lookup("AZURE_CLIENT_CERTIFICATE_PATH") {
            let certificate = certificate(&path, lookup);
            let (application, certificate) = both(application("AZURE_CLIENT_CERTIFICATE_PATH"), certificate)?;
            let certificate = Arc::new(certificate);
            return Ok(Self::ClientCertificate { application, certificate, file: path.into() });
        }
        if let Some(path) = lookup("AZURE_FEDERATED_TOKEN_FILE") {
            let (application, token_file) = both(application("AZURE_FEDERATED_TOKEN_FILE"), token_file(path))?;
            return Ok(Self::WorkloadIdentity { application, token_file });
        }
        match lookup("IDENTITY_ENDPOINT") {
            Some(endpoint) => managed_identity(&endpoint, lookup),
            None => Ok(Self::DeveloperTools),
        }
    }

    /// The kind of credential, for the log.
    pub fn name(&self) -> &'static str {
        match self {
            Self::ClientSecret { .. } => "client_secret",
            Self::ClientCertificate { .. } => "client_certificate",
            Self::WorkloadIdentity { .. } => "workload_identity",
            Self::ManagedIdentity { client: Some(_) } => "user_assigned_managed_identity",
            Self::ManagedIdentity { client: None } => "system_assigned_managed_identity",
            Self::DeveloperTools => "developer_tools",
        }
    }

    /// A key or token file that others may write: they could choose the identity of this process.
    pub fn exposed_file(&self) -> Option<Problem> {
        let (variable, file) = match self {
            Self::ClientCertificate { file, .. } => ("AZURE_CLIENT_CERTIFICATE_PATH", file),
            Self::WorkloadIdentity { token_file, .. } => ("AZURE_FEDERATED_TOKEN_FILE", token_file),
            Self::ClientSecret { .. } | Self::ManagedIdentity { .. } | Self::DeveloperTools => return None,
        };
        Some(Problem::new(variable, files::writable_by_others(file)?))
    }

    fn application(&self) -> Option<&Application> {
        match self {
            Self::ClientSecret { application, .. }
            | Self::ClientCertificate { application, .. }
            | Self::WorkloadIdentity { application, .. } => Some(application),
            Self::ManagedIdentity { .. } | Self::DeveloperTools => None,
        }
    }

    /// The transport for token requests. The identity endpoint belongs to the machine and is not asked through a proxy.
    pub(super) fn transport(&self, http: &Http) -> Transport {
        let (service, client) = match self.application() {
            Some(application) => (Service::Entra, http.to(&application.authority)),
            None => (Service::ManagedIdentity, http.direct()),
        };
        let inner = SdkTransport { client: client.clone(), body_cap: MAX_TOKEN_BYTES };
        Transport::new(Arc::new(TokenTransport { service, inner }))
    }

    /// The SDK's credential; it requests no token yet.
    ///
    /// # Errors
    /// When the SDK refuses the settings.
    pub(super) fn open(&self, transport: Transport) -> azure_core::Result<Arc<dyn TokenCredential>> {
        let client_options = ClientOptions {
            // Retries belong to the Functions host.
            retry: RetryOptions::none(),
            transport: Some(transport),
            cloud: self.application().map(Application::cloud),
            ..ClientOptions::default()
        };
        Ok(match self.clone() {
            Self::ClientSecret { application, secret } => {
                let Application { tenant, client, .. } = application;
                let options = ClientSecretCredentialOptions { client_options };
                ClientSecretCredential::new(&tenant, client, secret, Some(options))?
            }
            Self::ClientCertificate { application, certificate, .. } => {
                let assertion = Assertion::new(&application, certificate);
                let options = ClientAssertionCredentialOptions { client_options };
                ClientAssertionCredential::new(application.tenant, application.client, assertion, Some(options))?
            }
            Self::WorkloadIdentity { application, token_file } => {
                let (assertion, options) = (TokenFile(token_file), ClientAssertionCredentialOptions { client_options });
                ClientAssertionCredential::new(application.tenant, application.client, assertion, Some(options))?
            }
            Self::ManagedIdentity { client } => {
                ManagedIdentityCredential::new(Some(ManagedIdentityCredentialOptions {
                    user_assigned_id: client.map(UserAssignedId::ClientId),
                    client_options,
                }))?
            }
            Self::DeveloperTools => {
                Arc::new(DeveloperTools::new(Arc::new(ToolProcess { output_cap: MAX_TOKEN_BYTES }))?)
            }
        })
    }
}

impl Application {
    /// The application of a credential that the variable `because` asks for. What the SDK would refuse is a problem.
    fn from_settings(because: &str, lookup: &Lookup) -> Result<Self, Vec<Problem>> {
        let required =
            |name| lookup(name).ok_or_else(|| vec![Problem::new(name, format!("is not set, and {because} needs it"))]);
        let tenant = required("AZURE_TENANT_ID").and_then(tenant);
        let ((tenant, client), authority) = both(both(tenant, required("AZURE_CLIENT_ID")), authority(lookup))?;
        Ok(Self { tenant, client, authority })
    }

    /// Passes the authority to the SDK, which would otherwise read the environment by itself.
    fn cloud(&self) -> Arc<CloudConfiguration> {
        let mut cloud = CustomConfiguration::default();
        cloud.authority_host.clone_from(&self.authority);
        Arc::new(cloud.into())
    }
}

fn problem<T>(name: &str, text: impl Into<String>) -> Result<T, Vec<Problem>> {
    Err(vec![Problem::new(name, text)])
}

fn tenant(text: String) -> Result<String, Vec<Problem>> {
    let is_valid = text.chars().all(|c| c.is_alphanumeric() || c == '.' || c == '-');
    if is_valid { Ok(text) } else { problem("AZURE_TENANT_ID", "must be the directory's id or one of its domains") }
}

fn authority(lookup: &Lookup) -> Result<String, Vec<Problem>> {
    const NAME: &str = "AZURE_AUTHORITY_HOST";
    let Some(text) = lookup(NAME) else { return Ok(PUBLIC_AUTHORITY.to_owned()) };
    let is_host =
        |url: &Url| url.scheme() == "https" && url.path() == "/" && url.query().is_none() && url.username().is_empty();
    if Url::parse(&text).is_ok_and(|url| is_host(&url)) {
        return Ok(text);
    }
    problem(NAME, "must be an https address without a path, such as https://login.microsoftonline.us")
}

fn certificate(path: &str, lookup: &Lookup) -> Result<Certificate, Vec<Problem>> {
    let password = lookup("AZURE_CLIENT_CERTIFICATE_PASSWORD");
    let certificate = Certificate::read(path.as_ref(), password.as_deref());
    certificate.or_else(|text| problem("AZURE_CLIENT_CERTIFICATE_PATH", text))
}

fn token_file(path: String) -> Result<PathBuf, Vec<Problem>> {
    const NAME: &str = "AZURE_FEDERATED_TOKEN_FILE";
    match files::read_text(Path::new(&path)) {
        Ok(token) if token.trim().is_empty() => problem(NAME, "names a file that is empty"),
        Ok(_) => Ok(path.into()),
        Err(error) => problem(NAME, format!("names a file that cannot be read: {error}")),
    }
}

/// App Service sets the endpoint and a secret for it; with other variables the SDK takes it for another service's.
/// <https://learn.microsoft.com/azure/app-service/overview-managed-identity#rest-endpoint-reference>
fn managed_identity(endpoint: &str, lookup: &Lookup) -> Result<Choice, Vec<Problem>> {
    let mut problems = Vec::new();
    if !Url::parse(endpoint).is_ok_and(|url| ["http", "https"].contains(&url.scheme())) {
        problems.push(Problem::new("IDENTITY_ENDPOINT", "must be an http or https address; Azure sets it"));
    }
    if lookup("IDENTITY_HEADER").is_none() {
        problems.push(Problem::new("IDENTITY_HEADER", "is not set, and IDENTITY_ENDPOINT needs it; Azure sets both"));
    }
    if lookup("IDENTITY_SERVER_THUMBPRINT").is_some() {
        let text = "is set, as in Service Fabric, whose managed identities are not supported";
        problems.push(Problem::new("IDENTITY_SERVER_THUMBPRINT", text));
    }
    if problems.is_empty() { Ok(Choice::ManagedIdentity { client: lookup("AZURE_CLIENT_ID") }) } else { Err(problems) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::lookup_in;

    fn choose(settings: &[(&str, &str)]) -> Result<Choice, String> {
        Choice::from_settings(&lookup_in(settings))
            .map_err(|problems| problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))
    }

    const TENANT: (&str, &str) = ("AZURE_TENANT_ID", "t");
    const CLIENT: (&str, &str) = ("AZURE_CLIENT_ID", "c");

    #[test]
    fn one_credential_is_chosen_by_what_is_set() {
        let secret = ("AZURE_CLIENT_SECRET", "s");
        // Any file that is text.
        let federated = ("AZURE_FEDERATED_TOKEN_FILE", concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml"));
        let (endpoint, header) = (("IDENTITY_ENDPOINT", "http://127.0.0.1/msi"), ("IDENTITY_HEADER", "h"));
        for (settings, name) in [
            (vec![TENANT, CLIENT, secret, federated, endpoint], "client_secret"),
            (vec![TENANT, CLIENT, federated, endpoint], "workload_identity"),
            (vec![CLIENT, endpoint, header], "user_assigned_managed_identity"),
            (vec![endpoint, header], "system_assigned_managed_identity"),
            (vec![], "developer_tools"),
            (vec![TENANT, CLIENT], "developer_tools"),
        ] {
            assert_eq!(choose(&settings).expect("a choice").name(), name, "{settings:?}");
        }
    }

    #[test]
    fn reports_all_missing_settings_at_once() {
        let text = choose(&[("AZURE_CLIENT_SECRET", "s")]).expect_err("incomplete");
        assert!(text.contains("AZURE_TENANT_ID") && text.contains("AZURE_CLIENT_ID"), "{text}");
        let text = choose(&[TENANT, ("AZURE_CLIENT_CERTIFICATE_PATH", "/nowhere.pem")]).expect_err("no file");
        assert!(text.contains("AZURE_CLIENT_ID") && text.contains("AZURE_CLIENT_CERTIFICATE_PATH"), "{text}");
    }

    /// The variables that the problems name.
    fn wrong(settings: &[(&str, &str)]) -> Vec<String> {
        let problems = Choice::from_settings(&lookup_in(settings)).err().unwrap_or_default();
        problems.into_iter().map(|problem| problem.variable).collect()
    }

    #[test]
    fn what_the_sdk_would_refuse_is_a_problem_of_the_settings_all_at_once() {
        const APPLICATION: [&str; 3] = ["AZURE_TENANT_ID", "AZURE_CLIENT_ID", "AZURE_AUTHORITY_HOST"];
        let bad = [("AZURE_TENANT_ID", "a b"), ("AZURE_AUTHORITY_HOST", "http://login.example")];
        for (name, value, file) in [
            ("AZURE_CLIENT_SECRET", "s", None),
            ("AZURE_CLIENT_CERTIFICATE_PATH", "/nowhere", Some("AZURE_CLIENT_CERTIFICATE_PATH")),
            ("AZURE_FEDERATED_TOKEN_FILE", "/nowhere", Some("AZURE_FEDERATED_TOKEN_FILE")),
        ] {
            let settings = [&bad[..], &[(name, value)]].concat();
            assert_eq!(wrong(&settings), [&APPLICATION[..], file.as_slice()].concat(), "{name}");
        }
        let managed = [("IDENTITY_ENDPOINT", "msi/token"), ("IDENTITY_SERVER_THUMBPRINT", "1")];
        assert_eq!(wrong(&managed), ["IDENTITY_ENDPOINT", "IDENTITY_HEADER", "IDENTITY_SERVER_THUMBPRINT"]);
    }

    #[test]
    fn an_authority_of_any_cloud_is_an_https_address_without_a_path() {
        let secret = ("AZURE_CLIENT_SECRET", "s");
        for (value, is_fine) in [
            ("https://login.microsoftonline.us", true),
            ("https://login.partner.microsoftonline.cn/", true),
            ("https://127.0.0.1:4443", true),
            ("login.microsoftonline.us", false),
            ("http://127.0.0.1:4443", false),
            ("https://login.microsoftonline.us/tenant", false),
            ("https://", false),
        ] {
            let problems = wrong(&[TENANT, CLIENT, secret, ("AZURE_AUTHORITY_HOST", value)]);
            assert_eq!(problems.is_empty(), is_fine, "{value}: {problems:?}");
        }
    }

    #[test]
    fn secrets_are_in_no_debug_output() {
        let choice = choose(&[TENANT, CLIENT, ("AZURE_CLIENT_SECRET", "hush-hush")]).expect("a choice");
        assert!(!format!("{choice:?}").contains("hush-hush"));
    }
}
