//! `cargo stage`: builds the handler and lays out the app folder that the Functions host and `func` expect.
//!
//! In the repository the functions are in `functions/`; the host looks one level deep only, so host.json, the executable and every
//! function's folder must be side by side. Files are copied unchanged. An app that the doctor would reject is not staged, and the
//! previous one stays.
//!
//! - [`target`]: the build targets. Pure.
//! - [`builder`]: the build, and the tools that it needs.
//! - [`build_paths`]: no folder of this machine is in the executable.
//! - [`layout`]: the folder, complete or not at all.
//! - [`azd`]: azure.yaml and the infrastructure, beside it.
//! - [`packages`], [`notices`]: the crates in the executable, and their licences.
//! - `check`: the doctor's checks; [`elf`] is the doctor's own check of an executable.
//! - `report`: the output.
//!
//! <https://learn.microsoft.com/azure/azure-functions/functions-custom-handlers#application-structure>

pub mod azd;
pub mod build_paths;
pub mod builder;
mod check;
// The handler's package has this one as a dev-dependency, so depending on it as a library would build it twice.
#[path = "../../../src/doctor/elf.rs"]
pub mod elf;
pub mod layout;
pub mod notices;
pub mod packages;
mod report;
pub mod target;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};

pub use builder::{Build, build, build_async};
pub use layout::lay_out;

use check::Purpose;
use layout::Site;
use target::{Machine, Target};

/// The command line of `cargo stage`.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct Arguments {
    /// What to build for, instead of this machine: a triple, with a version of glibc behind it where it should be an older one.
    #[arg(long, value_name = "TRIPLE")]
    target: Option<Target>,
}

/// The long text of `--help`.
pub const ABOUT: &str = "\
Builds the handler for release and lays out target/functionapp, the folder that
`func` starts and publishes.

Without --target it builds for this machine. On Linux that is good for Azure as
well, unless this machine's glibc is newer than that of the Functions images;
then it is refused, and the message says what to do. On macOS, on Windows and on
ARM a build for this machine is good for `func start` alone: for Azure it takes
--target.

An executable that `handler doctor` would refuse is not staged; what was staged
before stays. Your local.settings.json in the folder stays as well, and is never
uploaded.

Beside an app for Azure are azure.yaml and infra/, so that `azd up` in target/
creates everything and publishes the app. On Windows they are not there, because
azd would upload the executable without its executable bit; `func` sets it.";

/// The end of `--help`.
pub const EXAMPLES: &str = "\
Examples:
  For this machine:
    cargo stage
  For any Linux plan of Azure Functions, static (macOS and Windows need this):
    cargo stage --target x86_64-unknown-linux-musl
  The same with a glibc that even the older images have:
    cargo stage --target x86_64-unknown-linux-gnu.2.31
  Then try it here, with nothing else installed (one that runs here):
    cargo sandbox up --app target/functionapp

What another target takes, once (part of the handler is C, and Zig is a C
compiler for every target):
    rustup target add x86_64-unknown-linux-musl
    cargo install --locked cargo-zigbuild
    pip install ziglang
On Debian and Ubuntu, `apt install musl-tools` instead of the last two will do
for x86_64-unknown-linux-musl.

Exit codes: 0 staged; 1 not staged; 2 wrong arguments.";

/// The folder that holds the workspace's Cargo.toml.
pub fn workspace() -> PathBuf {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    manifest.ancestors().nth(2).expect("the crate lies at tests/sandbox").to_owned()
}

/// `cargo stage`: builds for release, lays out `target/functionapp`, and prints the next steps.
///
/// # Errors
/// If the build fails or the doctor would reject the app. The previous app then stays in place.
pub fn run(arguments: Arguments) -> anyhow::Result<()> {
    let target = arguments.target;
    let executable = build(&Build { release: true, target: target.clone() })?;
    let app = workspace().join("target").join("functionapp");
    print!("{}", place(&app, &executable, target.as_ref())?);
    Ok(())
}

/// Lays out an app with an executable built for `target` (default: this machine), checks it, and renames it into place
/// if it is valid. Returns the report to print.
///
/// # Errors
/// If the doctor would reject the app, with the remedies. The new app is then deleted and the previous one stays in
/// place.
pub fn place(app: &Path, executable: &Path, target: Option<&Target>) -> anyhow::Result<String> {
    let (name, purpose) = (layout::name_of(executable), Purpose::of(target, Machine::THIS));
    let site = Site::enter(app)?;
    let next = site.prepare(executable)?;
    let triple = target.map_or_else(builder::host, |target| Ok(target.triple().to_owned()))?;
    fs::write(next.join(notices::FILE), notices::notices(&triple)?).context("writing the third-party notices")?;
    match check::check(&next, name, &purpose, target.is_none()) {
        Ok(good) => {
            if azd::can_publish(&purpose, Machine::THIS) {
                azd::add(app)?;
            } else {
                azd::remove_from(app)?;
            }
            site.replace()?;
            Ok(report::after(app, name, target, &purpose, &good))
        }
        Err(refusal) => {
            let rest = if site.discard()? { "is as it was" } else { "is not there" };
            bail!("{refusal:#}\nnothing was staged: {} {rest}", shown(app))
        }
    }
}

/// A path as the user would type it from the workspace.
pub(crate) fn shown(path: &Path) -> String {
    path.strip_prefix(workspace()).unwrap_or(path).display().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rejected_app_is_not_staged_and_the_previous_one_stays() {
        let folder = tempfile::tempdir().expect("the temporary folder is writable");
        let (app, executable) = (folder.path().join("app"), folder.path().join("built"));
        fs::write(&executable, "MZ").expect("writable");
        let target = "x86_64-unknown-linux-musl".parse::<Target>().expect("sensible");
        let message = place(&app, &executable, Some(&target)).expect_err("it is not ELF").to_string();
        assert!(message.contains("is not an ELF executable") && message.ends_with("is not there"), "{message}");
        assert!(!app.exists() && !folder.path().join("app.new").exists());
        fs::create_dir_all(&app).expect("writable");
        fs::write(app.join("handler"), "good").expect("writable");
        let message = place(&app, &executable, Some(&target)).expect_err("still none").to_string();
        assert!(message.ends_with("is as it was"), "{message}");
        assert_eq!(fs::read_to_string(app.join("handler")).expect("readable"), "good");
    }

    #[test]
    fn every_target_in_the_examples_is_supported() {
        for line in EXAMPLES.lines().filter_map(|line| line.trim().strip_prefix("cargo stage --target ")) {
            line.parse::<Target>().unwrap_or_else(|error| panic!("{line}: {error}"));
        }
    }
}
