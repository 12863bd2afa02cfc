//! On a terminal there are colours, and `--watch` redraws its screen and leaves the terminal as it was.

use stand_ins::storage::{Effect, Fault, Op};

use super::{put, storage};
use crate::terminal::Terminal;

const END_FRAME: &str = "\u{1b}[J\u{1b}[?2026l";
const ENTER: &str = "\u{1b}[?1049h\u{1b}[?25l";
const LEAVE: &str = "\u{1b}[?25h\u{1b}[?1049l";

/// `handler status` on a terminal of 80 columns.
fn start(connection: &str, arguments: &[&str], settings: &[(&str, &str)]) -> Terminal {
    let settings = [&[("AzureWebJobsStorage", connection)], settings].concat();
    Terminal::start(80, &[&["status"], arguments].concat(), &settings)
}

/// Waits for the next frame that has this text.
async fn until(session: &mut Terminal, text: &str) {
    session.printed.clear();
    loop {
        let printed = session.text();
        let complete = printed.rsplit_once(END_FRAME);
        if complete.is_some_and(|(frames, _)| frames.contains(text)) {
            return;
        }
        assert!(session.read().await, "it ended without {text}: {printed:?}");
    }
}

#[tokio::test]
async fn colours_are_used_on_a_terminal_unless_they_are_unwanted() {
    let (_storage, connection, _) = storage().await;
    for (settings, has_colours) in [(&[][..], true), (&[("NO_COLOR", "1")], false), (&[("TERM", "dumb")], false)] {
        let (printed, code) = start(&connection, &[], settings).end().await;
        assert_eq!((code, printed.contains("\u{1b}[32m✓")), (Some(0), has_colours), "{printed:?}");
        assert!(!printed.contains(ENTER), "one sample stays on the screen: {printed:?}");
    }
}

#[tokio::test]
async fn watching_redraws_through_an_outage_and_ctrl_c_restores_the_terminal() {
    let (storage, connection, [poison, records]) = storage().await;
    put(&records, 0..10).await;
    let mut session = start(&connection, &["--watch", "--interval", "1s"], &[]);
    until(&mut session, "10 messages in sync-records").await;
    assert!(session.text().starts_with(ENTER), "{:?}", session.text());
    records.clear().await.expect("the queue answers");
    until(&mut session, "empty; shrank by").await;
    until(&mut session, "▁").await;
    let outage = Effect::Status { code: 503, error_code: "ServerBusy", retry_after: None };
    storage.fault(Fault::until_cleared(Op::AnyQueue, outage));
    until(&mut session, "sync-records, sync-records-poison: the storage answered 503 ServerBusy").await;
    storage.clear_faults();
    until(&mut session, "0 messages in sync-records").await;
    poison.put("letter").await.expect("the queue takes it");
    until(&mut session, "1 dead letter").await;

    session.type_in("\x03").await;
    let (printed, code) = session.end().await;
    assert_eq!(code, Some(1), "{printed:?}");
    let (_, after) = printed.split_once(LEAVE).expect("the terminal is restored");
    assert!(after.contains("1 dead letter") && !after.contains("\u{1b}[?"), "the last sample stays: {after:?}");
}
