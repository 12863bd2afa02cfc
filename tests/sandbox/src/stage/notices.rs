//! THIRD-PARTY-NOTICES.txt: the crates in the executable, their licences, and the texts from their sources, each text once.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context as _;

use super::packages::{Package, Packages};

/// The file's name in the app.
pub const FILE: &str = "THIRD-PARTY-NOTICES.txt";

/// How the names of files with a licence begin, in capitals.
const NAMES: [&str; 6] = ["LICENSE", "LICENCE", "COPYING", "COPYRIGHT", "NOTICE", "UNLICENSE"];

/// How deep below a crate's Cargo.toml such files lie: ring has one in `src/polyfill/once_cell`.
const MAX_DEPTH: usize = 4;

/// The notices of the handler, built for a triple.
///
/// # Errors
/// When cargo cannot resolve the packages, or a text cannot be read.
pub fn notices(triple: &str) -> anyhow::Result<String> {
    let packages = Packages::read(&["--filter-platform", triple])?;
    render(triple, &packages.linked_into("dataverse-sync"))
}

fn render(triple: &str, packages: &[&Package]) -> anyhow::Result<String> {
    let mut texts = Texts::default();
    let mut list = String::new();
    for package in packages {
        let folder = package.manifest_path.parent().context("a Cargo.toml lies in a folder")?;
        let numbers =
            licence_files(folder, MAX_DEPTH)?.iter().map(|file| texts.number(file)).collect::<Result<_, _>>()?;
        list.push_str(&entry(package, numbers));
    }
    let texts = texts
        .texts
        .iter()
        .zip(1..)
        .fold(String::new(), |texts, (text, number)| texts + &format!("\n==== [{number}] ====\n\n{text}\n"));
    Ok(format!(
        "The executable `handler` for {triple} contains these crates, and Rust's standard library (MIT OR Apache-2.0,
https://github.com/rust-lang/rust/blob/HEAD/COPYRIGHT). The numbers are those of the texts below.

{list}{texts}"
    ))
}

/// A crate's line, and its authors where its sources hold no text that names them.
fn entry(package: &Package, mut numbers: Vec<usize>) -> String {
    numbers.sort_unstable();
    numbers.dedup();
    let numbers: Vec<_> = numbers.into_iter().map(|number| format!("[{number}]")).collect();
    let text = if numbers.is_empty() {
        format!("no text in its sources; by {}", package.authors.join(", "))
    } else {
        numbers.join(" ")
    };
    let or_dash = |text: &Option<String>| text.clone().unwrap_or_else(|| "–".to_owned());
    let (licence, repository) = (or_dash(&package.license), or_dash(&package.repository));
    format!("{} {}: {licence}; {repository}; {text}\n", package.name, package.version)
}

/// The texts so far, in the order in which they were found.
#[derive(Debug, Default)]
struct Texts {
    texts: Vec<String>,
    /// The number of each, by its words: line breaks and indentation differ between crates.
    numbers: BTreeMap<String, usize>,
}

impl Texts {
    fn number(&mut self, file: &Path) -> anyhow::Result<usize> {
        let bytes = fs::read(file).with_context(|| format!("reading {}", file.display()))?;
        let text = String::from_utf8_lossy(&bytes).replace('\r', "");
        let words = text.split_whitespace().collect::<Vec<_>>().join(" ");
        Ok(*self.numbers.entry(words).or_insert_with(|| {
            self.texts.push(text.trim_matches('\n').to_owned());
            self.texts.len()
        }))
    }
}

/// The files with a licence in a folder and those below it, by path.
fn licence_files(folder: &Path, depth: usize) -> anyhow::Result<Vec<PathBuf>> {
    let entries = fs::read_dir(folder).with_context(|| format!("reading {}", folder.display()))?;
    let mut paths = entries.map(|entry| Ok(entry?.path())).collect::<anyhow::Result<Vec<_>>>()?;
    paths.sort();
    let mut found = Vec::new();
    for path in paths {
        let name = path.file_name().unwrap_or_default().to_string_lossy().to_uppercase();
        if path.is_dir() && depth > 0 {
            found.extend(licence_files(&path, depth - 1)?);
        } else if path.is_file() && NAMES.iter().any(|begin| name.starts_with(begin)) && !is_source(&path) {
            found.push(path);
        }
    }
    Ok(found)
}

/// Such as a module that reads licences.
fn is_source(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "rs")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn package(folder: &Path, name: &str, authors: &[&str]) -> Package {
        let json = serde_json::json!({
            "id": name, "name": name, "version": "1.0.0", "license": "MIT", "authors": authors, "repository": null,
            "source": "registry", "manifest_path": folder.join(name).join("Cargo.toml"),
        });
        serde_json::from_value(json).expect("it has every member")
    }

    #[test]
    fn each_crate_is_listed_with_its_texts_and_an_equal_text_is_there_once() {
        let folder = tempfile::tempdir().expect("the temporary folder is writable");
        for (file, text) in [
            ("a/LICENSE-MIT", "Permission is\nhereby granted"),
            ("a/src/deep/NOTICE", "Portions by B."),
            ("b/license.txt", "  Permission is hereby\r\n  granted\r\n"),
            ("b/src/license.rs", "fn main() {}"),
            ("c/Cargo.toml", "[package]"),
        ] {
            let path = folder.path().join(file);
            fs::create_dir_all(path.parent().expect("it has one")).expect("writable");
            fs::write(path, text).expect("writable");
        }
        let packages =
            [package(folder.path(), "a", &[]), package(folder.path(), "b", &[]), package(folder.path(), "c", &["C."])];
        let text = render("x86_64-unknown-linux-musl", &packages.iter().collect::<Vec<_>>()).expect("readable");
        for part in [
            "`handler` for x86_64-unknown-linux-musl",
            "\na 1.0.0: MIT; –; [1] [2]\n",
            "\nb 1.0.0: MIT; –; [1]\n",
            "\nc 1.0.0: MIT; –; no text in its sources; by C.\n",
            "\n==== [1] ====\n\nPermission is\nhereby granted\n",
            "\n==== [2] ====\n\nPortions by B.\n",
        ] {
            assert!(text.contains(part), "{part} in\n{text}");
        }
        assert!(!text.contains("[3]") && !text.contains("fn main"), "{text}");
    }

    #[test]
    fn the_handlers_crates_for_linux_have_neither_those_of_its_tests_nor_of_windows() {
        let text = notices("x86_64-unknown-linux-gnu").expect("cargo resolves them");
        for name in ["tokio", "ring", "azure_storage_blob", "libmimalloc-sys"] {
            assert_eq!(text.lines().filter(|line| line.starts_with(&format!("{name} "))).count(), 1, "{name}");
        }
        for name in ["proptest", "windows-sys", "stand_ins", "dataverse-sync", "plotters", "cc"] {
            assert!(!text.lines().any(|line| line.starts_with(&format!("{name} "))), "{name}");
        }
        assert!(text.contains("Copyright (c) 2018-2025 Microsoft Corporation, Daan Leijen"), "the C code of mimalloc");
    }
}
