//! The build targets and where they run. Pure.
//!
//! A glibc version may follow the triple, in the syntax of cargo-zigbuild.
//!
//! <https://learn.microsoft.com/azure/azure-functions/functions-custom-handlers>
//! <https://github.com/rust-cross/cargo-zigbuild#specify-glibc-version>

use std::fmt;
use std::str::FromStr;

/// The supported triples and what each is for.
const SUPPORTED: [(&str, &str); 4] = [
    ("x86_64-unknown-linux-musl", "static: any Linux plan of Azure Functions, whatever its image"),
    (
        "x86_64-unknown-linux-gnu",
        "the same plans, where the image has the glibc of this machine; .2.31 behind it asks for an older one",
    ),
    (
        "aarch64-unknown-linux-musl",
        "static: your own Linux on ARM, such as a container on Apple Silicon; no plan of Azure Functions has ARM",
    ),
    ("aarch64-unknown-linux-gnu", "the same, with a glibc"),
];

/// The oldest glibc that Rust's standard library supports, and the newest in any image, by minor version.
const MIN_GLIBC: u32 = 17;
const MAX_GLIBC: u32 = 36;

/// A supported target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    triple: &'static str,
    /// The minor version of glibc 2 to link against.
    glibc: Option<u32>,
}

impl Target {
    /// The triple, as rustc knows it.
    pub fn triple(&self) -> &'static str {
        self.triple
    }

    /// Whether it requests a glibc version.
    pub fn names_glibc(&self) -> bool {
        self.glibc.is_some()
    }

    /// Whether an Azure Functions plan has such machines.
    pub fn fits_azure(&self) -> bool {
        self.triple.starts_with("x86_64")
    }

    /// Whether plain cargo can build for it on this machine without another compiler or linker.
    pub fn is_native(&self, machine: Machine) -> bool {
        self.glibc.is_none() && self.triple == format!("{}-unknown-linux-gnu", machine.arch) && machine.os == "linux"
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.triple)?;
        self.glibc.map_or(Ok(()), |minor| write!(f, ".2.{minor}"))
    }
}

impl FromStr for Target {
    /// Why it is rejected, with the valid targets.
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, glibc) = match text.split_once('.') {
            Some((name, glibc)) if name.ends_with("-gnu") => (name, Some(glibc)),
            _ => (text, None),
        };
        let Some((triple, _)) = SUPPORTED.iter().find(|(triple, _)| *triple == name) else {
            let lines = SUPPORTED.map(|(triple, good_for)| format!("  {triple:<28}{good_for}"));
            return Err(format!("{text:?} is not a target of this program; valid targets:\n{}", lines.join("\n")));
        };
        let rejected = |glibc| {
            format!(
                "glibc {glibc:?} is not supported: from 2.{MIN_GLIBC}, which Rust needs, to 2.{MAX_GLIBC}, which the newest images \
                 have; 2.31 runs on all of them"
            )
        };
        let glibc = glibc.map(|glibc| minor(glibc).ok_or_else(|| rejected(glibc)));
        Ok(Self { triple, glibc: glibc.transpose()? })
    }
}

fn minor(glibc: &str) -> Option<u32> {
    let minor = glibc.strip_prefix("2.")?.parse().ok()?;
    (MIN_GLIBC..=MAX_GLIBC).contains(&minor).then_some(minor)
}

/// The machine that builds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Machine {
    /// As in `std::env::consts::OS`.
    pub os: &'static str,
    /// As in `std::env::consts::ARCH`.
    pub arch: &'static str,
}

impl Machine {
    /// This one.
    pub const THIS: Self = Self { os: std::env::consts::OS, arch: std::env::consts::ARCH };

    /// Whether its native builds run on an Azure Functions plan on Linux.
    pub fn fits_azure(self) -> bool {
        self.os == "linux" && self.arch == "x86_64"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(text: &str) -> Target {
        text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    #[test]
    fn supported_targets_are_accepted_and_any_other_is_rejected_with_the_list() {
        for text in ["x86_64-unknown-linux-musl", "x86_64-unknown-linux-gnu.2.31", "aarch64-unknown-linux-musl"] {
            assert_eq!(target(text).to_string(), text);
        }
        assert!(target("x86_64-unknown-linux-gnu.2.31").names_glibc());
        assert!(target("x86_64-unknown-linux-gnu").fits_azure() && !target("aarch64-unknown-linux-musl").fits_azure());
        for text in ["", "x86_64", "x86_64-unknown-linux-musl.2.31", "x86_64-apple-darwin"] {
            let message = text.parse::<Target>().expect_err(text);
            assert!(message.starts_with(&format!("{text:?} is not a target")), "{message}");
            assert!(SUPPORTED.iter().all(|(triple, _)| message.contains(triple)), "{message}");
        }
        for glibc in ["2.16", "2.37", "3.1", "2", "2.x", "2.31.1", ""] {
            let message = format!("x86_64-unknown-linux-gnu.{glibc}").parse::<Target>().expect_err(glibc);
            assert!(message.starts_with(&format!("glibc {glibc:?}")), "{message}");
        }
    }

    #[test]
    fn only_a_build_for_the_machine_itself_needs_no_more_than_cargo() {
        let linux = Machine { os: "linux", arch: "x86_64" };
        let mac = Machine { os: "macos", arch: "aarch64" };
        assert!(target("x86_64-unknown-linux-gnu").is_native(linux));
        for (text, machine) in [
            ("x86_64-unknown-linux-gnu.2.31", linux),
            ("x86_64-unknown-linux-musl", linux),
            ("aarch64-unknown-linux-gnu", linux),
            ("aarch64-unknown-linux-gnu", mac),
        ] {
            assert!(!target(text).is_native(machine), "{text} on {machine:?}");
        }
        assert!(linux.fits_azure() && !mac.fits_azure() && !Machine { arch: "aarch64", ..linux }.fits_azure());
    }
}
