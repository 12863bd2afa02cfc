//! Which Entra credential the settings choose, and the SDK's credential for it.

use std::path::PathBuf;
use std::sync::Arc;

use azure_core::cloud::{CloudConfiguration, CustomConfiguration};
use azure_core::credentials::{Secret, TokenCredential};
use azure_core::http::{ClientOptions, RetryOptions, Transport};
use azure_identity::{
    ClientAssertionCredential, ClientAssertionCredentialOptions, ClientSecretCredential, ClientSecretCredentialOptions,
    ManagedIdentityCredential, ManagedIdentityCredentialOptions, UserAssignedId, WorkloadIdentityCredential,
    WorkloadIdentityCredentialOptions,
};

use super::answer::{Service, TokenTransport};
use super::certificate::{Assertion, Certificate};
use super::developer_tools::DeveloperTools;
use crate::http::Http;
use crate::http::sdk::SdkTransport;
use crate::settings::{Lookup, Problem};

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
            return Self::from_certificate(&path, lookup);
        }
        if let Some(file) = lookup("AZURE_FEDERATED_TOKEN_FILE") {
            let application = application("AZURE_FEDERATED_TOKEN_FILE")?;
            return Ok(Self::WorkloadIdentity { application, token_file: file.into() });
        }
        Ok(match lookup("IDENTITY_ENDPOINT") {
            Some(_) => Self::ManagedIdentity { client: lookup("AZURE_CLIENT_ID") },
            None => Self::DeveloperTools,
        })
    }

    fn from_certificate(path: &str, lookup: &Lookup) -> Result<Self, Vec<Problem>> {
        let application = Application::from_settings("AZURE_CLIENT_CERTIFICATE_PATH", lookup);
        let password = lookup("AZURE_CLIENT_CERTIFICATE_PASSWORD");
        let certificate = Certificate::read(path.as_ref(), password.as_deref())
            .map_err(|problem| vec![Problem::new("AZURE_CLIENT_CERTIFICATE_PATH", problem)]);
        match (application, certificate) {
            (Ok(application), Ok(certificate)) => {
                Ok(Self::ClientCertificate { application, certificate: Arc::new(certificate) })
            }
            (application, certificate) => {
                Err([application.err(), certificate.err()].into_iter().flatten().flatten().collect())
            }
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
            Self::ClientCertificate { application, certificate } => {
                let assertion = Assertion::new(&application, certificate);
                let options = ClientAssertionCredentialOptions { client_options };
                ClientAssertionCredential::new(application.tenant, application.client, assertion, Some(options))?
            }
            Self::WorkloadIdentity { application, token_file } => {
                WorkloadIdentityCredential::new(Some(WorkloadIdentityCredentialOptions {
                    credential_options: ClientAssertionCredentialOptions { client_options },
                    client_id: Some(application.client),
                    tenant_id: Some(application.tenant),
                    token_file_path: Some(token_file),
                }))?
            }
            Self::ManagedIdentity { client } => {
                ManagedIdentityCredential::new(Some(ManagedIdentityCredentialOptions {
                    user_assigned_id: client.map(UserAssignedId::ClientId),
                    client_options,
                }))?
            }
            Self::DeveloperTools => Arc::new(DeveloperTools::new(None)?),
        })
    }
}

impl Application {
    /// The application of a credential that the variable `because` asks for.
    fn from_settings(because: &str, lookup: &Lookup) -> Result<Self, Vec<Problem>> {
        let names = ["AZURE_TENANT_ID", "AZURE_CLIENT_ID"];
        match names.map(lookup) {
            [Some(tenant), Some(client)] => {
                let authority = lookup("AZURE_AUTHORITY_HOST").unwrap_or_else(|| PUBLIC_AUTHORITY.to_owned());
                Ok(Self { tenant, client, authority })
            }
            values => {
                let missing = names.iter().zip(values).filter(|(_, value)| value.is_none());
                Err(missing
                    .map(|(name, _)| Problem::new(name, format!("is not set, and {because} needs it")))
                    .collect())
            }
        }
    }

    /// Passes the authority to the SDK, which would otherwise read the environment by itself.
    fn cloud(&self) -> Arc<CloudConfiguration> {
        let mut cloud = CustomConfiguration::default();
        cloud.authority_host.clone_from(&self.authority);
        Arc::new(cloud.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn choose(settings: &[(&str, &str)]) -> Result<Choice, String> {
        let lookup =
            |name: &str| settings.iter().find(|(found, _)| *found == name).map(|(_, value)| (*value).to_owned());
        Choice::from_settings(&lookup)
            .map_err(|problems| problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))
    }

    const TENANT: (&str, &str) = ("AZURE_TENANT_ID", "t");
    const CLIENT: (&str, &str) = ("AZURE_CLIENT_ID", "c");

    #[test]
    fn one_credential_is_chosen_by_what_is_set() {
        let secret = ("AZURE_CLIENT_SECRET", "s");
        let federated = ("AZURE_FEDERATED_TOKEN_FILE", "/token");
        let endpoint = ("IDENTITY_ENDPOINT", "http://127.0.0.1/msi");
        for (settings, name) in [
            (vec![TENANT, CLIENT, secret, federated, endpoint], "client_secret"),
            (vec![TENANT, CLIENT, federated, endpoint], "workload_identity"),
            (vec![CLIENT, endpoint], "user_assigned_managed_identity"),
            (vec![endpoint], "system_assigned_managed_identity"),
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

    #[test]
    fn secrets_are_in_no_debug_output() {
        let choice = choose(&[TENANT, CLIENT, ("AZURE_CLIENT_SECRET", "hush-hush")]).expect("a choice");
        assert!(!format!("{choice:?}").contains("hush-hush"));
    }
}
