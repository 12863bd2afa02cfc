//! Which settings there are ([`table`]), where they come from ([`environment`]), how one is read, and what can be wrong with it.
//!
//! Settings come from a [`Lookup`]; only `main` reads the process environment. A [`Problem`] names its variable, so that all
//! problems can be reported at once.

pub mod environment;
mod local_file;
pub mod table;

use std::cell::RefCell;

pub(crate) use local_file::as_text;
use url::{Host, Url};

/// Returns the value of the variable with the given name, if it is set.
pub type Lookup<'a> = dyn Fn(&str) -> Option<String> + 'a;

/// One problem with the settings.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{variable} {text}")]
pub struct Problem {
    /// The variable.
    pub variable: String,
    /// What is wrong, as a clause that follows the name.
    pub text: String,
}

impl Problem {
    /// `variable` has a problem.
    pub fn new(variable: &str, text: impl Into<String>) -> Self {
        Self { variable: variable.to_owned(), text: text.into() }
    }
}

/// How every variable begins that overrides a value of host.json.
pub(crate) const OVERRIDE_PREFIX: &str = "AzureFunctionsJobHost__";

/// The trimmed value of a variable; an empty one counts as not set.
pub(crate) fn non_empty(lookup: &Lookup, name: &str) -> Option<String> {
    lookup(name).map(|value| value.trim().to_owned()).filter(|value| !value.is_empty())
}

/// A reference that Azure could not resolve is passed on as it is written.
/// <https://learn.microsoft.com/azure/app-service/app-service-key-vault-references#troubleshoot-key-vault-references>
const REFERENCE: &str = "@Microsoft.KeyVault(";

const UNRESOLVED: &str = "is a Key Vault reference that Azure has not resolved; check the reference, and that the app's identity \
                          may read the secret";

/// Whether a value is a reference that was not resolved.
pub(crate) fn is_unresolved(value: &str) -> bool {
    value.trim_start().starts_with(REFERENCE)
}

/// `variable` is a reference that was not resolved.
pub(crate) fn unresolved(variable: &str) -> Problem {
    Problem::new(variable, UNRESOLVED)
}

/// Both results, or the problems of both.
///
/// # Errors
/// Every problem.
pub fn both<A, B>(one: Result<A, Vec<Problem>>, other: Result<B, Vec<Problem>>) -> Result<(A, B), Vec<Problem>> {
    match (one, other) {
        (Ok(one), Ok(other)) => Ok((one, other)),
        (one, other) => Err([one.err(), other.err()].into_iter().flatten().flatten().collect()),
    }
}

/// Reads settings with `read`, which gets the trimmed values; an empty one counts as not set. For a variable whose value is an
/// unresolved reference, that is the only problem.
///
/// # Errors
/// Every problem.
pub(crate) fn read_resolved<T>(
    lookup: &Lookup,
    read: impl FnOnce(&Lookup) -> Result<T, Vec<Problem>>,
) -> Result<T, Vec<Problem>> {
    let references = RefCell::new(Vec::new());
    let result = read(&|name| {
        let value = non_empty(lookup, name);
        let mut references = references.borrow_mut();
        if value.as_deref().is_some_and(is_unresolved) && !references.iter().any(|known| known == name) {
            references.push(name.to_owned());
        }
        value
    });
    let references = references.into_inner();
    if references.is_empty() {
        return result;
    }
    let mut problems = result.err().unwrap_or_default();
    problems.retain(|problem| !references.contains(&problem.variable));
    problems.extend(references.iter().map(|name| unresolved(name)));
    Err(problems)
}

/// Whether what is sent to the address is encrypted, or stays on this machine: https, or http to a loopback address.
pub(crate) fn is_confidential(url: &Url) -> bool {
    let is_loopback = match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    };
    url.has_host() && (url.scheme() == "https" || (url.scheme() == "http" && is_loopback))
}

/// An argument of a command, if it is valid; else the problem.
pub(crate) fn checked(text: &str, is_valid: fn(&str) -> bool, problem: &'static str) -> Result<String, &'static str> {
    if is_valid(text) { Ok(text.to_owned()) } else { Err(problem) }
}

/// Finds these settings; of several with one name the last.
#[cfg(test)]
pub(crate) fn lookup_in(settings: &[(&str, &str)]) -> impl Fn(&str) -> Option<String> {
    move |name| settings.iter().rfind(|(set, _)| *set == name).map(|(_, value)| (*value).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unresolved_reference_is_the_only_problem_of_its_variable() {
        const VALUE: &str = "@Microsoft.KeyVault(SecretUri=https://v.vault.azure.net/secrets/s)";
        let lookup = |name: &str| ["A", "B"].contains(&name).then(|| VALUE.to_owned());
        let read = |lookup: &Lookup| {
            let [_, _, _, _] = ["A", "B", "B", "C"].map(lookup);
            Err::<(), _>(vec![Problem::new("A", "is not a URL"), Problem::new("C", "is not set")])
        };
        let problems = read_resolved(&lookup, read).expect_err("three problems");
        assert_eq!(problems, [Problem::new("C", "is not set"), unresolved("A"), unresolved("B")]);
        assert_eq!(read_resolved(&lookup, |lookup| Ok(lookup("A").is_some())), Err(vec![unresolved("A")]));
        assert_eq!(read_resolved(&lookup, |lookup| Ok(lookup("C"))), Ok(None));
    }
}
