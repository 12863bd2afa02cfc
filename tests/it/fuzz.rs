//! Runs the fuzz targets' checks on `tests/fuzz/corpus/`, so that regressions are caught without a fuzzer.

use std::fs;
use std::path::Path;

#[path = "../fuzz/checks.rs"]
#[expect(unreachable_pub, reason = "the fuzz targets use it too, and they are a package of their own")]
mod checks;

/// Runs `check` on every file of a corpus, which must have both valid and invalid inputs.
fn replay(target: &str, check: impl Fn(&[u8]) -> bool) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/corpus").join(target);
    let files = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let (mut valid, mut invalid) = (0, 0);
    for file in files {
        let path = file.expect("the folder can be read").path();
        // If a check panics, the last path printed is the failing one.
        println!("{}", path.display());
        let bytes = fs::read(&path).expect("a file");
        *(if check(&bytes) { &mut valid } else { &mut invalid }) += 1;
    }
    assert!(valid >= 5 && invalid >= 5, "{target}: {valid} valid, {invalid} invalid");
}

#[test]
fn every_envelope_of_the_corpus_keeps_its_message() {
    replay("envelope", checks::envelope);
}

#[test]
fn every_message_of_the_corpus_is_a_record_or_an_error() {
    replay("record", checks::record);
}

#[test]
fn every_letter_of_the_corpus_is_printed_by_every_command() {
    replay("letter", checks::letter);
}

/// Only cargo-fuzz compiles the targets, so a renamed check would show there alone.
#[test]
fn each_corpus_has_a_target_that_calls_its_check() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz");
    let manifest = fs::read_to_string(folder.join("Cargo.toml")).expect("it is there");
    let checks = fs::read_to_string(folder.join("checks.rs")).expect("it is there");
    let mut corpora = 0;
    for corpus in fs::read_dir(folder.join("corpus")).expect("it is there") {
        let name = corpus.expect("the folder can be read").file_name().into_string().expect("a word");
        let target = fs::read_to_string(folder.join(format!("{name}.rs"))).expect("it has a target");
        assert!(
            target.contains(&format!("fuzz::{name}(bytes);")) && checks.contains(&format!("pub fn {name}(")),
            "{name}"
        );
        assert!(manifest.contains(&format!("name = \"{name}\"\npath = \"{name}.rs\"")), "{name}");
        corpora += 1;
    }
    assert_eq!(corpora, 5);
}

#[test]
fn every_error_body_of_the_corpus_is_classified_within_the_laws() {
    replay("error_body", checks::error_body);
}

#[test]
fn every_answer_to_a_batch_of_the_corpus_is_read_within_its_bounds() {
    replay("batch", checks::batch);
}
