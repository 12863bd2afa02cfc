//! The files of an app: host.json, the functions' folders, the executable.
//!
//! <https://learn.microsoft.com/azure/azure-functions/functions-custom-handlers#application-structure>

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::elf;
use super::functions::{self, Queues};
use super::host_json;
use super::report::{CheckResult, Failed, Report, wrong};
use crate::config::Config;
use crate::files;
use crate::host::{HTTP_FUNCTION, HostJson, QUEUE_FUNCTION, read_object};
use crate::settings::Lookup;

const STAGE: &str = "`cargo stage` lays it out; publish that folder, or run this in it (or with --app)";

/// The most bytes of an executable: a debug build has some 50 MB.
const MAX_EXECUTABLE: u64 = 256 * 1024 * 1024;

pub(crate) struct App<'a> {
    folder: &'a Path,
    lookup: &'a Lookup<'a>,
}

impl<'a> App<'a> {
    pub(crate) fn new(folder: &'a Path, lookup: &'a Lookup<'a>) -> Self {
        Self { folder, lookup }
    }

    /// Checks its files; returns the queues that it works with.
    pub(crate) fn check(&self, config: Result<&Config, Failed>, report: &mut Report) -> Queues {
        let host = HostJson::load(self.folder, self.lookup);
        let found = host.as_ref().map_or_else(
            |error| wrong(format!("host.json {error} ({})", self.folder.display()), STAGE),
            host_json::extension_bundle,
        );
        report.add("host_json", Ok(found));
        let host = host.as_ref().map_err(|_| "host_json");
        host_json::check(host, config, report);
        let queues = self.queue_function(report);
        let http = self.function(HTTP_FUNCTION).and_then(|function| {
            functions::enabled(HTTP_FUNCTION, &function, self.lookup)?;
            functions::http(&function, host.map_or("api", |host| &host.route_prefix))
        });
        report.add("http_function", Ok(http));
        report.add("function_folders", self.folders());
        self.program(host.map(|host| host.executable.as_deref()), report);
        queues
    }

    fn function(&self, name: &str) -> Result<Value, (String, String)> {
        let file = format!("{name}/function.json");
        let function = read_object(&self.folder.join(&file));
        function.map_err(|error| (format!("{file} {error} ({})", self.folder.display()), STAGE.to_owned()))
    }

    fn queue_function(&self, report: &mut Report) -> Queues {
        let (result, queues) = match self.function(QUEUE_FUNCTION) {
            Ok(function) => {
                let (result, queues) = functions::queue(&function);
                (functions::enabled(QUEUE_FUNCTION, &function, self.lookup).and(result), queues)
            }
            Err(problem) => (Err(problem), Queues::default()),
        };
        report.add("queue_function", Ok(result));
        queues
    }

    /// Functions must be one level deep, and their names known to the code.
    fn folders(&self) -> Result<CheckResult, Failed> {
        let is_function = |folder: &PathBuf| folder.join("function.json").is_file();
        let folders = subfolders(self.folder);
        let deeper = folders.iter().flat_map(|folder| subfolders(folder)).find(is_function);
        if let Some(folder) = deeper {
            let name = self.name(&folder);
            return Ok(wrong(format!("{name} is two levels deep, and the host looks one level deep"), STAGE));
        }
        let names: Vec<_> =
            folders.iter().filter(|folder| is_function(folder)).map(|folder| self.name(folder)).collect();
        if names.is_empty() {
            return Err("queue_function");
        }
        Ok(match names.iter().find(|name| ![QUEUE_FUNCTION, HTTP_FUNCTION].contains(&name.as_str())) {
            None => Ok(names.join(", ")),
            Some(name) => wrong(
                format!("{name} has a function.json, and this program has no such function"),
                format!("remove it; the functions are {QUEUE_FUNCTION} and {HTTP_FUNCTION}, in exactly this case"),
            ),
        })
    }

    fn name(&self, path: &Path) -> String {
        path.strip_prefix(self.folder).unwrap_or(path).display().to_string()
    }

    fn program(&self, name: Result<Option<&str>, Failed>, report: &mut Report) {
        let file = report.keep("executable", name.map(|name| self.executable(name)), |(name, bytes)| {
            format!("{name} ({} KiB)", bytes.len().div_ceil(1024))
        });
        let needs = file.map(|(name, bytes)| {
            elf::read(&bytes).map_err(|problem| (format!("{name} {problem}"), elf::REBUILD.to_owned()))
        });
        let library = needs.clone().and_then(|needs| needs.map_err(|_| "architecture"));
        report.add("architecture", needs.map(|needs| needs?.judge_architecture()));
        report.add("glibc", library.map(|needs| needs.judge_library()));
    }

    /// The name and the bytes of the file that the host starts.
    fn executable<'n>(&self, name: Option<&'n str>) -> Result<(&'n str, Vec<u8>), (String, String)> {
        let remedy = r#"set customHandler.description.defaultExecutablePath to "handler", the executable's exact name"#;
        let Some(name) = name else { return wrong("host.json names no defaultExecutablePath", remedy) };
        if Path::new(name).file_name().is_none_or(|file| file != name) {
            // The publish command sets the executable bit of the file with exactly this name.
            return wrong(format!("defaultExecutablePath is {name}, not the bare name of a file beside it"), remedy);
        }
        if !self.has_exactly(name) {
            let remedy = if self.has_exactly("handler") { remedy } else { STAGE };
            return wrong(format!("there is no {name}, which host.json names as defaultExecutablePath"), remedy);
        }
        let path = self.folder.join(name);
        if !is_executable(&path) {
            let remedy =
                format!("chmod +x {name}; `func azure functionapp publish` sets it, other ways of copying may not");
            return wrong(format!("{name} has no executable bit, so the host cannot start it"), remedy);
        }
        match files::read(&path, MAX_EXECUTABLE) {
            Ok(bytes) => Ok((name, bytes)),
            Err(error) => wrong(format!("{name} cannot be read: {error}"), STAGE),
        }
    }

    /// Some systems ignore case when they open a file; Azure's Linux does not.
    fn has_exactly(&self, name: &str) -> bool {
        let entries = fs::read_dir(self.folder).into_iter().flatten().flatten();
        entries.filter(|entry| entry.path().is_file()).any(|entry| entry.file_name() == name)
    }
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

/// Windows has no such bit; the publish command sets it.
#[cfg(windows)]
fn is_executable(_: &Path) -> bool {
    true
}
