//! What the fuzzer kept, through the functions that it calls, so that `tests/fuzz/corpus/` guards without it.

use std::fs;
use std::path::Path;

#[path = "../fuzz/checks.rs"]
#[expect(unreachable_pub, reason = "the fuzz targets use it too, and they are a package of their own")]
mod checks;

/// Runs `check` on every file of a corpus, of which some come all the way and some do not.
fn replay(target: &str, check: impl Fn(&[u8]) -> bool) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/corpus").join(target);
    let files = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let (mut through, mut stopped) = (0, 0);
    for file in files {
        let path = file.expect("the folder can be read").path();
        // The last one is the one that fails.
        println!("{}", path.display());
        let bytes = fs::read(&path).expect("a file");
        *(if check(&bytes) { &mut through } else { &mut stopped }) += 1;
    }
    assert!(through >= 5 && stopped >= 5, "{target}: {through} came through, {stopped} did not");
}

#[test]
fn every_envelope_of_the_corpus_gives_its_message_back() {
    replay("envelope", checks::envelope);
}

#[test]
fn every_message_of_the_corpus_is_a_record_or_an_error() {
    replay("record", checks::record);
}

#[test]
fn every_error_body_of_the_corpus_is_understood_within_the_laws() {
    replay("error_body", checks::error_body);
}
