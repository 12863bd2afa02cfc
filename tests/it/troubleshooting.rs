//! The table of `src/docs/troubleshooting.md`: every row's symptom is reproduced in the sandbox and found in its output.

mod causes;

use std::collections::BTreeSet;

use crate::contract::documents::{quoted, table};

/// The quoted output of each row.
fn symptoms() -> Vec<Vec<String>> {
    let rows = table("src/docs/troubleshooting.md", "Troubleshooting");
    let first = |row: &Vec<String>| {
        let [seen, because, remedy] = &row[..] else { panic!("{row:?} has other columns") };
        assert!(!because.is_empty() && !remedy.is_empty(), "{row:?}");
        let words: Vec<String> = quoted(seen).into_iter().map(str::to_owned).collect();
        assert!(!words.is_empty(), "{seen} quotes nothing");
        words
    };
    rows.iter().map(first).collect()
}

#[test]
fn every_symptom_is_listed_once() {
    let symptoms = symptoms();
    let different: BTreeSet<_> = symptoms.iter().map(|words| &words[0]).collect();
    assert_eq!(different.len(), symptoms.len(), "{symptoms:?}");
    assert!(symptoms.len() >= 15);
}

/// A row that is not reproduced fails, and so does one whose output differs.
#[tokio::test(flavor = "multi_thread")]
async fn every_symptom_is_printed_as_the_table_says() {
    let mut missing = Vec::new();
    for words in symptoms() {
        let printed = causes::output(&words).await;
        for word in words.iter().filter(|word| !printed.contains(*word)) {
            missing.push(format!("{word} is not in the output:\n{printed:.4000}"));
        }
    }
    assert!(missing.is_empty(), "{}", missing.join("\n\n"));
}
