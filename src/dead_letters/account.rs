//! The storage account of the queues, opened with only the settings that it needs.

use super::queue::Queue;
use crate::settings::{Lookup, Problem, read_resolved};
use crate::storage::{Address, Connection, Service};

pub(crate) struct Account {
    connection: Connection,
    name: String,
    host: String,
}

impl Account {
    /// Opens the account of the connection `name`, with the settings that `lookup` gives. Nothing is sent yet.
    ///
    /// # Errors
    /// Everything that is missing or wrong, each with its name.
    pub(crate) fn open(name: &str, lookup: &Lookup<'_>) -> Result<Self, Vec<Problem>> {
        let resolve = |lookup: &Lookup| Address::resolve(Service::Queue, name, lookup).map_err(|problem| vec![problem]);
        let address = read_resolved(lookup, resolve)?;
        let host = address.host().to_owned();
        Ok(Self { connection: Connection::open(address, name, lookup)?, name: name.to_owned(), host })
    }

    /// The queue `name`; nothing is sent yet.
    pub(crate) fn queue(&self, name: &str) -> Result<Queue, Vec<Problem>> {
        let problem = |_| vec![Problem::new(&self.name, "cannot be used: Entra ID needs an https address")];
        Queue::open(&self.connection, name).map_err(problem)
    }

    pub(crate) fn host(&self) -> &str {
        &self.host
    }

    /// The connection and its host, for messages.
    pub(crate) fn name(&self) -> String {
        format!("{} ({})", self.name, self.host)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::install_tls;
    use crate::settings::lookup_in;

    fn open(settings: &[(&str, &str)]) -> Result<Account, Vec<String>> {
        install_tls();
        Account::open("AzureWebJobsStorage", &lookup_in(settings))
            .map_err(|problems| problems.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn the_connection_alone_is_enough() {
        let account = open(&[("AzureWebJobsStorage", " UseDevelopmentStorage=true ")]).expect("it is complete");
        assert_eq!(account.name(), "AzureWebJobsStorage (127.0.0.1)");
        assert!(account.queue("sync-records").is_ok());
        let account = open(&[
            ("AzureWebJobsStorage__accountName", "contoso"),
            ("IDENTITY_ENDPOINT", "http://127.0.0.1/"),
            ("IDENTITY_HEADER", "h"),
        ]);
        assert_eq!(account.expect("it is complete").name(), "AzureWebJobsStorage (contoso.queue.core.windows.net)");
    }

    #[test]
    fn problems_name_their_variable_and_only_needed_settings_are_read() {
        let problems = open(&[("AzureWebJobsStorage", "")]).err().expect("an empty value counts as not set");
        assert_eq!(problems.len(), 1, "{problems:?}");
        assert!(problems[0].starts_with("AzureWebJobsStorage is not set"), "{problems:?}");
        let settings = [("AzureWebJobsStorage__accountName", "contoso"), ("AZURE_CLIENT_SECRET", "s")];
        let problems = open(&settings).err().expect("no tenant");
        assert!(
            problems[0].starts_with("AZURE_TENANT_ID") && problems[1].starts_with("AZURE_CLIENT_ID"),
            "{problems:?}"
        );
        let with_key = [("AzureWebJobsStorage", "UseDevelopmentStorage=true"), ("AZURE_CLIENT_SECRET", "s")];
        assert!(open(&with_key).is_ok(), "a key needs no identity");
    }
}
