//! What an executable needs of the system that starts it: a processor, a loader, a version of glibc. Pure.
//!
//! `cargo stage` judges by this very file, so it uses nothing else of this crate.
//!
//! The versions of the images are those of the Debian releases that they are built on: 11 and 12.
//! <https://learn.microsoft.com/azure/azure-functions/functions-custom-handlers>
//! <https://refspecs.linuxfoundation.org/LSB_5.0.0/LSB-Core-generic/LSB-Core-generic/symversion.html>

use std::fmt;

use object::Endianness;
use object::elf::{EM_AARCH64, EM_X86_64, FileHeader64, SHT_SYMTAB};
use object::read::elf::{FileHeader as _, ProgramHeader as _, SectionHeader as _};

/// How to get an executable that runs on any of the images.
pub const REBUILD: &str = "cargo stage --target x86_64-unknown-linux-musl";

/// What the images have, for all that can be told from outside.
const OLDER_IMAGES: Version = Version { major: 2, minor: 31 };
const NEWER_IMAGES: Version = Version { major: 2, minor: 36 };

/// What was found when all is well; else what is wrong, and how to mend it.
pub type Judged = Result<String, (String, String)>;

/// A processor that an executable is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Processor {
    /// x86-64.
    X86_64,
    /// 64-bit ARM.
    Aarch64,
    /// Another one.
    Other,
}

/// A version of glibc.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version {
    major: u32,
    minor: u32,
}

impl Version {
    /// From the name of a symbol version, such as `GLIBC_2.34` or `GLIBC_2.2.5`.
    fn parse(name: &str) -> Option<Self> {
        let mut parts = name.strip_prefix("GLIBC_")?.split('.');
        Some(Self { major: parts.next()?.parse().ok()?, minor: parts.next()?.parse().ok()? })
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

/// What an executable needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Needs {
    /// What it is for.
    processor: Processor,
    /// The loader that it asks for; a static executable asks for none.
    loader: Option<String>,
    /// The newest version of glibc that one of its symbols names.
    glibc: Option<Version>,
    /// Whether the symbols for a debugger are in it.
    symbols: bool,
}

/// Reads it from the executable's bytes.
///
/// # Errors
/// What is wrong with it, as a clause that follows its name.
pub fn read(bytes: &[u8]) -> Result<Needs, &'static str> {
    if !bytes.starts_with(b"\x7fELF") {
        return Err("is no ELF executable, so Linux cannot start it");
    }
    parse(bytes).map_err(|_| "is no 64-bit ELF executable, or is cut short")
}

fn parse(bytes: &[u8]) -> object::Result<Needs> {
    let header = FileHeader64::<Endianness>::parse(bytes)?;
    let endian = header.endian()?;
    let mut loader = None;
    for segment in header.program_headers(endian, bytes)? {
        if let Some(path) = segment.interpreter(endian, bytes)? {
            loader = Some(String::from_utf8_lossy(path).into_owned());
        }
    }
    let glibc = newest(header, endian, bytes)?;
    let processor = match header.e_machine(endian) {
        EM_X86_64 => Processor::X86_64,
        EM_AARCH64 => Processor::Aarch64,
        _ => Processor::Other,
    };
    let symbols = header.sections(endian, bytes)?.iter().any(|section| section.sh_type(endian) == SHT_SYMTAB);
    Ok(Needs { processor, loader, glibc, symbols })
}

fn newest(header: &FileHeader64<Endianness>, endian: Endianness, bytes: &[u8]) -> object::Result<Option<Version>> {
    let sections = header.sections(endian, bytes)?;
    let Some((mut libraries, names)) = sections.gnu_verneed(endian, bytes)? else { return Ok(None) };
    let names = sections.strings(endian, bytes, names)?;
    let mut newest = None;
    while let Some((_, mut versions)) = libraries.next()? {
        while let Some(version) = versions.next()? {
            let name = version.name(endian, names)?;
            newest = newest.max(std::str::from_utf8(name).ok().and_then(Version::parse));
        }
    }
    Ok(newest)
}

impl Needs {
    /// The processor that it is for.
    pub fn processor(&self) -> Processor {
        self.processor
    }

    /// Whether the symbols for a debugger were taken out.
    pub fn is_stripped(&self) -> bool {
        !self.symbols
    }

    /// The processor against those of Azure.
    pub fn judge_architecture(&self) -> Judged {
        if self.processor == Processor::X86_64 {
            return Ok("x86-64, as the machines of Azure Functions".to_owned());
        }
        Err(mend("it is for another processor than x86-64, which Azure Functions has", REBUILD))
    }

    /// The C library against those of the images.
    pub fn judge_library(&self) -> Judged {
        let Some(loader) = &self.loader else { return Ok("none needed: it is static".to_owned()) };
        if loader.contains("musl") {
            let found = format!("it asks for the loader {loader}, which the images do not have");
            return Err(mend(found, format!("{REBUILD}, without -C target-feature=-crt-static")));
        }
        let Some(needed) = self.glibc else { return Ok(format!("any version, by {loader}")) };
        if needed > NEWER_IMAGES {
            let found = format!("it needs {needed}; the newest Linux images have {NEWER_IMAGES} (?)");
            return Err(mend(found, REBUILD));
        }
        if needed > OLDER_IMAGES {
            return Ok(format!(
                "it needs {needed}; newer Linux images have {NEWER_IMAGES} (?), older ones {OLDER_IMAGES} (?); static runs on both"
            ));
        }
        Ok(format!("it needs {needed}, and even the older Linux images have {OLDER_IMAGES} (?)"))
    }
}

fn mend(found: impl Into<String>, remedy: impl Into<String>) -> (String, String) {
    (found.into(), remedy.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn needs(loader: Option<&str>, glibc: Option<&str>) -> Needs {
        let glibc = glibc.map(|name| Version::parse(name).expect("a version"));
        Needs { processor: Processor::X86_64, loader: loader.map(str::to_owned), glibc, symbols: false }
    }

    const GNU: Option<&str> = Some("/lib64/ld-linux-x86-64.so.2");

    #[test]
    fn versions_are_compared_by_number() {
        let version = |name| Version::parse(name);
        assert!(version("GLIBC_2.4") < version("GLIBC_2.31") && version("GLIBC_2.2.5") < version("GLIBC_2.3"));
        assert_eq!((version("GLIBC_PRIVATE"), version("GCC_3.0")), (None, None));
    }

    #[test]
    fn what_the_images_have_not_is_wrong() {
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
            let told = judged.as_ref().unwrap_or_else(|(found, _)| found);
            assert!(judged.is_ok() == good && told.contains(word), "{needs:?}: {judged:?}");
        }
        assert!(Needs { processor: Processor::Aarch64, ..needs(None, None) }.judge_architecture().is_err());
    }

    #[cfg(all(target_os = "linux", target_arch = "x86_64", target_env = "gnu"))]
    #[test]
    fn an_executable_of_this_machine_is_read_and_half_of_it_is_not() {
        let bytes = std::fs::read(std::env::current_exe().expect("it runs")).expect("readable");
        let needs = read(&bytes).expect("an executable");
        assert!(needs.processor() == Processor::X86_64 && needs.glibc >= Version::parse("GLIBC_2.17"), "{needs:?}");
        assert_eq!(needs.loader.as_deref(), GNU);
        let mut other = bytes.clone();
        // e_machine: AArch64.
        other[18] = 183;
        assert_eq!(read(&other).expect("still one").processor(), Processor::Aarch64);
        assert!(!needs.is_stripped(), "the tests are debugged");
        assert!(read(&bytes[..bytes.len() / 2]).is_err() && read(&bytes[..40]).is_err());
    }

    #[test]
    fn what_is_no_executable_of_linux_is_told() {
        for bytes in [&b""[..], b"MZ", b"#!/bin/sh\n", b"\xcf\xfa\xed\xfe"] {
            assert!(read(bytes).expect_err("none").contains("no ELF"));
        }
        assert!(read(b"\x7fELF\x01").expect_err("32 bits").contains("64-bit"));
    }
}
