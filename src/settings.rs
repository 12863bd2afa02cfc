//! How a setting is read, and what can be wrong with one.
//!
//! Settings come from a [`Lookup`]; only `main` reads the process environment. A [`Problem`] names its variable, so that all
//! problems can be reported at once.

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

/// The trimmed value of a variable; an empty one counts as not set.
pub(crate) fn non_empty(lookup: &Lookup, name: &str) -> Option<String> {
    lookup(name).map(|value| value.trim().to_owned()).filter(|value| !value.is_empty())
}

/// An argument of a command, if it is valid; else the problem.
pub(crate) fn checked(text: &str, is_valid: fn(&str) -> bool, problem: &'static str) -> Result<String, &'static str> {
    if is_valid(text) { Ok(text.to_owned()) } else { Err(problem) }
}
