//! The paths of this machine that a build would write into the executable (rustc stores source paths for panics), and the names
//! that replace them.
//!
//! <https://doc.rust-lang.org/rustc/remap-source-paths.html>

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::Command;

use anyhow::Context as _;
use memchr::memmem;
use serde_json::json;

use super::packages::Packages;
use super::workspace;

/// Paths, each with its name in the executable; where two match, the later one is used.
#[derive(Debug)]
pub struct BuildPaths(Vec<(PathBuf, &'static str)>);

/// What is looked for, of the environment: the variable's value.
type Lookup<'a> = &'a dyn Fn(&str) -> Option<OsString>;

impl BuildPaths {
    /// Those of this machine: the toolchain, cargo's registry, the workspace and the folder that cargo builds in.
    ///
    /// # Errors
    /// When rustc or cargo does not name its folder.
    pub fn here() -> anyhow::Result<Self> {
        let mut rustc = Command::new(std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into()));
        let output = rustc.current_dir(workspace()).args(["--print", "sysroot"]).output().context("running rustc")?;
        let toolchain = PathBuf::from(String::from_utf8(output.stdout).context("rustc's folder")?.trim());
        let home = std::env::home_dir().map(|home| home.join(".cargo"));
        let cargo = std::env::var_os("CARGO_HOME").map(PathBuf::from).or(home).context("cargo has no home")?;
        let built = Packages::read(&["--no-deps"])?.target_directory;
        Ok(Self(vec![(toolchain, "rust"), (cargo, "cargo"), (workspace(), "dataverse-sync"), (built, "target")]))
    }

    /// Gives rustc's flags for them to a build, behind those that the user has set. Cargo takes flags from the first of these only:
    /// `CARGO_ENCODED_RUSTFLAGS`, `RUSTFLAGS`, `target.*.rustflags`, `build.rustflags`.
    /// <https://doc.rust-lang.org/cargo/reference/config.html#buildrustflags>
    pub(super) fn hide_from(&self, command: &mut Command) {
        self.set(command, &|name| std::env::var_os(name));
    }

    fn set(&self, command: &mut Command, lookup: Lookup<'_>) {
        const ENCODED: &str = "CARGO_ENCODED_RUSTFLAGS";
        const SEPARATOR: &str = "\u{1f}";
        let flags: Vec<_> = self
            .0
            .iter()
            .filter_map(|(path, name)| Some(format!("--remap-path-prefix={}={name}", path.to_str()?)))
            .collect();
        let text = |name| lookup(name).map(|value| value.to_string_lossy().into_owned());
        let own = match (text(ENCODED), text("RUSTFLAGS")) {
            (Some(encoded), _) => Some(encoded.split(SEPARATOR).map(str::to_owned).collect::<Vec<_>>()),
            (None, Some(words)) => Some(words.split(' ').map(str::to_owned).collect()),
            (None, None) => None,
        };
        match own {
            Some(own) => {
                let all = own.into_iter().filter(|flag| !flag.is_empty()).chain(flags);
                command.env(ENCODED, all.collect::<Vec<_>>().join(SEPARATOR));
            }
            // Cargo appends it to the flags of the configuration. A JSON array of strings is one in TOML, too.
            None => {
                command.arg("--config").arg(format!("build.rustflags={}", json!(flags)));
            }
        }
    }

    /// The paths that an executable contains.
    pub fn found_in(&self, bytes: &[u8]) -> Vec<String> {
        let home = std::env::home_dir().into_iter();
        let places = self.0.iter().map(|(path, _)| path.clone()).chain(home);
        let texts = places.filter_map(|path| Some(format!("{}{}", path.to_str()?, std::path::MAIN_SEPARATOR)));
        texts.filter(|text| text.len() > 2 && memmem::find(bytes, text.as_bytes()).is_some()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn command(set: &[(&str, &str)]) -> Command {
        let paths = BuildPaths(vec![("/home/ada/.cargo".into(), "cargo"), ("/src".into(), "dataverse-sync")]);
        let mut command = Command::new("cargo");
        paths.set(&mut command, &|name| set.iter().find(|(set, _)| *set == name).map(|(_, value)| value.into()));
        command
    }

    #[test]
    fn flags_follow_those_that_the_user_has_set() {
        const OURS: &str = "--remap-path-prefix=/home/ada/.cargo=cargo\u{1f}--remap-path-prefix=/src=dataverse-sync";
        for (set, before) in [
            (&[("RUSTFLAGS", "-C target-cpu=x86-64-v2")][..], "-C\u{1f}target-cpu=x86-64-v2\u{1f}"),
            (&[("RUSTFLAGS", "-g"), ("CARGO_ENCODED_RUSTFLAGS", "-C\u{1f}a b")], "-C\u{1f}a b\u{1f}"),
            (&[("CARGO_ENCODED_RUSTFLAGS", "")], ""),
        ] {
            let command = command(set);
            let expected = OsString::from(format!("{before}{OURS}"));
            let found: Vec<_> = command.get_envs().collect();
            assert_eq!(found, [("CARGO_ENCODED_RUSTFLAGS".as_ref(), Some(&*expected))], "{set:?}");
            assert_eq!(command.get_args().count(), 0);
        }
    }

    #[test]
    fn without_such_variables_cargo_adds_them_to_its_configuration() {
        let command = command(&[]);
        let expected = r#"build.rustflags=["--remap-path-prefix=/home/ada/.cargo=cargo","--remap-path-prefix=/src=dataverse-sync"]"#;
        assert_eq!(command.get_args().collect::<Vec<_>>(), ["--config", expected]);
        assert_eq!(command.get_envs().count(), 0);
    }

    /// A development build keeps its paths, which the debugger needs, so it shows that they would be found.
    #[test]
    fn the_paths_of_a_build_are_found_in_this_executable_and_not_in_what_has_none() {
        let paths = BuildPaths::here().expect("rustc and cargo are installed");
        let bytes = std::fs::read(std::env::current_exe().expect("it runs")).expect("readable");
        let found = paths.found_in(&bytes);
        assert!(found.iter().any(|path| path.contains("cargo")), "{found:?}");
        assert!(paths.found_in(b"cargo/registry/src/tokio-1/src/lib.rs").is_empty());
    }
}
