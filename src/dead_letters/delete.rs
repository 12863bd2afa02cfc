//! Letters deleted for good, once their number by group is known and agreed to.
//!
//! All that is meant is read and held first, and then exactly that is deleted: what comes meanwhile is not.

use std::io::{BufRead as _, stdin};
use std::sync::Arc;

use tokio::sync::oneshot;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use super::progress::Progress;
use super::queue_scan::{Deleted, Sweep};
use super::scan::End;

/// Between so many deletions the signal to stop is heard.
const AT_ONCE: usize = 64;

/// Deletes the letters of these ids, until all are deleted, a signal, or a fault.
pub async fn discard(
    sweep: &mut Sweep,
    ids: &[Arc<str>],
    stop: &CancellationToken,
    progress: &mut Progress,
) -> (Deleted, End) {
    let mut all = Deleted::default();
    for some in ids.chunks(AT_ONCE) {
        if stop.is_cancelled() {
            return (all, End::Stopped);
        }
        sweep.extend(Instant::now() + sweep.hidden() / 2).await;
        let (deleted, result) = sweep.delete(some, || progress.add(1)).await;
        all.deleted += deleted.deleted;
        all.not_ours += deleted.not_ours;
        if let Err(error) = result {
            return (all, End::Queue(error));
        }
    }
    (all, End::All)
}

/// Waits for a line from the keyboard and holds the letters meanwhile; says whether it is `yes`.
pub async fn agreed(sweep: &mut Sweep, stop: &CancellationToken) -> bool {
    let mut answer = line();
    loop {
        tokio::select! {
            line = &mut answer => return line.is_ok_and(|line| line.trim().eq_ignore_ascii_case("yes")),
            () = stop.cancelled() => return false,
            () = sleep(sweep.hidden() / 4) => sweep.extend(Instant::now() + sweep.hidden() / 2).await,
        }
    }
}

/// A thread of its own reads: nothing can wake it, and a runtime would wait for it at its end.
fn line() -> oneshot::Receiver<String> {
    let (sender, receiver) = oneshot::channel();
    std::thread::spawn(move || {
        let mut line = String::new();
        if stdin().lock().read_line(&mut line).is_ok() {
            // Nobody listens after a signal.
            let _ = sender.send(line);
        }
    });
    receiver
}
