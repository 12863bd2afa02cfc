//! The files of an app, read and judged: host.json, the functions' folders, the executable.
//!
//! <https://learn.microsoft.com/azure/azure-functions/functions-custom-handlers#application-structure>

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::elf;
use super::finding::{Check, Finding};
use super::functions::{self, Queues};
use super::host_json::{HostJson, Judged, mend, object};
use crate::config::Config;
use crate::host::{HTTP_FUNCTION, QUEUE_FUNCTION};
use crate::settings::Lookup;

const STAGE: &str = "`cargo stage` lays it out; publish that folder, or run this in it (or with --app)";

/// An app's folder.
#[derive(Debug)]
pub struct App {
    folder: PathBuf,
}

impl App {
    /// The app in that folder.
    pub fn new(folder: &Path) -> Self {
        Self { folder: folder.to_owned() }
    }

    /// All findings about its files, and the queues that it works with.
    pub fn check(&self, lookup: &Lookup, config: Option<&Config>) -> (Vec<Finding>, Queues) {
        let host = self.text("host.json").and_then(|text| HostJson::read(&text, lookup));
        let mut findings = about_host(host.as_ref(), config);
        let (queue, queues) = self.queue_function(lookup);
        findings.push(Finding::of(Check::QueueFunction, queue));
        let prefix = host.as_ref().map_or_else(|_| "api".to_owned(), HostJson::route_prefix);
        let http = self.function(HTTP_FUNCTION).and_then(|function| {
            functions::enabled(HTTP_FUNCTION, &function, lookup)?;
            functions::http(&function, &prefix)
        });
        findings.push(Finding::of(Check::HttpFunction, http));
        findings.push(Finding::of(Check::FunctionFolders, self.folders()));
        match host {
            Ok(host) => findings.extend(self.program(&host)),
            Err(_) => findings.extend(PROGRAM.map(|check| Finding::not_tried(check, Check::HostJson))),
        }
        (findings, queues)
    }

    /// The text of a file, or what is wrong with it, as a clause that follows its name.
    fn text(&self, name: &str) -> Result<String, String> {
        fs::read_to_string(self.folder.join(name)).map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound => format!("is not in {}", self.folder.display()),
            _ => format!("cannot be read: {error}"),
        })
    }

    fn function(&self, name: &str) -> Result<Value, (String, String)> {
        let file = format!("{name}/function.json");
        let function = self.text(&file).and_then(|text| object(&text));
        function.map_err(|problem| mend(format!("{file} {problem}"), STAGE))
    }

    fn queue_function(&self, lookup: &Lookup) -> (Judged, Queues) {
        let function = match self.function(QUEUE_FUNCTION) {
            Ok(function) => function,
            Err(missing) => return (Err(missing), Queues::default()),
        };
        let (judged, queues) = functions::queue(&function);
        (functions::enabled(QUEUE_FUNCTION, &function, lookup).and(judged), queues)
    }

    /// Functions lie one level deep, and the code knows them all.
    fn folders(&self) -> Judged {
        let is_function = |folder: &Path| folder.join("function.json").is_file();
        let folders = subfolders(&self.folder);
        let deeper = folders.iter().flat_map(|folder| subfolders(folder)).find(|folder| is_function(folder));
        if let Some(folder) = deeper {
            let found = format!("{} lies two levels deep, and the host looks one level deep", self.shown(&folder));
            return Err(mend(found, STAGE));
        }
        let names: Vec<_> =
            folders.iter().filter(|folder| is_function(folder)).map(|folder| self.shown(folder)).collect();
        match names.iter().find(|name| ![QUEUE_FUNCTION, HTTP_FUNCTION].contains(&name.as_str())) {
            Some(name) => Err(mend(
                format!("{name} has a function.json, and this program has no such function"),
                format!(
                    "remove it; the functions are {QUEUE_FUNCTION} and {HTTP_FUNCTION}, upper and lower case as here"
                ),
            )),
            None => Ok(names.join(", ")),
        }
    }

    fn shown(&self, path: &Path) -> String {
        path.strip_prefix(&self.folder).unwrap_or(path).display().to_string()
    }

    /// The executable, the processor and the C library.
    fn program(&self, host: &HostJson<'_>) -> Vec<Finding> {
        let executable = self.executable(host.executable().as_deref());
        let file = match executable {
            Ok(file) => file,
            Err(wrong) => {
                let rest =
                    [Check::Architecture, Check::Glibc].map(|check| Finding::not_tried(check, Check::Executable));
                return [Finding::of(Check::Executable, Err::<String, _>(wrong))].into_iter().chain(rest).collect();
            }
        };
        let found = format!("{} ({} KiB)", file.name, file.bytes.len().div_ceil(1024));
        let mut findings = vec![Finding::good(Check::Executable, found)];
        match elf::read(&file.bytes) {
            Ok(needs) => {
                findings.push(Finding::of(Check::Architecture, needs.judge_architecture()));
                findings.push(Finding::of(Check::Glibc, needs.judge_library()));
            }
            Err(problem) => {
                let found = format!("{} {problem}", file.name);
                findings.push(Finding::wrong(Check::Architecture, found, elf::REBUILD));
                findings.push(Finding::not_tried(Check::Glibc, Check::Architecture));
            }
        }
        findings
    }

    fn executable(&self, name: Option<&str>) -> Result<Executable, (String, String)> {
        let remedy = r#"set customHandler.description.defaultExecutablePath to "handler", the executable's exact name"#;
        let Some(name) = name else {
            return Err(mend("host.json names no defaultExecutablePath", remedy));
        };
        if Path::new(name).file_name().is_none_or(|file| file != name) {
            // The publish command makes that file executable whose name is this text, and no other.
            return Err(mend(
                format!("defaultExecutablePath is {name}, not the bare name of a file beside it"),
                remedy,
            ));
        }
        let path = self.folder.join(name);
        if !self.has_exactly(name) {
            let remedy = if self.has_exactly("handler") { remedy } else { STAGE };
            return Err(mend(format!("there is no {name}, which host.json names as defaultExecutablePath"), remedy));
        }
        if !is_executable(&path) {
            let remedy =
                format!("chmod +x {name}; `func azure functionapp publish` sets it, other ways of copying may not");
            return Err(mend(format!("{name} has no executable bit, so the host cannot start it"), remedy));
        }
        match fs::read(&path) {
            Ok(bytes) => Ok(Executable { name: name.to_owned(), bytes }),
            Err(error) => Err(mend(format!("{name} cannot be read: {error}"), STAGE)),
        }
    }

    /// Some systems find a file by another spelling; Azure's Linux does not.
    fn has_exactly(&self, name: &str) -> bool {
        let entries = fs::read_dir(&self.folder).into_iter().flatten().flatten();
        entries.filter(|entry| entry.path().is_file()).any(|entry| entry.file_name() == name)
    }
}

const PROGRAM: [Check; 3] = [Check::Executable, Check::Architecture, Check::Glibc];

struct Executable {
    name: String,
    bytes: Vec<u8>,
}

fn about_host(host: Result<&HostJson<'_>, &String>, config: Option<&Config>) -> Vec<Finding> {
    let limits = [Check::Concurrency, Check::TimeLimit];
    let host = match host {
        Ok(host) => host,
        Err(problem) => {
            let rest = [Check::RetryBlock, Check::Redelivery, Check::MessageEncoding, Check::Forwarding];
            let first = Finding::wrong(Check::HostJson, format!("host.json {problem}"), STAGE);
            let rest = rest.into_iter().chain(limits).map(|check| Finding::not_tried(check, Check::HostJson));
            return [first].into_iter().chain(rest).collect();
        }
    };
    let mut findings = host.check();
    match config {
        Some(config) => findings.extend(host.check_against(config)),
        None => findings.extend(limits.map(|check| Finding::not_tried(check, Check::Settings))),
    }
    findings
}

/// The folders in a folder, by name; none where it cannot be read.
fn subfolders(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut folders: Vec<_> = entries.map(|entry| entry.path()).filter(|path| path.is_dir()).collect();
    folders.sort();
    folders
}

#[cfg(unix)]
fn is_executable(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    fs::metadata(path).is_ok_and(|metadata| metadata.permissions().mode() & 0o111 != 0)
}

/// There is no such bit here; the publish command sets it.
#[cfg(windows)]
fn is_executable(_: &Path) -> bool {
    true
}
