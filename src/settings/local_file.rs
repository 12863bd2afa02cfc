//! local.settings.json, as `func` reads it: the values of its member `Values` are environment variables.
//!
//! <https://learn.microsoft.com/azure/azure-functions/functions-develop-local#local-settings-file>

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::files;

const NAME: &str = "local.settings.json";

pub(super) struct LocalFile {
    path: PathBuf,
    pub(super) values: Vec<(String, String)>,
}

impl LocalFile {
    /// The file in `folder`, if there is one.
    ///
    /// # Errors
    /// Why it is not read, as a sentence.
    pub(super) fn read(folder: &Path) -> Result<Option<Self>, String> {
        let path = if folder == Path::new(".") { PathBuf::from(NAME) } else { folder.join(NAME) };
        let problem = |text: &str| format!("{} is not read: {text}", path.display());
        let text = match files::read_text(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(problem(&error.to_string())),
        };
        let file: Value = serde_json::from_str(text.trim_start_matches('\u{feff}'))
            .map_err(|error| problem(&format!("it is not JSON: {error}")))?;
        if file["IsEncrypted"] == true {
            return Err(problem("it is encrypted; `func settings decrypt` decrypts it"));
        }
        let values = file["Values"].as_object().ok_or_else(|| problem("it has no object \"Values\""))?;
        let values = values.iter().filter_map(|(name, value)| Some((name.clone(), as_text(value)?))).collect();
        Ok(Some(Self { path, values }))
    }
}

impl fmt::Display for LocalFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.path.display().fmt(f)
    }
}

/// A JSON value as .NET reads it into a configuration.
pub(crate) fn as_text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(_) | Value::Bool(_) => Some(value.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}
