//! Chooses the tool that builds the handler for a target, checks that it is installed, and runs the build.
//!
//! Missing tools are reported before the build begins, with the commands that install them. The handler contains C code (ring,
//! for TLS), so cross-compiling needs a C compiler as well: Zig is one for all targets, and cargo-zigbuild passes it to cargo.
//!
//! <https://github.com/rust-cross/cargo-zigbuild>

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use anyhow::{Context as _, bail};

use super::build_paths::BuildPaths;
use super::target::{Machine, Target};
use super::workspace;

/// How to build the handler.
#[derive(Debug, Clone, Default)]
pub struct Build {
    /// Optimised and stripped, as deployed; otherwise quick to build.
    pub release: bool,
    /// The target; `None`: this machine.
    pub target: Option<Target>,
}

/// The tools that are installed on this machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Installed {
    /// cargo-zigbuild and Zig.
    zigbuild: bool,
    standard_library: bool,
}

/// The build tool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Tool {
    Cargo,
    Zigbuild,
}

/// What has to be installed first, with the commands.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
enum Missing {
    #[error(
        "linking {target} against another glibc than this machine's needs cargo-zigbuild and Zig; install what is missing:\n{INSTALL}\nor build a static executable, which does not use glibc: --target x86_64-unknown-linux-musl"
    )]
    Zigbuild { target: String },
    #[error("Rust's standard library for {triple} is missing; install it:\n  rustup target add {triple}")]
    StandardLibrary { triple: &'static str },
}

/// Prefixes of the variables that describe the package which cargo runs.
/// <https://doc.rust-lang.org/cargo/reference/environment-variables.html#environment-variables-cargo-sets-for-crates>
const PACKAGE_VARIABLES: [&str; 7] = [
    "CARGO_PKG_",
    "CARGO_MANIFEST_",
    "CARGO_BIN_",
    "CARGO_CRATE_NAME",
    "CARGO_PRIMARY_PACKAGE",
    "CARGO_TARGET_TMPDIR",
    "OUT_DIR",
];

const INSTALL: &str = "  cargo install --locked cargo-zigbuild\n  pip install ziglang     (or Zig itself: brew install zig, winget install zig.zig, https://ziglang.org/download)";

fn choose(target: &Target, machine: Machine, installed: Installed) -> Result<Tool, Missing> {
    if !installed.standard_library {
        return Err(Missing::StandardLibrary { triple: target.triple() });
    }
    match (installed.zigbuild, target.names_glibc()) {
        _ if target.is_native(machine) => Ok(Tool::Cargo),
        (true, _) => Ok(Tool::Zigbuild),
        (false, true) => Err(Missing::Zigbuild { target: target.to_string() }),
        (false, false) => Ok(Tool::Cargo),
    }
}

/// Cargo in the workspace, without the variables that an outer `cargo run` has set.
pub(crate) fn cargo() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(workspace());
    clear_package_variables(&mut command, std::env::vars_os().map(|(name, _)| name));
    command
}

/// Removes the variables of the package that `cargo run` or `cargo test` runs. Build scripts watch these variables (ring's
/// does), so an inner cargo that inherits them compiles those crates and their dependents again. Cargo's configuration stays.
fn clear_package_variables(command: &mut Command, names: impl Iterator<Item = OsString>) {
    for name in names {
        let text = name.to_string_lossy();
        if PACKAGE_VARIABLES.iter().any(|prefix| text.starts_with(prefix)) {
            command.env_remove(&name);
        }
    }
}

fn succeeds(command: &mut Command) -> bool {
    let quiet = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    quiet.status().is_ok_and(|status| status.success())
}

/// A tool that cannot be started counts as not installed.
fn detect_installed(target: &Target) -> Installed {
    let zig = std::env::var_os("CARGO_ZIGBUILD_ZIG_PATH").is_some()
        || succeeds(Command::new("zig").arg("version"))
        || ["python3", "python"].iter().any(|python| succeeds(Command::new(python).args(["-m", "ziglang", "version"])));
    let library = Command::new("rustc")
        .current_dir(workspace())
        .args(["--print", "target-libdir", "--target", target.triple()])
        .output();
    let library = library.ok().map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned());
    Installed {
        // As a cargo subcommand it does not accept `--version`.
        zigbuild: zig && succeeds(cargo().args(["zigbuild", "--help"])),
        standard_library: library.is_some_and(|path| !path.is_empty() && Path::new(&path).is_dir()),
    }
}

/// This machine's triple.
///
/// # Errors
/// When rustc cannot be run.
pub(super) fn host() -> anyhow::Result<String> {
    let output = Command::new("rustc").current_dir(workspace()).args(["--print", "host-tuple"]).output();
    Ok(String::from_utf8_lossy(&output.context("running rustc")?.stdout).trim().to_owned())
}

/// Builds the handler and returns its path. Cargo's progress goes to stderr.
pub fn build(options: &Build) -> anyhow::Result<PathBuf> {
    let (mut cargo, tool) = prepare(options)?;
    let output = cargo.spawn().and_then(Child::wait_with_output).context("running cargo build")?;
    built(options, tool, &output)
}

/// The same; dropping the future ends cargo.
pub async fn build_async(options: &Build) -> anyhow::Result<PathBuf> {
    let (cargo, tool) = prepare(options)?;
    let cargo = tokio::process::Command::from(cargo).kill_on_drop(true).spawn().context("running cargo build")?;
    let output = cargo.wait_with_output().await.context("running cargo build")?;
    built(options, tool, &output)
}

/// The command that builds the handler.
fn prepare(options: &Build) -> anyhow::Result<(Command, Tool)> {
    let tool = match &options.target {
        Some(target) => choose(target, Machine::THIS, detect_installed(target))?,
        None => Tool::Cargo,
    };
    eprintln!("{}", announcement(options));
    let mut command = cargo();
    command.args(arguments(options, tool)).stdout(Stdio::piped());
    if options.release {
        BuildPaths::here()?.hide_from(&mut command);
    }
    Ok((command, tool))
}

/// The executable, from what cargo printed.
fn built(options: &Build, tool: Tool, output: &Output) -> anyhow::Result<PathBuf> {
    if !output.status.success() {
        bail!("the build failed{}", options.target.as_ref().map(|target| advice(target, tool)).unwrap_or_default());
    }
    executable(&String::from_utf8_lossy(&output.stdout)).context("the build named no executable")
}

/// What is built and how long the first build takes; printed before cargo's own output.
fn announcement(options: &Build) -> String {
    let target = options.target.as_ref().map(|target| format!(" for {target}")).unwrap_or_default();
    let (kind, time) =
        if options.release { ("optimised", "about 5 minutes") } else { ("for development", "up to 2 minutes") };
    format!("building the handler{target} ({kind}): {time} the first time")
}

/// Cargo's arguments. A release build names the package, so that features needed only by the sandbox or tests are not
/// deployed. A development build does not, so that it shares its crates with `cargo sandbox` and `cargo test`.
fn arguments(options: &Build, tool: Tool) -> Vec<String> {
    let tool = if tool == Tool::Zigbuild { "zigbuild" } else { "build" };
    let mut words = vec![tool, "--bin", "handler", "--message-format=json-render-diagnostics"];
    if options.release {
        words.extend(["--package", "dataverse-sync", "--release"]);
    }
    let target = options.target.as_ref().map(|target| ["--target".to_owned(), target.to_string()]);
    words.into_iter().map(str::to_owned).chain(target.into_iter().flatten()).collect()
}

/// The last executable in cargo's messages.
fn executable(messages: &str) -> Option<PathBuf> {
    let messages = messages.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
    let mut executables = messages.filter_map(|message| message["executable"].as_str().map(PathBuf::from));
    executables.next_back()
}

fn advice(target: &Target, tool: Tool) -> String {
    match tool {
        Tool::Cargo if !target.is_native(Machine::THIS) => format!(
            "; {target} needs a C compiler and a linker (musl-tools on Debian, for x86_64-unknown-linux-musl). Zig is one for all \
             targets, and is used when it is installed:\n{INSTALL}"
        ),
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINUX: Machine = Machine { os: "linux", arch: "x86_64" };
    const MAC: Machine = Machine { os: "macos", arch: "aarch64" };
    const ALL: Installed = Installed { zigbuild: true, standard_library: true };

    fn target(text: &str) -> Target {
        text.parse().expect("sensible")
    }

    #[test]
    fn zigbuild_is_used_for_another_target_when_it_is_installed_completely() {
        for (text, machine, installed, tool) in [
            ("x86_64-unknown-linux-musl", LINUX, ALL, Tool::Zigbuild),
            ("x86_64-unknown-linux-gnu.2.31", LINUX, ALL, Tool::Zigbuild),
            ("x86_64-unknown-linux-gnu", LINUX, ALL, Tool::Cargo),
            ("x86_64-unknown-linux-gnu", MAC, ALL, Tool::Zigbuild),
            ("x86_64-unknown-linux-musl", MAC, Installed { zigbuild: false, ..ALL }, Tool::Cargo),
            ("x86_64-unknown-linux-musl", LINUX, Installed { zigbuild: false, ..ALL }, Tool::Cargo),
        ] {
            assert_eq!(choose(&target(text), machine, installed), Ok(tool), "{text} on {machine:?}");
        }
    }

    #[test]
    fn missing_tools_are_reported_with_the_commands_that_install_them() {
        let older = target("x86_64-unknown-linux-gnu.2.31");
        let without_zig = Installed { zigbuild: false, ..ALL };
        let message = choose(&older, LINUX, without_zig).expect_err("it cannot be linked").to_string();
        for command in ["cargo install --locked cargo-zigbuild", "pip install ziglang", "x86_64-unknown-linux-musl"] {
            assert!(message.contains(command), "{message}");
        }
        let nothing = Installed { standard_library: false, ..ALL };
        let message = choose(&target("x86_64-unknown-linux-musl"), LINUX, nothing).expect_err("no library").to_string();
        assert!(message.ends_with("rustup target add x86_64-unknown-linux-musl"), "{message}");
        // Without Zig the build is tried with cargo; when it fails, Zig is suggested.
        let musl = target("x86_64-unknown-linux-musl");
        assert!(advice(&musl, Tool::Cargo).contains("pip install ziglang") && advice(&musl, Tool::Zigbuild).is_empty());
    }

    #[test]
    fn cargo_receives_the_profile_and_the_target() {
        let release = Build { release: true, ..Build::default() };
        let musl = Build { target: Some(target("x86_64-unknown-linux-musl")), ..release.clone() };
        let deployed = "build --bin handler --package dataverse-sync --release";
        let with_zig = format!("zig{deployed} --target x86_64-unknown-linux-musl");
        for (build, tool, expected) in [
            (Build::default(), Tool::Cargo, "build --bin handler"),
            (release, Tool::Cargo, deployed),
            (musl.clone(), Tool::Zigbuild, &with_zig),
        ] {
            let words = arguments(&build, tool).join(" ").replace(" --message-format=json-render-diagnostics", "");
            assert_eq!(words, expected);
        }
        assert!(
            announcement(&musl).starts_with("building the handler for x86_64-unknown-linux-musl (optimised): about 5")
        );
    }

    #[test]
    fn an_inner_cargo_inherits_the_configuration_and_not_the_outer_package() {
        let cleared = ["CARGO_BIN_EXE_handler", "CARGO_MANIFEST_DIR", "CARGO_PKG_VERSION_PRE", "OUT_DIR"];
        let kept = ["CARGO_HOME", "CARGO_TARGET_DIR", "CARGO_BUILD_JOBS", "CARGO_PROFILE_DEV_DEBUG", "PATH"];
        let mut command = Command::new("cargo");
        clear_package_variables(&mut command, cleared.iter().chain(&kept).map(OsString::from));
        let removed: Vec<_> = command.get_envs().filter(|(_, value)| value.is_none()).map(|(name, _)| name).collect();
        assert_eq!(removed, cleared);
    }

    #[test]
    fn the_last_executable_in_cargos_messages_is_used() {
        let messages = "{\"reason\":\"compiler-artifact\",\"executable\":null}\nno JSON\n\
                        {\"executable\":\"/t/build-script\"}\n{\"executable\":\"/t/handler\"}\n{\"reason\":\"build-finished\"}";
        assert_eq!(executable(messages), Some(PathBuf::from("/t/handler")));
        assert_eq!(executable("{}"), None);
    }
}
