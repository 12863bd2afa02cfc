//! The layers: a module uses only modules above it in lib.rs's map.

use std::fs;
use std::path::{Path, PathBuf};

const SRC: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src");

/// The modules in the map's order.
fn map() -> Vec<String> {
    let lib = read(&Path::new(SRC).join("lib.rs"));
    let names = lib.lines().filter_map(|line| line.strip_prefix("//! - [`")?.split('`').next());
    names.map(str::to_owned).collect()
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Every source file below a folder, except tests.
fn sources(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).expect("the folder is readable").map(|entry| entry.expect("readable").path());
    let is_test = |path: &PathBuf| ["tests", "properties"].iter().any(|name| path.file_stem() == Some(name.as_ref()));
    let (folders, files): (Vec<_>, Vec<_>) = entries.filter(|path| !is_test(path)).partition(|path| path.is_dir());
    let files = files.into_iter().filter(|path| path.extension() == Some("rs".as_ref()));
    files.chain(folders.iter().flat_map(|folder| sources(folder))).collect()
}

/// The code without comments and the test module at its end; a `super` path to the root becomes `crate`.
fn code(text: &str, depth: usize) -> String {
    let text = text.split("\n#[cfg(test)]\nmod ").next().unwrap_or_default();
    let lines = text.lines().map(|line| line.split("//").next().unwrap_or_default());
    lines.collect::<Vec<_>>().join("\n").replace(&"super::".repeat(depth), "crate::")
}

/// The names after `crate::`, each with its line; a group in braces has several.
fn uses(code: &str) -> Vec<(usize, &str)> {
    let mut uses = Vec::new();
    for (position, prefix) in code.match_indices("crate::") {
        let line = code[..position].lines().count().max(1);
        let (mut depth, mut is_name) = (0, true);
        for part in code[position + prefix.len()..].split_inclusive(|c: char| !c.is_alphanumeric() && c != '_') {
            let name = part.trim_end_matches(|c: char| !c.is_alphanumeric() && c != '_');
            if is_name && !name.is_empty() {
                uses.push((line, name));
                is_name = false;
            }
            match part.chars().next_back() {
                Some('{') => depth += 1,
                Some('}') => depth -= 1,
                Some(',') if depth == 1 => is_name = true,
                _ => {}
            }
            if depth == 0 {
                break;
            }
        }
    }
    uses
}

#[test]
fn the_map_lists_every_module_once() {
    let lib = read(&Path::new(SRC).join("lib.rs"));
    let mut modules: Vec<_> = lib.lines().filter_map(|line| line.strip_prefix("pub mod ")?.strip_suffix(';')).collect();
    let mut map = map();
    map.sort();
    modules.sort_unstable();
    assert_eq!(map, modules);
}

#[test]
fn every_module_uses_only_modules_above_it_in_the_map() {
    let map = map();
    let rank = |name: &str| map.iter().position(|module| module == name);
    let mut violations = Vec::new();
    for path in sources(Path::new(SRC)) {
        let relative = path.strip_prefix(SRC).expect("it is below src").with_extension("");
        let depth = relative.components().count();
        let module = relative.iter().next().and_then(|name| name.to_str()).expect("names are text");
        let Some(own) = rank(module) else { continue };
        for (line, name) in uses(&code(&read(&path), depth)) {
            if rank(name).is_some_and(|used| used > own) {
                violations.push(format!("{}:{line}: {module} uses crate::{name}", path.display()));
            }
        }
    }
    assert!(violations.is_empty(), "imports against the order of the map:\n{}", violations.join("\n"));
}

#[test]
fn uses_are_found_in_groups_inline_and_through_super() {
    let text = "use crate::a;\nuse crate::{b::{self, X}, c};\n// crate::d\nlet x = super::super::e::f(crate::g);\n\n\
                #[cfg(test)]\nmod tests {\n    use crate::h;\n}\n";
    let code = code(text, 2);
    assert_eq!(uses(&code), [(1, "a"), (2, "b"), (2, "c"), (4, "e"), (4, "g")]);
}
