//! Where settings come from: the process environment, and for commands local.settings.json where the environment has none.
//!
//! `func start` reads that file for the host alone, so without it every command on a developer's machine would lack its settings.
//! It is all or nothing: a command that mixed the file with a shell's variables could reach another account than either of them
//! names.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::path::Path;

use super::local_file::LocalFile;
use super::{OVERRIDE_PREFIX, Problem, table};
use crate::names::{difference, nearest};

/// The host's own connection; also the beginning of its other forms' names.
const STORAGE: &str = "AzureWebJobsStorage";

/// Settings that other programs share: they say nothing about where this program's settings are.
const SHARED: [&str; 2] = ["RUST_LOG", "OTEL_EXPORTER_OTLP_ENDPOINT"];

/// The folders whose local.settings.json is read: this one, and the one that `cargo stage` fills.
const FOLDERS: [&str; 2] = [".", "target/functionapp"];

/// The settings of a process. It has no Debug output, because it holds secrets.
pub struct Environment {
    variables: Vec<(String, String)>,
    file: Option<LocalFile>,
    may_read_file: bool,
    notice: Option<String>,
}

/// Where the value of a setting comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Source {
    Environment,
    LocalFile,
}

impl Environment {
    /// The settings of a serving handler: these variables alone. A value that is not text counts as not set.
    pub fn new(variables: impl IntoIterator<Item = (OsString, OsString)>) -> Self {
        let text = |(name, value): (OsString, OsString)| Some((name.into_string().ok()?, value.into_string().ok()?));
        Self {
            variables: variables.into_iter().filter_map(text).collect(),
            file: None,
            may_read_file: false,
            notice: None,
        }
    }

    /// The settings of a command: local.settings.json is read where the variables have no setting at all.
    pub fn for_command(variables: impl IntoIterator<Item = (OsString, OsString)>) -> Self {
        Self::new(variables).or_file(&FOLDERS)
    }

    fn or_file(mut self, folders: &[impl AsRef<Path>]) -> Self {
        let found = folders.iter().find_map(|folder| LocalFile::read(folder.as_ref()).transpose());
        let set = self.variables.iter().map(|(name, _)| name).find(|name| is_of_this_program(name));
        self.may_read_file = set.is_none();
        self.notice = match (&found, set) {
            (None, _) => None,
            (Some(Err(problem)), _) => Some(problem.clone()),
            (Some(Ok(file)), Some(name)) => Some(format!("{file} is not read, because the environment has {name}")),
            (Some(Ok(file)), None) => Some(format!("settings are read from {file}, because the environment has none")),
        };
        self.file = found.and_then(Result::ok).filter(|_| self.may_read_file);
        self
    }

    /// The value of a setting.
    pub fn get(&self, name: &str) -> Option<String> {
        self.find(name).map(|(value, _)| value.to_owned())
    }

    /// The value of a setting, and where it comes from.
    pub(crate) fn find(&self, name: &str) -> Option<(&str, Source)> {
        let value_in = |variables: &'_ [(String, String)]| variables.iter().position(|(known, _)| is_same(known, name));
        if let Some(position) = value_in(&self.variables) {
            return Some((&self.variables[position].1, Source::Environment));
        }
        let values = self.file.as_ref()?.values.as_slice();
        Some((&values[value_in(values)?].1, Source::LocalFile))
    }

    /// The names of all variables and values.
    pub(crate) fn names(&self) -> BTreeSet<&str> {
        let values = self.file.iter().flat_map(|file| &file.values);
        self.variables.iter().chain(values).map(|(name, _)| name.as_str()).collect()
    }

    /// The path of the file that is read.
    pub fn file(&self) -> Option<String> {
        self.file.as_ref().map(ToString::to_string)
    }

    /// Whether local.settings.json is read if there is one that can be read.
    pub fn may_read_file(&self) -> bool {
        self.may_read_file
    }

    /// One sentence about a local.settings.json that exists: whether it is read.
    pub fn notice(&self) -> Option<&str> {
        self.notice.as_deref()
    }

    /// The variables whose name is almost a setting's. They have no effect.
    pub fn misspelt(&self) -> Vec<Problem> {
        let is_known = |name: &str| table::all().any(|setting| is_same(setting.name, name));
        let connection = self.get("LOCK_STORAGE");
        // A connection has its own name, and several forms of it.
        let is_unknown = |name: &&str| !is_known(name) && connection.as_deref() != Some(*name);
        let bare = |name: &'_ str| name.split("__").next().unwrap_or_default().to_owned();
        let names: BTreeSet<_> = self.names().into_iter().map(bare).collect();
        let unknown = names.iter().map(String::as_str).filter(is_unknown);
        let problem = |name: &str| {
            let settings = table::all().map(|setting| setting.name);
            let suggested = nearest(settings, |setting| difference(name, setting));
            let text = format!("is not a setting; did you mean {}?", suggested.join(" or "));
            (!suggested.is_empty()).then(|| Problem::new(name, text))
        };
        unknown.filter_map(problem).collect()
    }
}

fn is_of_this_program(name: &str) -> bool {
    name.starts_with(STORAGE) || table::all().any(|setting| setting.name == name && !SHARED.contains(&name))
}

/// The host compares the names of its overrides without case, and Windows all names.
fn is_same(known: &str, name: &str) -> bool {
    if cfg!(windows) || name.starts_with(OVERRIDE_PREFIX) { known.eq_ignore_ascii_case(name) } else { known == name }
}

#[cfg(test)]
mod tests;
