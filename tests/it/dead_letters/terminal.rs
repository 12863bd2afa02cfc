//! On a terminal, progress is a bar, and `drop` asks first.

use super::queues::{Queues, ours, record};
use crate::terminal::Terminal;

const QUESTION: &str = "Type yes: ";

/// Runs a command on its own terminal, types `typed` at its question, and returns everything that it printed and its
/// exit code.
async fn on_terminal(queues: &Queues, arguments: &[&str], typed: &str) -> (String, Option<i32>) {
    let connection = queues.storage.connection_string();
    let arguments = [&["dead-letters"], arguments].concat();
    let mut terminal = Terminal::start(120, &arguments, &[("AzureWebJobsStorage", &connection)]);
    // The handler does not read the keyboard before it asks.
    while terminal.read().await && !terminal.text().contains(QUESTION) {}
    if terminal.text().contains(QUESTION) {
        terminal.type_in(typed).await;
    }
    terminal.end().await
}

#[tokio::test]
async fn progress_is_a_bar_on_a_terminal_and_lines_without_one() {
    let queues = Queues::with_moved(100).await;
    let (sent, code) = on_terminal(&queues, &["list"], "").await;
    assert_eq!(code, Some(0));
    assert!(sent.contains("of about 100"), "{sent:?}");
    assert!(sent.contains('█') || sent.contains('░'), "{sent:?}");
    assert!(sent.contains("\r\u{1b}[2Kmessages  reason"), "no bar is left beside the table: {sent:?}");
    let piped = queues.run(&["list"]).await;
    assert_eq!(piped.stderr, "", "a hundred letters are read at once: {piped:?}");
}

#[tokio::test]
async fn drop_asks_with_the_count_by_group_and_accepts_only_yes() {
    let queues = Queues::empty().await;
    for key in ["E-1", "E-2"] {
        queues.letter(&ours(&record("contacts", key), "exists", "0x1")).await;
    }
    for no in ["no\r", "\r", "y\r", "\u{4}"] {
        let (sent, code) = on_terminal(&queues, &["drop"], no).await;
        assert_eq!(code, Some(0), "{no:?}: {sent:?}");
        assert!(sent.contains("       2  exists  0x1        contacts"), "{sent:?}");
        assert!(
            sent.contains("Drop these 2 messages for good?") && sent.contains("nothing is dropped"),
            "{no:?}: {sent:?}"
        );
        assert_eq!(queues.visible().await.len(), 2, "{no:?}");
    }
    let (sent, code) = on_terminal(&queues, &["drop"], "yes\r").await;
    assert_eq!(code, Some(0), "{sent:?}");
    assert!(sent.contains("2 messages dropped."), "{sent:?}");
    assert_eq!(queues.poison.approximate_count().await.expect("the queue answers"), 0);
}

#[tokio::test]
async fn ctrl_c_at_the_question_drops_nothing_and_gives_everything_back() {
    let queues = Queues::with_moved(1).await;
    let (sent, code) = on_terminal(&queues, &["drop"], "\u{3}").await;
    assert_eq!(code, Some(1), "{sent:?}");
    assert!(sent.contains("Interrupted") && sent.contains("0 messages dropped."), "{sent:?}");
    assert_eq!(queues.visible().await.len(), 1);
}
