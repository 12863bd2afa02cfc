//! On a terminal there are colours, and `--watch` redraws its screen and leaves the terminal as it was.

use pty_process::{Command, Pty};
use stand_ins::storage::{Effect, Fault, Op};
use tokio::io::AsyncWriteExt as _;
use tokio::process::Child;

use super::{put, storage};
use crate::dead_letters::terminal::some_more;

const END_FRAME: &str = "\u{1b}[J\u{1b}[?2026l";
const ENTER: &str = "\u{1b}[?1049h\u{1b}[?25l";
const LEAVE: &str = "\u{1b}[?25h\u{1b}[?1049l";

/// The command on a terminal of its own, 80 columns wide.
struct Session {
    terminal: Pty,
    handler: Child,
    printed: Vec<u8>,
}

impl Session {
    fn start(connection: &str, arguments: &[&str], settings: &[(&str, &str)]) -> Self {
        let (terminal, inside) = pty_process::open().expect("the system has terminals");
        terminal.resize(pty_process::Size::new(24, 80)).expect("it is a terminal");
        let handler = Command::new(crate::handler())
            .arg("status")
            .args(arguments)
            .env_clear()
            .env("AzureWebJobsStorage", connection)
            .env("TERM", "xterm")
            .envs(settings.iter().copied())
            .kill_on_drop(true)
            .spawn(inside)
            .expect("the handler can be started");
        Self { terminal, handler, printed: Vec::new() }
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.printed).into_owned()
    }

    /// Waits for the next frame that has this text.
    async fn until(&mut self, text: &str) {
        self.printed.clear();
        loop {
            let printed = self.text();
            let complete = printed.rsplit_once(END_FRAME);
            if complete.is_some_and(|(frames, _)| frames.contains(text)) {
                return;
            }
            assert!(some_more(&mut self.terminal, &mut self.printed).await, "it ended without {text}: {printed:?}");
        }
    }

    /// Everything from now on to its end, and its exit code.
    async fn end(mut self) -> (String, Option<i32>) {
        while some_more(&mut self.terminal, &mut self.printed).await {}
        let ended = self.handler.wait().await.expect("it ends");
        (self.text(), ended.code())
    }
}

#[tokio::test]
async fn colours_are_used_on_a_terminal_unless_they_are_unwanted() {
    let (_storage, connection, _) = storage().await;
    for (settings, has_colours) in [(&[][..], true), (&[("NO_COLOR", "1")], false), (&[("TERM", "dumb")], false)] {
        let (printed, code) = Session::start(&connection, &[], settings).end().await;
        assert_eq!((code, printed.contains("\u{1b}[32m✓")), (Some(0), has_colours), "{printed:?}");
        assert!(!printed.contains(ENTER), "one sample stays on the screen: {printed:?}");
    }
}

#[tokio::test]
async fn watching_redraws_through_an_outage_and_ctrl_c_restores_the_terminal() {
    let (storage, connection, [poison, records]) = storage().await;
    put(&records, 0..10).await;
    let mut session = Session::start(&connection, &["--watch", "--interval", "1s"], &[]);
    session.until("10 messages in sync-records").await;
    assert!(session.text().starts_with(ENTER), "{:?}", session.text());
    records.clear().await.expect("the queue answers");
    session.until("empty; shrank by").await;
    session.until("▁").await;
    let outage = Effect::Status { code: 503, error_code: "ServerBusy", retry_after: None };
    storage.fault(Fault::until_cleared(Op::AnyQueue, outage));
    session.until("sync-records, sync-records-poison: the storage answered 503 ServerBusy").await;
    storage.clear_faults();
    session.until("0 messages in sync-records").await;
    poison.put("letter").await.expect("the queue takes it");
    session.until("1 dead letter").await;

    session.terminal.write_all(b"\x03").await.expect("it listens");
    let (printed, code) = session.end().await;
    assert_eq!(code, Some(1), "{printed:?}");
    let (_, after) = printed.split_once(LEAVE).expect("the terminal is restored");
    assert!(after.contains("1 dead letter") && !after.contains("\u{1b}[?"), "the last sample stays: {after:?}");
}
