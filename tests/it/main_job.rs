//! The demo that `cargo sandbox` runs, as a test.

use sandbox::demo;
use sandbox::screen::{Screen, WIDTH};
use sandbox::world::{Options, StorageKind};

/// Two for each key, which race.
const MESSAGES: usize = demo::MIN_MESSAGES;

/// Runs the demo; gives what it printed, without colours.
async fn every_claim_holds(storage: StorageKind, colour: bool) -> String {
    let options = Options { handler: super::handler(), storage, ..Options::default() };
    let mut screen = Screen::keeping(colour);
    let held = demo::run(options, 3, MESSAGES, &mut screen).await.expect("the demo runs");
    assert!(held, "a claim does not hold:\n{}", screen.text());
    assert_eq!(screen.text().contains('\u{1b}'), colour);
    let styled = screen.text().split('\u{1b}').enumerate();
    styled
        .map(|(number, part)| if number == 0 { part } else { part.split_once('m').map_or("", |(_, text)| text) })
        .collect()
}

fn fits_the_terminal_and_ends_with_the_result_that_counts(text: &str) {
    for line in text.lines() {
        assert!(line.chars().count() <= WIDTH, "wider than {WIDTH}: {line}");
    }
    let acts: Vec<_> = text.lines().filter(|line| line.starts_with("Act ")).collect();
    assert_eq!(acts.len(), 7, "{acts:?}");
    let last = text.lines().last().unwrap_or_default();
    let refused = last.strip_prefix("400 messages each: without locks ").unwrap_or_default();
    let refused = refused.strip_suffix(" × 412, with leases 0.").and_then(|count| count.parse::<usize>().ok());
    assert!(refused.is_some_and(|count| count >= 40), "{last}");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_claim_of_the_demo_holds_on_the_embedded_storage() {
    let text = every_claim_holds(StorageKind::Embedded, true).await;
    fits_the_terminal_and_ends_with_the_result_that_counts(&text);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_claim_of_the_demo_holds_on_azurite() {
    let text = every_claim_holds(StorageKind::Azurite, false).await;
    fits_the_terminal_and_ends_with_the_result_that_counts(&text);
}
