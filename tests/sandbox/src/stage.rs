//! Lays out the app folder that the Functions host and `func` expect.
//!
//! In the repository the functions live under `functions/`; the host looks one level deep only, so host.json, the executable
//! and every function's folder have to stand side by side. It copies and builds, it never edits what it copies.
//!
//! <https://learn.microsoft.com/azure/azure-functions/functions-custom-handlers#application-structure>

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, bail, ensure};

/// What `func azure functionapp publish` must not upload.
const FUNCIGNORE: &str = "local.settings.json\nlocal.settings.json.sample\n*.pdb\n";

/// The folders under `functions/`, each with its function.json.
const FUNCTIONS: [&str; 2] = ["SyncQueue", "SyncHttp"];

/// The folder that holds the workspace's Cargo.toml.
pub fn workspace() -> PathBuf {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    manifest.ancestors().nth(2).expect("the crate lies at tests/sandbox").to_owned()
}

/// How to build the handler.
#[derive(Debug, Clone, Default)]
pub struct Build {
    /// Optimised and stripped, as deployed; otherwise quick to build.
    pub release: bool,
    /// Another target than this machine.
    pub target: Option<String>,
}

/// Builds the handler with cargo and gives its path.
pub fn build(options: &Build) -> anyhow::Result<PathBuf> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.current_dir(workspace()).args(["build", "--package", "dataverse-sync", "--bin", "handler"]);
    command.arg("--message-format=json-render-diagnostics").stdout(Stdio::piped());
    if options.release {
        command.arg("--release");
    }
    if let Some(target) = &options.target {
        command.args(["--target", target]);
    }
    let output = command.spawn().and_then(std::process::Child::wait_with_output).context("running cargo build")?;
    if !output.status.success() {
        let hint = options.target.as_deref().map(hint).unwrap_or_default();
        bail!("cargo build failed{hint}");
    }
    let text = String::from_utf8_lossy(&output.stdout);
    let messages = text.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
    let mut executables = messages.filter_map(|message| message["executable"].as_str().map(PathBuf::from));
    executables.next_back().context("cargo build named no executable")
}

fn hint(target: &str) -> String {
    format!("; is the target installed? `rustup target add {target}`, and a linker for it")
}

/// Lays out `app` with this executable. Settings that are already there stay.
pub fn lay_out(app: &Path, executable: &Path) -> anyhow::Result<()> {
    let root = workspace();
    fs::create_dir_all(app).with_context(|| format!("creating {}", app.display()))?;
    copy(&root.join("host.json"), &app.join("host.json"))?;
    for function in FUNCTIONS {
        fs::create_dir_all(app.join(function)).with_context(|| format!("creating the folder {function}"))?;
        let file = Path::new(function).join("function.json");
        copy(&root.join("functions").join(&file), &app.join(&file))?;
    }
    let name =
        if executable.extension().is_some_and(|extension| extension == "exe") { "handler.exe" } else { "handler" };
    // A running handler keeps its file; the new one takes the name.
    let staged = app.join(name);
    match fs::remove_file(&staged) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error).context("replacing the executable"),
        _ => copy(executable, &staged)?,
    }
    fs::write(app.join(".funcignore"), FUNCIGNORE).context("writing .funcignore")
}

/// Puts settings for `func start` beside it, unless there are some: the user's own, else the sample.
pub fn add_local_settings(app: &Path) -> anyhow::Result<PathBuf> {
    let settings = app.join("local.settings.json");
    if !settings.exists() {
        let root = workspace();
        let own = root.join("local.settings.json");
        let from = if own.exists() { own } else { root.join("local.settings.json.sample") };
        copy(&from, &settings)?;
    }
    Ok(settings)
}

fn copy(from: &Path, to: &Path) -> anyhow::Result<()> {
    fs::copy(from, to).with_context(|| format!("copying {} to {}", from.display(), to.display()))?;
    Ok(())
}

/// `cargo stage`: builds for release, lays out `target/functionapp`, and says what to do next.
pub fn run(target: Option<String>) -> anyhow::Result<()> {
    let executable = build(&Build { release: true, target })?;
    let app = workspace().join("target").join("functionapp");
    lay_out(&app, &executable)?;
    let settings = add_local_settings(&app)?;
    let bytes = fs::metadata(&executable).context("looking at the executable")?.len();
    ensure!(bytes > 0, "the executable is empty");
    println!("staged {} (executable: {} KiB)", shown(&app), bytes.div_ceil(1024));
    println!();
    println!("next, on this machine (Azure Functions Core Tools; storage by Azurite):");
    println!("  edit {}", shown(&settings));
    println!("  func start --script-root {}", shown(&app));
    println!();
    println!("or to Azure:");
    println!("  cd {} && func azure functionapp publish <your function app>", shown(&app));
    Ok(())
}

/// A path as the user would type it from the workspace.
pub(crate) fn shown(path: &Path) -> String {
    path.strip_prefix(workspace()).unwrap_or(path).display().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scratch(name: &str) -> PathBuf {
        let folder = std::env::temp_dir().join(format!("dataverse-sync-stage-{name}-{}", uuid::Uuid::new_v4()));
        fs::create_dir_all(&folder).expect("the temporary folder is writable");
        folder
    }

    #[test]
    fn the_app_stands_side_by_side_as_the_host_wants_it() {
        let folder = scratch("layout");
        let executable = folder.join("built");
        fs::write(&executable, "x").expect("writable");
        let app = folder.join("app");
        lay_out(&app, &executable).expect("laid out");
        for file in ["host.json", "handler", "SyncQueue/function.json", "SyncHttp/function.json", ".funcignore"] {
            assert!(app.join(file).is_file(), "{file}");
        }
        fs::remove_dir_all(folder).expect("removable");
    }

    #[test]
    fn settings_that_are_there_stay() {
        let app = scratch("settings");
        fs::write(app.join("local.settings.json"), "mine").expect("writable");
        add_local_settings(&app).expect("kept");
        assert_eq!(fs::read_to_string(app.join("local.settings.json")).expect("readable"), "mine");
        fs::remove_dir_all(app).expect("removable");
    }
}
