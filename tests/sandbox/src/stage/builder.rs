//! Which tool builds for a target, whether all of it is installed, and the build itself.
//!
//! What is missing is told before the build begins, with the commands that install it. Part of the handler is C (ring, which TLS
//! is made of), so another target needs a C compiler for it as well: Zig is one for all of them, and cargo-zigbuild hands it to
//! cargo.
//!
//! <https://github.com/rust-cross/cargo-zigbuild>

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, bail};

use super::target::{Machine, Target};
use super::workspace;

/// How to build the handler.
#[derive(Debug, Clone, Default)]
pub struct Build {
    /// Optimised and stripped, as deployed; otherwise quick to build.
    pub release: bool,
    /// Another target than this machine.
    pub target: Option<Target>,
    /// Without mimalloc, and otherwise the same: the C library allocates.
    pub no_default_features: bool,
}

/// What is installed here, as far as it matters for a target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Installed {
    zigbuild: bool,
    zig: bool,
    standard_library: bool,
}

/// What builds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Tool {
    Cargo,
    Zigbuild,
}

/// What has to be installed first. One text for the user, with the commands.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
enum Missing {
    #[error(
        "{target} is linked against another glibc than this machine's, which takes cargo-zigbuild and Zig; install what is missing:\n{INSTALL}\nor build a static executable, which needs no glibc: --target x86_64-unknown-linux-musl"
    )]
    Zigbuild { target: String },
    #[error("Rust's standard library for {triple} is missing; install it:\n  rustup target add {triple}")]
    StandardLibrary { triple: &'static str },
}

const INSTALL: &str = "  cargo install --locked cargo-zigbuild\n  pip install ziglang     (or Zig itself: brew install zig, winget install zig.zig, https://ziglang.org/download)";

fn choose(target: &Target, machine: Machine, installed: Installed) -> Result<Tool, Missing> {
    if !installed.standard_library {
        return Err(Missing::StandardLibrary { triple: target.triple() });
    }
    match (installed.zigbuild && installed.zig, target.names_glibc()) {
        _ if target.is_native(machine) => Ok(Tool::Cargo),
        (true, _) => Ok(Tool::Zigbuild),
        (false, true) => Err(Missing::Zigbuild { target: target.to_string() }),
        (false, false) => Ok(Tool::Cargo),
    }
}

fn cargo() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(workspace());
    command
}

fn succeeds(command: &mut Command) -> bool {
    let quiet = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    quiet.status().is_ok_and(|status| status.success())
}

/// Looks; a tool that does not start is not there.
fn look(target: &Target) -> Installed {
    let zig = std::env::var_os("CARGO_ZIGBUILD_ZIG_PATH").is_some()
        || succeeds(Command::new("zig").arg("version"))
        || ["python3", "python"].iter().any(|python| succeeds(Command::new(python).args(["-m", "ziglang", "version"])));
    let library = Command::new("rustc")
        .current_dir(workspace())
        .args(["--print", "target-libdir", "--target", target.triple()])
        .output();
    let library = library.ok().map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned());
    Installed {
        // It takes no `--version` as a command of cargo's.
        zigbuild: succeeds(cargo().args(["zigbuild", "--help"])),
        zig,
        standard_library: library.is_some_and(|path| !path.is_empty() && Path::new(&path).is_dir()),
    }
}

/// Builds the handler and gives its path. What the build prints goes to stderr as it comes.
pub fn build(options: &Build) -> anyhow::Result<PathBuf> {
    let tool = match &options.target {
        Some(target) => choose(target, Machine::THIS, look(target))?,
        None => Tool::Cargo,
    };
    let mut command = cargo();
    command.args(arguments(options, tool)).stdout(Stdio::piped());
    let output = command.spawn().and_then(std::process::Child::wait_with_output).context("running cargo build")?;
    if !output.status.success() {
        bail!("the build failed{}", options.target.as_ref().map(|target| advice(target, tool)).unwrap_or_default());
    }
    executable(&String::from_utf8_lossy(&output.stdout)).context("the build named no executable")
}

/// What cargo is told.
fn arguments(options: &Build, tool: Tool) -> Vec<String> {
    let tool = if tool == Tool::Zigbuild { "zigbuild" } else { "build" };
    let mut words = vec![tool, "--package", "dataverse-sync", "--bin", "handler"];
    words.push("--message-format=json-render-diagnostics");
    if options.release {
        words.push("--release");
    }
    if options.no_default_features {
        words.push("--no-default-features");
    }
    let target = options.target.as_ref().map(|target| ["--target".to_owned(), target.to_string()]);
    words.into_iter().map(str::to_owned).chain(target.into_iter().flatten()).collect()
}

/// The executable that cargo's messages name.
fn executable(messages: &str) -> Option<PathBuf> {
    let messages = messages.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
    let mut executables = messages.filter_map(|message| message["executable"].as_str().map(PathBuf::from));
    executables.next_back()
}

fn advice(target: &Target, tool: Tool) -> String {
    match tool {
        Tool::Cargo if !target.is_native(Machine::THIS) => format!(
            "; {target} takes a C compiler and a linker for it (musl-tools on Debian, for x86_64-unknown-linux-musl). Zig is one \
             for all targets, and is used when it is there:\n{INSTALL}"
        ),
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINUX: Machine = Machine { os: "linux", arch: "x86_64" };
    const MAC: Machine = Machine { os: "macos", arch: "aarch64" };
    const ALL: Installed = Installed { zigbuild: true, zig: true, standard_library: true };

    fn target(text: &str) -> Target {
        text.parse().expect("sensible")
    }

    #[test]
    fn zigbuild_is_used_for_another_target_when_all_of_it_is_there() {
        for (text, machine, installed, tool) in [
            ("x86_64-unknown-linux-musl", LINUX, ALL, Tool::Zigbuild),
            ("x86_64-unknown-linux-gnu.2.31", LINUX, ALL, Tool::Zigbuild),
            ("x86_64-unknown-linux-gnu", LINUX, ALL, Tool::Cargo),
            ("x86_64-unknown-linux-gnu", MAC, ALL, Tool::Zigbuild),
            ("x86_64-unknown-linux-musl", MAC, Installed { zig: false, ..ALL }, Tool::Cargo),
            ("x86_64-unknown-linux-musl", LINUX, Installed { zigbuild: false, ..ALL }, Tool::Cargo),
        ] {
            assert_eq!(choose(&target(text), machine, installed), Ok(tool), "{text} on {machine}");
        }
    }

    #[test]
    fn what_is_missing_is_told_with_the_commands_that_install_it() {
        let older = target("x86_64-unknown-linux-gnu.2.31");
        for installed in [Installed { zig: false, ..ALL }, Installed { zigbuild: false, ..ALL }] {
            let told = choose(&older, LINUX, installed).expect_err("it cannot be linked").to_string();
            for command in ["cargo install --locked cargo-zigbuild", "pip install ziglang", "x86_64-unknown-linux-musl"]
            {
                assert!(told.contains(command), "{told}");
            }
        }
        let nothing = Installed { standard_library: false, ..ALL };
        let told = choose(&target("x86_64-unknown-linux-musl"), LINUX, nothing).expect_err("no library").to_string();
        assert!(told.ends_with("rustup target add x86_64-unknown-linux-musl"), "{told}");
    }

    #[test]
    fn a_failed_build_for_another_target_ends_with_the_c_compiler_that_it_may_lack() {
        let musl = target("x86_64-unknown-linux-musl");
        assert!(advice(&musl, Tool::Cargo).contains("pip install ziglang"));
        assert_eq!(advice(&musl, Tool::Zigbuild), "");
    }

    #[test]
    fn cargo_is_told_the_profile_the_features_and_the_target() {
        let told = |options: Build, tool| {
            let all = arguments(&options, tool);
            let (usual, rest) = all.split_at(6);
            let json = "--message-format=json-render-diagnostics";
            assert_eq!(usual[1..], ["--package", "dataverse-sync", "--bin", "handler", json]);
            [&usual[..1], rest].concat().join(" ")
        };
        let release = Build { release: true, ..Build::default() };
        let bare = |build: &Build| Build { no_default_features: true, ..build.clone() };
        let musl = Build { target: Some(target("x86_64-unknown-linux-musl")), ..release.clone() };
        assert_eq!(told(Build::default(), Tool::Cargo), "build");
        assert_eq!(told(bare(&Build::default()), Tool::Cargo), "build --no-default-features");
        assert_eq!(told(bare(&release), Tool::Cargo), "build --release --no-default-features");
        assert_eq!(told(release, Tool::Cargo), "build --release");
        assert_eq!(told(musl, Tool::Zigbuild), "zigbuild --release --target x86_64-unknown-linux-musl");
    }

    #[test]
    fn the_executable_is_the_last_one_that_cargo_names() {
        let messages = "{\"reason\":\"compiler-artifact\",\"executable\":null}\nno JSON\n\
                        {\"executable\":\"/t/build-script\"}\n{\"executable\":\"/t/handler\"}\n{\"reason\":\"build-finished\"}";
        assert_eq!(executable(messages), Some(PathBuf::from("/t/handler")));
        assert_eq!(executable("{}"), None);
    }

    #[test]
    fn a_command_that_is_not_there_does_not_succeed() {
        assert!(!succeeds(&mut Command::new("no-such-command-here")));
    }
}
