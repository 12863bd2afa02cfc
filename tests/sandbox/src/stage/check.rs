//! Checks a staged app as `handler doctor` does, before it is published.
//!
//! The executable is checked with the doctor's own rules without being started, as it may be for another machine. If it
//! is for this machine, its doctor is run as well to check the files. It gets no settings, so it makes no network
//! calls.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context as _, anyhow, bail};
use object::Architecture;
use serde_json::Value;

use super::build_paths::BuildPaths;
use super::elf::{self, Needs};
use super::target::{Machine, Target};

/// The doctor's findings about an executable that is not for Azure; expected here.
const FORM: [&str; 3] = ["executable", "architecture", "glibc"];

/// Checks that need settings, which the doctor does not get here.
const ELSEWHERE: [&str; 5] = ["settings", "queue", "poison_queue", "token", "lock_storage"];

/// What an app is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Purpose {
    /// Azure Functions on Linux; also a native build if it runs there.
    Azure,
    /// A Linux machine on ARM, which is not an Azure Functions plan.
    Arm,
    /// `func start` on this machine.
    ThisMachine,
}

impl Purpose {
    /// The purpose of a build for this target (default: this machine).
    pub(super) fn of(target: Option<&Target>, machine: Machine) -> Self {
        match target {
            Some(target) if target.fits_azure() => Self::Azure,
            Some(_) => Self::Arm,
            None if machine.fits_azure() => Self::Azure,
            None => Self::ThisMachine,
        }
    }
}

/// The properties of a valid executable.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Good {
    /// Its size in bytes.
    pub(super) bytes: usize,
    /// The C library that it needs, for Linux.
    pub(super) library: Option<String>,
    /// Whether debug information is stripped, if known.
    pub(super) stripped: bool,
    /// The folders of this machine that are named in it.
    pub(super) paths: Vec<String>,
    /// Whether its doctor was run, and if not, why.
    pub(super) started: Result<(), String>,
}

/// Checks the app in this folder.
///
/// # Errors
/// What the doctor would reject, with the remedies.
pub(super) fn check(app: &Path, name: &str, purpose: &Purpose, must_start: bool) -> anyhow::Result<Good> {
    let executable = app.join(name);
    let bytes = fs::read(&executable).with_context(|| format!("reading {}", executable.display()))?;
    let needs = match purpose {
        Purpose::ThisMachine => None,
        _ => Some(elf::read(&bytes).map_err(|problem| anyhow!("the executable {problem}"))?),
    };
    let library = needs.as_ref().map(|needs| check_library(needs, purpose)).transpose()?;
    let started = start(app, &executable, *purpose != Purpose::Azure);
    let started = match started {
        Ok(refused) if refused.is_empty() => Ok(()),
        Ok(refused) => bail!("its doctor refuses it:\n{}", refused.join("\n")),
        Err(problem) if must_start => bail!("it does not start on this machine: {problem}"),
        Err(problem) => Err(problem),
    };
    let (paths, stripped) = (BuildPaths::here()?.found_in(&bytes), needs.is_none_or(|needs| needs.is_stripped));
    Ok(Good { bytes: bytes.len(), library, stripped, paths, started })
}

fn check_library(needs: &Needs, purpose: &Purpose) -> anyhow::Result<String> {
    let processor = match purpose {
        Purpose::Arm if needs.architecture == Architecture::Aarch64 => Ok(String::new()),
        Purpose::Arm => {
            Err(("it is not for 64-bit ARM".to_owned(), "build it again with `cargo clean` before".to_owned()))
        }
        _ => needs.judge_architecture(),
    };
    let library = processor.and_then(|_| needs.judge_library());
    library.map_err(|(found, remedy)| anyhow!("the doctor would refuse it: {found}\n  → {remedy}"))
}

/// What its own doctor finds wrong with the files, or why it could not be run.
fn start(app: &Path, executable: &Path, form_is_another: bool) -> Result<Vec<String>, String> {
    let mut command = Command::new(executable);
    command.args(["doctor", "--json", "--app"]).arg(app).env_clear().stdin(Stdio::null());
    // Windows starts no process without it.
    command.envs(std::env::var_os("SystemRoot").map(|root| ("SystemRoot", root)));
    let output = command.output().map_err(|error| error.to_string())?;
    let words = String::from_utf8_lossy(&output.stdout);
    let Ok(report) = serde_json::from_str::<Value>(&words) else {
        let stderr = String::from_utf8_lossy(&output.stderr);
        return Err(format!("{}, {}", output.status, stderr.lines().next_back().unwrap_or("no output")));
    };
    Ok(wrong(&report, form_is_another))
}

/// The doctor's findings about files, each with its remedy.
fn wrong(report: &Value, form_is_another: bool) -> Vec<String> {
    let text = |finding: &Value, name: &str| finding[name].as_str().unwrap_or_default().to_owned();
    let findings = report["findings"].as_array().into_iter().flatten();
    let counts = |finding: &&Value| {
        let check = finding["check"].as_str().unwrap_or_default();
        finding["verdict"] == "wrong" && !ELSEWHERE.contains(&check) && !(form_is_another && FORM.contains(&check))
    };
    let line = |finding: &Value| {
        format!("  {}: {}\n  → {}", text(finding, "check"), text(finding, "found"), text(finding, "remedy"))
    };
    findings.filter(counts).map(line).collect()
}

#[cfg(test)]
mod tests;
