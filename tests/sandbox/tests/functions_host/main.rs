//! The commands of `cargo sandbox` as processes: captured runs of the real Functions host, replayed on `cargo sandbox host`; our
//! handler on that process, with either of the two stopped under load; `cargo sandbox up` and `dataverse`, and terminals.
//!
//! A case is a line of `tests/stand_ins/data/functions-host.ndjson`. The test prints how many cases the file has, how many agree,
//! and each that does not.

#![cfg(unix)]

mod case;
mod command;
mod expected;
mod explained;
mod host;
mod process;
mod recorder;
mod replay;
mod terminal;
mod under_load;
mod up;

use std::fmt::Write as _;
use std::io::Write as _;
use std::panic::AssertUnwindSafe;

use futures::{FutureExt as _, StreamExt as _, stream};

use case::Case;

/// Cases that are replayed at once: nearly all of their time they wait.
const AT_ONCE: usize = 8;

/// Cases of the file that the stand-in does not agree with, each with the reason.
const DISAGREEMENTS: [(&str, &str); 0] = [];

#[tokio::test(flavor = "multi_thread")]
async fn the_stand_in_agrees_with_every_captured_case_of_the_real_host() {
    let replays = Case::all().into_iter().map(async |case| {
        let replay = AssertUnwindSafe(replay::difference(&case)).catch_unwind();
        (case.name.clone(), replay.await.unwrap_or_else(|_| Some("  its replay failed, see above".to_owned())))
    });
    let mut results: Vec<_> = stream::iter(replays).buffer_unordered(AT_ONCE).collect().await;
    results.sort();
    let differing: Vec<_> =
        results.iter().filter_map(|(name, difference)| Some((name.as_str(), difference.as_ref()?))).collect();
    let mut table = format!("cases in the file: {}, agreeing: {}\n", results.len(), results.len() - differing.len());
    for (name, difference) in &differing {
        let reason = DISAGREEMENTS.iter().find(|(known, _)| known == name).map_or("unexpected", |(_, reason)| reason);
        writeln!(table, "{name}: {reason}\n{difference}").expect("writing to a String cannot fail");
    }
    // Shown whether or not the test passes.
    std::io::stderr().write_all(table.as_bytes()).expect("stderr is open");
    let differing: Vec<_> = differing.into_iter().map(|(name, _)| name).collect();
    assert_eq!(differing, DISAGREEMENTS.map(|(name, _)| name), "{table}");
}
