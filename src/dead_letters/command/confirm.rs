//! The answer to the question before messages are deleted for good.

use std::io::{BufRead as _, stdin};

use tokio::sync::oneshot;
use tokio::time::sleep;

use crate::dead_letters::progress::say;
use crate::dead_letters::scan::{Scan, Stop};

/// Asks before `messages` are dropped, and keeps them hidden meanwhile.
pub(super) async fn is_confirmed(scan: &mut Scan, messages: usize) -> Result<bool, Stop> {
    say(&format!("Drop these {messages} messages for good? Type yes: "));
    let (stop, mut answer) = (scan.stop.clone(), line());
    let is_confirmed = loop {
        tokio::select! {
            line = &mut answer => break line.is_ok_and(|line| line.trim().eq_ignore_ascii_case("yes")),
            () = stop.cancelled() => break false,
            () = sleep(scan.report.hidden / 4) => scan.extend_due().await,
        }
    };
    if !is_confirmed {
        say("nothing is dropped\n");
    }
    if stop.is_cancelled() && !is_confirmed { Err(Stop::Interrupted) } else { Ok(is_confirmed) }
}

/// Reads on a thread of its own: a read from the keyboard cannot be cancelled, and the runtime would wait for it at its end.
fn line() -> oneshot::Receiver<String> {
    let (sender, receiver) = oneshot::channel();
    std::thread::spawn(move || {
        let mut line = String::new();
        if stdin().lock().read_line(&mut line).is_ok() {
            // After a signal there is no receiver.
            let _ = sender.send(line);
        }
    });
    receiver
}
