//! Every relative link of the Markdown documents leads to a file that exists, and to a heading in it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use regex_lite::Regex;

/// The folders that hold documents.
const FOLDERS: [&str; 4] = ["", "functions", "tests", "src/docs"];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// All Markdown documents, relative to the repository.
fn documents() -> BTreeSet<PathBuf> {
    let files = FOLDERS.into_iter().flat_map(|folder| {
        let entries = fs::read_dir(root().join(folder)).expect("the folder exists");
        entries.map(move |entry| Path::new(folder).join(entry.expect("it is readable").file_name()))
    });
    files.filter(|file| file.extension() == Some("md".as_ref())).collect()
}

fn read(document: &Path) -> String {
    fs::read_to_string(root().join(document)).unwrap_or_else(|error| panic!("{}: {error}", document.display()))
}

/// The text without blocks of code.
fn prose(text: &str) -> Vec<&str> {
    let mut in_code = false;
    let is_prose = |line: &&str| {
        let is_fence = line.trim_start().starts_with("```");
        in_code ^= is_fence;
        !in_code && !is_fence
    };
    text.lines().filter(is_prose).collect()
}

/// The anchors that GitHub gives to the headings: lower case, without punctuation, hyphens for blanks.
fn anchors(text: &str) -> BTreeSet<String> {
    let heading = |line: &&str| line.starts_with('#').then(|| line.trim_start_matches('#').trim().to_lowercase());
    let anchor = |title: String| {
        let kept = title.chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c));
        kept.map(|c| if c == ' ' { '-' } else { c }).collect()
    };
    prose(text).iter().filter_map(heading).map(anchor).collect()
}

/// The targets of links in a line and of definitions, without what is in backticks.
fn targets(text: &str) -> Vec<String> {
    let code = Regex::new("`[^`]*`").expect("a pattern");
    let link = Regex::new(r"\]\(([^)\s]+)\)|^\[[^\]]+\]: (\S+)$").expect("a pattern");
    let lines = prose(text).join("\n");
    let lines = code.replace_all(&lines, "``").into_owned();
    let found = lines.lines().flat_map(|line| link.captures_iter(line).collect::<Vec<_>>());
    found.filter_map(|found| found.get(1).or(found.get(2)).map(|target| target.as_str().to_owned())).collect()
}

/// The names in `[text][name]`.
fn names_used(text: &str) -> BTreeSet<String> {
    let used = Regex::new(r"\]\[([\w-]+)\]").expect("a pattern");
    used.captures_iter(&prose(text).join("\n")).map(|found| found[1].to_owned()).collect()
}

/// What the names stand for.
fn definitions(text: &str) -> BTreeMap<String, String> {
    let defined = Regex::new(r"^\[([^\]]+)\]: (\S+)$").expect("a pattern");
    let found = prose(text).into_iter().filter_map(|line| defined.captures(line));
    found.map(|found| (found[1].to_owned(), found[2].to_owned())).collect()
}

/// What is wrong with a link, if anything.
fn problem(document: &Path, target: &str) -> Option<String> {
    let (path, anchor) = target.split_once('#').map_or((target, None), |(path, anchor)| (path, Some(anchor)));
    let folder = document.parent().expect("it is a file");
    let file = if path.is_empty() { root().join(document) } else { root().join(folder).join(path) };
    if !file.exists() {
        return Some(format!("{}: {target}: there is no such file", document.display()));
    }
    let anchor = anchor?;
    let text = fs::read_to_string(&file).expect("an anchor is in a document");
    (!anchors(&text).contains(anchor)).then(|| format!("{}: {target}: there is no such heading", document.display()))
}

#[test]
fn every_relative_link_leads_to_a_file_and_a_heading() {
    let (mut problems, mut count) = (Vec::new(), 0);
    for document in documents() {
        let relative = targets(&read(&document)).into_iter().filter(|target| !target.contains("://"));
        let relative: Vec<_> = relative.collect();
        count += relative.len();
        problems.extend(relative.iter().filter_map(|target| problem(&document, target)));
    }
    assert!(problems.is_empty(), "{}", problems.join("\n"));
    assert!(count > 50, "only {count} links were found");
}

#[test]
fn every_link_by_name_has_a_definition_and_every_definition_is_used() {
    for document in documents() {
        let text = read(&document);
        let defined: BTreeSet<_> = definitions(&text).into_keys().collect();
        assert_eq!(names_used(&text), defined, "{}", document.display());
    }
}

#[test]
fn the_readme_leads_to_every_other_document() {
    let linked: BTreeSet<_> = targets(&read(Path::new("README.md"))).into_iter().map(PathBuf::from).collect();
    let others = documents().into_iter().filter(|document| document.as_os_str() != "README.md");
    let unlinked: Vec<_> = others.filter(|document| !linked.contains(document)).collect();
    assert_eq!(unlinked, Vec::<PathBuf>::new());
}

/// The module of `src/docs.rs` that includes a document.
fn module(document: &Path) -> &str {
    match document.to_str().expect("a name") {
        "README.md" => "readme",
        "functions/README.md" => "guide",
        "tests/README.md" => "contributing",
        _ => document.file_stem().and_then(|name| name.to_str()).expect("a name"),
    }
}

/// The path with `..` resolved.
fn resolved(document: &Path, path: &str) -> PathBuf {
    let mut resolved = document.parent().expect("it is a file").to_owned();
    for part in path.split('/') {
        if part == ".." {
            resolved.pop();
        } else {
            resolved.push(part);
        }
    }
    resolved
}

#[test]
fn rustdoc_has_every_document_as_a_module_and_the_same_links() {
    let (code, for_rustdoc) = (read(Path::new("src/docs.rs")), definitions(&read(Path::new("src/docs/links.txt"))));
    let mut used = BTreeSet::new();
    for document in documents() {
        let header = format!(".md\")]\npub mod {} {{}}", module(&document));
        assert!(code.contains(&header), "src/docs.rs lacks {}", document.display());
        let text = read(&document);
        used.extend(names_used(&text));
        for (name, target) in definitions(&text).into_iter().filter(|(_, target)| !target.contains("://")) {
            let (path, anchor) = target.split_once('#').map_or((&*target, None), |(path, anchor)| (path, Some(anchor)));
            let anchor = anchor.map(|anchor| format!("#{anchor}")).unwrap_or_default();
            let expected = format!("crate::docs::{}{anchor}", module(&resolved(&document, path)));
            assert_eq!(for_rustdoc.get(&name), Some(&expected), "{name} of {}", document.display());
        }
        assert!(!text.contains(".md)"), "{}: rustdoc cannot follow a link that is not by name", document.display());
    }
    assert_eq!(used, for_rustdoc.into_keys().collect());
}

#[test]
fn links_and_anchors_are_found_as_github_does() {
    let text = "# The *first*: `a`, (b)\n[x](y.md#z) [n][name] `[no](code.md)`\n```sh\n[no](fence.md)\n# no\n```\n\n[name]: other.md\n";
    assert_eq!(targets(text), ["y.md#z", "other.md"]);
    assert_eq!(anchors(text), BTreeSet::from(["the-first-a-b".to_owned()]));
    assert_eq!(names_used(text), BTreeSet::from(["name".to_owned()]));
    assert_eq!(definitions(text), BTreeMap::from([("name".to_owned(), "other.md".to_owned())]));
}
