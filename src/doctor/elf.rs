//! What an executable needs of the system that starts it: a processor, a loader, a version of glibc. Pure.
//!
//! `cargo stage` includes this file, so it uses nothing else of this crate.
//!
//! The versions of the images are those of the Debian releases that they are built on: 11 and 12.
//! <https://learn.microsoft.com/azure/azure-functions/functions-custom-handlers>
//! <https://refspecs.linuxfoundation.org/LSB_5.0.0/LSB-Core-generic/LSB-Core-generic/symversion.html>

use object::read::elf::{ElfFile64, ProgramHeader as _};
use object::{Architecture, Endianness, Object as _};

/// How to get an executable that runs on any of the images.
pub const REBUILD: &str = "cargo stage --target x86_64-unknown-linux-musl";

/// The versions of glibc in the images, as far as the documentation says: 2.31 and 2.36.
const OLDER_IMAGES: u32 = 31;
const NEWER_IMAGES: u32 = 36;

/// What was found by a check that succeeds; else what is wrong, and the remedy.
pub type CheckResult = Result<String, (String, String)>;

/// A check that fails.
pub(super) fn wrong<T>(found: impl Into<String>, remedy: impl Into<String>) -> Result<T, (String, String)> {
    Err((found.into(), remedy.into()))
}

/// What an executable needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Needs {
    /// The processor that it is for.
    pub architecture: Architecture,
    /// Whether it has no symbols for a debugger.
    pub is_stripped: bool,
    /// A static executable names no loader.
    loader: Option<String>,
    /// The newest version of glibc that a symbol names, without its 2.
    glibc: Option<u32>,
}

/// Reads an executable.
///
/// # Errors
/// What is wrong with it, as a clause that follows its name.
pub fn read(bytes: &[u8]) -> Result<Needs, &'static str> {
    if !bytes.starts_with(b"\x7fELF") {
        return Err("is not an ELF executable, so Linux cannot start it");
    }
    parse(bytes).map_err(|_| "is not a 64-bit ELF executable, or is truncated")
}

fn parse(bytes: &[u8]) -> object::Result<Needs> {
    let file = ElfFile64::<Endianness>::parse(bytes)?;
    let endian = file.endian();
    let mut loader = None;
    for segment in file.elf_program_headers() {
        if let Some(path) = segment.interpreter(endian, bytes)? {
            loader = Some(String::from_utf8_lossy(path).into_owned());
        }
    }
    let (sections, mut glibc) = (file.elf_section_table(), None);
    if let Some((mut libraries, names)) = sections.gnu_verneed(endian, bytes)? {
        let names = sections.strings(endian, bytes, names)?;
        while let Some((_, mut versions)) = libraries.next()? {
            while let Some(version) = versions.next()? {
                glibc = glibc.max(minor_version(version.name(endian, names)?));
            }
        }
    }
    Ok(Needs { architecture: file.architecture(), is_stripped: file.elf_symbol_table().is_empty(), loader, glibc })
}

/// From the name of a symbol version, such as `GLIBC_2.34` or `GLIBC_2.2.5`. The major version is 2 since 1997.
fn minor_version(name: &[u8]) -> Option<u32> {
    str::from_utf8(name).ok()?.strip_prefix("GLIBC_2.")?.split('.').next()?.parse().ok()
}

impl Needs {
    /// Compares the processor with those of Azure.
    pub fn judge_architecture(&self) -> CheckResult {
        if self.architecture == Architecture::X86_64 {
            return Ok("x86-64, as the machines of Azure Functions".to_owned());
        }
        wrong("it is for another processor than x86-64, which Azure Functions has", REBUILD)
    }

    /// Compares the C library with those of the images.
    pub fn judge_library(&self) -> CheckResult {
        let Some(loader) = &self.loader else { return Ok("none needed: it is static".to_owned()) };
        if loader.contains("musl") {
            let found = format!("it asks for the loader {loader}, which the images do not have");
            return wrong(found, format!("{REBUILD}, without -C target-feature=-crt-static"));
        }
        let Some(needed) = self.glibc else { return Ok(format!("any version, by {loader}")) };
        if needed > NEWER_IMAGES {
            return wrong(format!("it needs 2.{needed}; the newest Linux images have 2.{NEWER_IMAGES} (?)"), REBUILD);
        }
        if needed > OLDER_IMAGES {
            return Ok(format!(
                "it needs 2.{needed}; newer Linux images have 2.{NEWER_IMAGES} (?), older ones 2.{OLDER_IMAGES} (?); static runs on both"
            ));
        }
        Ok(format!("it needs 2.{needed}, and even the older Linux images have 2.{OLDER_IMAGES} (?)"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn needs(loader: Option<&str>, glibc: Option<&str>) -> Needs {
        let glibc = glibc.map(|name| minor_version(name.as_bytes()).expect("a version"));
        Needs { architecture: Architecture::X86_64, loader: loader.map(str::to_owned), glibc, is_stripped: true }
    }

    const GNU: Option<&str> = Some("/lib64/ld-linux-x86-64.so.2");

    #[test]
    fn versions_are_compared_by_number() {
        let version = |name: &str| minor_version(name.as_bytes());
        assert!(version("GLIBC_2.4") < version("GLIBC_2.31") && version("GLIBC_2.2.5") < version("GLIBC_2.3"));
        assert_eq!((version("GLIBC_PRIVATE"), version("GCC_3.0")), (None, None));
    }

    #[test]
    fn rejects_what_the_images_do_not_have() {
        let musl = Some("/lib/ld-musl-x86_64.so.1");
        for (needs, good, word) in [
            (needs(None, None), true, "static"),
            (needs(GNU, Some("GLIBC_2.31")), true, "2.31"),
            (needs(GNU, Some("GLIBC_2.34")), true, "older ones 2.31 (?)"),
            (needs(GNU, Some("GLIBC_2.36")), true, "(?)"),
            (needs(GNU, Some("GLIBC_2.38")), false, "2.38"),
            (needs(GNU, None), true, "any"),
            (needs(musl, None), false, "musl"),
        ] {
            let judged = needs.judge_library();
            let text = judged.as_ref().unwrap_or_else(|(found, _)| found);
            assert!(judged.is_ok() == good && text.contains(word), "{needs:?}: {judged:?}");
        }
        assert!(Needs { architecture: Architecture::Aarch64, ..needs(None, None) }.judge_architecture().is_err());
    }

    #[cfg(all(target_os = "linux", target_arch = "x86_64", target_env = "gnu"))]
    #[test]
    fn reads_an_executable_of_this_machine_and_rejects_half_of_it() {
        let bytes = std::fs::read(std::env::current_exe().expect("it runs")).expect("readable");
        let needs = read(&bytes).expect("an executable");
        assert!(needs.architecture == Architecture::X86_64 && needs.glibc >= minor_version(b"GLIBC_2.17"), "{needs:?}");
        assert_eq!(needs.loader.as_deref(), GNU);
        let mut other = bytes.clone();
        // e_machine: AArch64.
        other[18] = 183;
        assert_eq!(read(&other).expect("still one").architecture, Architecture::Aarch64);
        assert!(!needs.is_stripped, "the tests are debugged");
        assert!(read(&bytes[..bytes.len() / 2]).is_err() && read(&bytes[..40]).is_err());
    }

    #[test]
    fn rejects_what_is_not_an_executable_of_linux() {
        for bytes in [&b""[..], b"MZ", b"#!/bin/sh\n", b"\xcf\xfa\xed\xfe"] {
            assert!(read(bytes).expect_err("none").contains("not an ELF"));
        }
        assert!(read(b"\x7fELF\x01").expect_err("32 bits").contains("64-bit"));
    }
}
