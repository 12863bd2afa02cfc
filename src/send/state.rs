//! How far a file has been put, in a file beside it. It is replaced in one step and deleted at the end.
//!
//! It also says which file that was, by its length, its time and a hash of its head, and with which options: the number is of no use
//! for other ones.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::digest::{SHA256, digest};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::files;

/// The bytes of the head that are hashed.
const HEAD: u64 = 64 * 1024;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Fingerprint {
    length: u64,
    /// In nanoseconds since 1970.
    modified: u64,
    sha256_of_head: String,
}

#[derive(Debug, Serialize, Deserialize)]
struct Content {
    file: Fingerprint,
    options: Map<String, Value>,
    /// The records that are put, in their order.
    put: u64,
}

/// Why a state cannot be used.
#[derive(Debug, thiserror::Error)]
pub(super) enum StateError {
    #[error("{} cannot be {done}: {error}; send the file from a folder that you may write", path.display())]
    Io { path: PathBuf, done: &'static str, error: io::Error },
    #[error("{} is of an unfinished run with another {what}; finish that run, or delete this file to send the input from its first record", path.display())]
    Other { path: PathBuf, what: String },
}

/// The state of one file.
#[derive(Debug)]
pub(super) struct State {
    path: PathBuf,
    content: Content,
}

impl State {
    /// Reads the state beside `input`, or begins a new one; nothing is written yet.
    ///
    /// # Errors
    /// The state is of another file or of other options.
    pub(super) fn open(input: &Path, options: Map<String, Value>) -> Result<Self, StateError> {
        let path = beside(input);
        let failed = |done| {
            let path = path.clone();
            move |error| StateError::Io { path, done, error }
        };
        let file = fingerprint(input).map_err(failed("begun"))?;
        let new = Content { file, options, put: 0 };
        let content = match files::read_text(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => new,
            Err(error) => return Err(failed("read")(error)),
            Ok(text) => match serde_json::from_str::<Content>(&text) {
                Ok(old) => match difference(&old, &new) {
                    None => Content { put: old.put, ..new },
                    Some(what) => return Err(StateError::Other { path, what }),
                },
                Err(_) => return Err(StateError::Other { path, what: "version of this program".to_owned() }),
            },
        };
        Ok(Self { path, content })
    }

    /// The records that are put, in their order.
    pub(super) fn put(&self) -> u64 {
        self.content.put
    }

    /// The file.
    pub(super) fn file(&self) -> &Fingerprint {
        &self.content.file
    }

    /// Replaces the state.
    pub(super) fn save(&mut self, put: u64) -> Result<(), StateError> {
        self.content.put = put;
        let text = serde_json::to_string(&self.content).expect("it is plain data");
        self.replace(&text).map_err(|error| StateError::Io { path: self.path.clone(), done: "written", error })
    }

    fn replace(&self, text: &str) -> io::Result<()> {
        let new = with_ending(&self.path, ".new");
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(true);
        // A constant may be in the options.
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        options.open(&new)?.write_all(text.as_bytes())?;
        fs::rename(&new, &self.path)
    }

    /// Deletes the state, because everything is put.
    pub(super) fn delete(self) -> Result<(), StateError> {
        match fs::remove_file(&self.path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(StateError::Io { path: self.path, done: "deleted", error })
            }
            _ => Ok(()),
        }
    }
}

/// The path of the state.
fn beside(input: &Path) -> PathBuf {
    with_ending(input, ".send-state")
}

fn with_ending(path: &Path, ending: &str) -> PathBuf {
    let mut path = path.as_os_str().to_owned();
    path.push(ending);
    path.into()
}

fn difference(old: &Content, new: &Content) -> Option<String> {
    if old.file != new.file {
        return Some("content or time of the input".to_owned());
    }
    let names = old.options.keys().chain(new.options.keys());
    let name = names.into_iter().find(|name| old.options.get(*name) != new.options.get(*name))?;
    Some(format!("--{name}"))
}

/// Which file it is; another one where its content has changed.
pub(super) fn fingerprint(path: &Path) -> io::Result<Fingerprint> {
    let file = File::open(path)?;
    let metadata = file.metadata()?;
    let since = metadata.modified()?.duration_since(UNIX_EPOCH).unwrap_or_default();
    let mut head = Vec::new();
    file.take(HEAD).read_to_end(&mut head)?;
    Ok(Fingerprint {
        length: metadata.len(),
        modified: u64::try_from(since.as_nanos()).unwrap_or(u64::MAX),
        sha256_of_head: STANDARD.encode(digest(&SHA256, &head)),
    })
}

#[cfg(test)]
mod tests;
