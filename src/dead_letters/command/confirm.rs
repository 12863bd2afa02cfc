//! The answer to the question before messages are deleted for good.

use std::io::{BufRead as _, stdin};

use tokio::sync::oneshot;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::dead_letters::queue_scan::QueueScan;

/// Waits for a line from the keyboard and keeps the messages hidden meanwhile; returns whether it is `yes`.
pub(super) async fn confirmed(scan: &mut QueueScan, stop: &CancellationToken) -> bool {
    let mut answer = line();
    loop {
        tokio::select! {
            line = &mut answer => return line.is_ok_and(|line| line.trim().eq_ignore_ascii_case("yes")),
            () = stop.cancelled() => return false,
            () = sleep(scan.hidden / 4) => scan.extend_due().await,
        }
    }
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
