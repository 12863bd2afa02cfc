//! Writes the lines for a stream on a thread of its own: a reader that stops reading blocks no message.
//!
//! The lines that wait are bounded in bytes. Beyond that they are dropped and counted, until the stream takes those before them; then
//! a line says how many are missing here. tracing-appender bounds the number of lines only, and its guard prints to stdout when the
//! queue is full, which blocks for ever where stdout is what is not read.

use std::io::Write;
use std::mem::take;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Instant;

/// Most bytes that wait for a stream, and as many may be on their way into it: some thousand lines.
pub(super) const MAX_WAITING_BYTES: usize = 512 * 1024;

/// The lines that wait for one stream.
#[derive(Clone)]
pub(super) struct BackgroundWriter(Arc<Shared>);

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    /// Whole lines.
    waiting: Vec<u8>,
    /// How many lines are missing behind them.
    dropped: u64,
    is_writing: bool,
}

impl BackgroundWriter {
    /// Starts the thread, which ends with the process. `gap` gives the line for so many missing ones.
    pub(super) fn start(stream: impl Write + Send + 'static, gap: impl Fn(u64) -> String + Send + 'static) -> Self {
        let shared = Arc::<Shared>::default();
        let writer = Self(shared.clone());
        thread::spawn(move || shared.run(stream, gap));
        writer
    }

    /// Adds a line, with its line break; `false` if it was dropped.
    pub(super) fn push(&self, line: &[u8]) -> bool {
        let mut state = self.0.lock();
        if state.dropped > 0 || state.waiting.len() + line.len() > MAX_WAITING_BYTES {
            state.dropped += 1;
            return false;
        }
        state.waiting.extend_from_slice(line);
        drop(state);
        self.0.changed.notify_all();
        true
    }

    /// Waits until all lines are written, or until this time; returns whether they are.
    pub(super) fn flush(&self, until: Instant) -> bool {
        let left = until.saturating_duration_since(Instant::now());
        let is_busy = |state: &mut State| state.is_writing || state.has_work();
        let waited = self.0.changed.wait_timeout_while(self.0.lock(), left, is_busy);
        !waited.unwrap_or_else(PoisonError::into_inner).1.timed_out()
    }
}

impl State {
    fn has_work(&self) -> bool {
        !self.waiting.is_empty() || self.dropped > 0
    }
}

impl Shared {
    fn run(&self, mut stream: impl Write, gap: impl Fn(u64) -> String) {
        loop {
            let (lines, dropped) = self.next();
            // A closed stream must not stop the handler, so the result is ignored.
            let _ = stream.write_all(&lines);
            if dropped > 0 {
                let _ = stream.write_all(gap(dropped).as_bytes());
            }
        }
    }

    /// Waits for lines and takes them, and how many are missing behind them.
    fn next(&self) -> (Vec<u8>, u64) {
        let mut state = self.lock();
        state.is_writing = false;
        self.changed.notify_all();
        let mut state =
            self.changed.wait_while(state, |state| !state.has_work()).unwrap_or_else(PoisonError::into_inner);
        state.is_writing = true;
        (take(&mut state.waiting), take(&mut state.dropped))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::mpsc::{Receiver, Sender, channel};
    use std::time::Duration;

    use super::*;

    const LONG: Duration = Duration::from_mins(1);

    /// A stream that shows what is written, and takes it when the test allows it.
    struct Held {
        written: Sender<String>,
        may_go_on: Receiver<()>,
    }

    impl Write for Held {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let _ = self.written.send(String::from_utf8(bytes.to_vec()).expect("whole lines"));
            let _ = self.may_go_on.recv();
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn held() -> (BackgroundWriter, Receiver<String>, Sender<()>) {
        let ((written, seen), (go_on, may_go_on)) = (channel(), channel());
        let writer = BackgroundWriter::start(Held { written, may_go_on }, |dropped| format!("{dropped} missing\n"));
        (writer, seen, go_on)
    }

    #[test]
    fn what_a_stream_does_not_take_is_bounded_and_the_rest_is_dropped_and_counted_where_it_is_missing() {
        let (writer, seen, go_on) = held();
        assert!(writer.push(b"first\n"));
        assert_eq!(seen.recv_timeout(LONG).as_deref(), Ok("first\n"));
        let line = format!("{}\n", "x".repeat(1023));
        let taken = (0..MAX_WAITING_BYTES).take_while(|_| writer.push(line.as_bytes())).count();
        assert_eq!(taken, MAX_WAITING_BYTES / line.len());
        assert!(!writer.push(b"this one would fit, but not behind the missing one\n"));
        assert!(!writer.flush(Instant::now() + Duration::from_millis(10)), "a stream that takes nothing ends the wait");
        go_on.send(()).expect("it waits");
        assert_eq!(seen.recv_timeout(LONG), Ok(line.repeat(taken)));
        assert!(writer.push(b"after\n"));
        for expected in ["2 missing\n", "after\n"] {
            go_on.send(()).expect("it waits");
            assert_eq!(seen.recv_timeout(LONG).as_deref(), Ok(expected));
        }
        go_on.send(()).expect("it waits");
        assert!(writer.flush(Instant::now() + LONG), "everything is written");
    }
}
