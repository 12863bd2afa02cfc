//! What a command works with: the queues, opened with the settings that they need and no others.

use std::fmt;
use std::io;
use std::sync::Arc;

use azure_core::credentials::TokenCredential;

use super::arguments::Place;
use super::encoding::Encoding;
use super::queue::Queue;
use crate::http::Http;
use crate::identity::{Choice, Identity};
use crate::settings::{Lookup, Problem, non_empty};
use crate::storage::{Address, Connection, Service};

const HOST_JSON: &str = "host.json";

/// The account of the queues, and how messages are written there.
pub struct Desk {
    connection: Connection,
    name: String,
    host: String,
    encoding: Encoding,
}

impl fmt::Debug for Desk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Desk").field("connection", &self.name).field("encoding", &self.encoding).finish_non_exhaustive()
    }
}

impl Desk {
    /// Opens the account that `place` names, with the settings that `lookup` gives. Nothing is sent yet.
    ///
    /// # Errors
    /// All that is missing or wrong, each with its name.
    pub fn open(place: &Place, lookup: &Lookup) -> Result<Self, Vec<Problem>> {
        let lookup = |name: &str| non_empty(lookup, name);
        let mut problems = Vec::new();
        let encoding = encoding(place.encoding).map_err(|problem| problems.push(problem)).ok();
        let address = Address::resolve(Service::Queue, &place.connection, &lookup);
        let address = address.map_err(|problem| problems.push(problem)).ok();
        // With a key or a signature no token is ever asked for.
        let choice = if address.as_ref().is_some_and(Address::needs_identity) {
            Choice::from_settings(&lookup).map_err(|found| problems.extend(found)).ok()
        } else {
            Some(Choice::DeveloperTools)
        };
        let (Some(address), Some(choice), Some(encoding)) = (address, choice, encoding) else { return Err(problems) };
        let host = address.host().to_owned();
        let refused = |problem: String| vec![Problem::new(&place.connection, problem)];
        let http = Http::new().map_err(|_| refused("cannot be used: TLS cannot be set up".to_owned()))?;
        let identity = Identity::open(choice, &http)
            .map_err(|error| refused(format!("cannot be used: {}", crate::identity::problem(&error))))?;
        let identity: Arc<dyn TokenCredential> = Arc::new(identity);
        Ok(Self {
            connection: Connection::new(address, &identity, &http),
            name: place.connection.clone(),
            host,
            encoding,
        })
    }

    /// The queue of that name.
    ///
    /// # Errors
    /// When the connection's address cannot be used for it.
    pub fn queue(&self, name: &str) -> Result<Arc<Queue>, Vec<Problem>> {
        match Queue::open(&self.connection, name) {
            Ok(queue) => Ok(Arc::new(queue)),
            Err(_) => Err(vec![Problem::new(&self.name, "cannot be used: Entra ID needs an https address")]),
        }
    }

    /// The connection and its host, as an error names them.
    pub fn name(&self) -> String {
        format!("{} ({})", self.name, self.host)
    }

    /// How the host writes messages.
    pub fn encoding(&self) -> Encoding {
        self.encoding
    }
}

/// As it was asked for, else as the host.json in this folder says, else as the host does by default.
fn encoding(asked: Option<Encoding>) -> Result<Encoding, Problem> {
    if let Some(encoding) = asked {
        return Ok(encoding);
    }
    match std::fs::read_to_string(HOST_JSON) {
        Ok(text) => Encoding::from_host_json(&text)
            .map_err(|problem| Problem::new(HOST_JSON, format!("in this folder {problem}; --encoding overrides it"))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Encoding::default()),
        Err(error) => {
            Err(Problem::new(HOST_JSON, format!("in this folder cannot be read ({error}); --encoding overrides it")))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place() -> Place {
        Place {
            queue: "sync-records-poison".to_owned(),
            connection: "AzureWebJobsStorage".to_owned(),
            encoding: Some(Encoding::Base64),
            json: false,
        }
    }

    fn open(settings: &[(&str, &str)]) -> Result<Desk, Vec<String>> {
        // Another test of this process may have installed the same provider already.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let lookup =
            |name: &str| settings.iter().find(|(found, _)| *found == name).map(|(_, value)| (*value).to_owned());
        Desk::open(&place(), &lookup).map_err(|problems| problems.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn the_connection_alone_is_enough() {
        let desk = open(&[("AzureWebJobsStorage", " UseDevelopmentStorage=true ")]).expect("it is complete");
        assert_eq!(desk.name(), "AzureWebJobsStorage (127.0.0.1)");
        assert!(desk.queue("sync-records").is_ok());
        let desk = open(&[("AzureWebJobsStorage__accountName", "contoso"), ("IDENTITY_ENDPOINT", "http://127.0.0.1/")]);
        assert_eq!(desk.expect("it is complete").name(), "AzureWebJobsStorage (contoso.queue.core.windows.net)");
    }

    #[test]
    fn problems_name_their_variable_and_only_what_is_needed_is_asked_for() {
        let problems = open(&[("AzureWebJobsStorage", "")]).expect_err("an empty value counts as not set");
        assert_eq!(problems.len(), 1, "{problems:?}");
        assert!(problems[0].starts_with("AzureWebJobsStorage is not set"), "{problems:?}");
        let settings = [("AzureWebJobsStorage__accountName", "contoso"), ("AZURE_CLIENT_SECRET", "s")];
        let problems = open(&settings).expect_err("no tenant");
        assert!(
            problems[0].starts_with("AZURE_TENANT_ID") && problems[1].starts_with("AZURE_CLIENT_ID"),
            "{problems:?}"
        );
        let with_key = [("AzureWebJobsStorage", "UseDevelopmentStorage=true"), ("AZURE_CLIENT_SECRET", "s")];
        assert!(open(&with_key).is_ok(), "a key needs no identity");
    }
}
