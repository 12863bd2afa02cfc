//! The threads that serve, one for each core, each with a runtime of its own.
//!
//! A connection stays with the thread that it was given to, and so does all that its requests do: nothing is stolen, and no thread
//! wakes another to go on. What they share (the gate, the line before a lock) is behind short locks.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use tokio::runtime::{Builder, Handle};
use tokio::sync::oneshot;
use tracing::warn;

/// More cores than this are left to others: no environment takes as many messages as these can send.
const MOST: usize = 8;

/// The calling thread's runtime, and threads beside it; those end when this is dropped, with what they do.
#[derive(Debug)]
pub struct Workers(Vec<Worker>);

#[derive(Debug)]
struct Worker {
    runtime: Handle,
    connections: Arc<AtomicUsize>,
    _stop: Option<oneshot::Sender<()>>,
}

/// A worker for one connection, until it is dropped.
#[derive(Debug)]
pub(super) struct Seat {
    pub(super) runtime: Handle,
    connections: Arc<AtomicUsize>,
}

impl Workers {
    /// The runtime that this is called in, alone.
    pub fn alone() -> Self {
        Self(vec![Worker::new(Handle::current(), None)])
    }

    /// The runtime that this is called in, which has to be of one thread, and threads beside it, one for each further core, as
    /// far as the system has them: fewer serve as well.
    pub fn for_cores(cores: usize) -> Self {
        Self::started_by(Worker::start, cores)
    }

    fn started_by(start: impl Fn() -> io::Result<Worker>, cores: usize) -> Self {
        let mut workers = Self::alone();
        while workers.0.len() < cores.min(MOST) {
            match start() {
                Ok(worker) => workers.0.push(worker),
                Err(error) => {
                    let threads = workers.0.len();
                    warn!(threads, %error, "the system starts no further thread, so these serve without it");
                    break;
                }
            }
        }
        workers
    }

    /// A seat with the worker who has the fewest connections.
    pub(super) fn seat(&self) -> Seat {
        let fewest = self.0.iter().min_by_key(|worker| worker.connections.load(Ordering::Relaxed));
        let worker = fewest.expect("there is the calling thread's");
        worker.connections.fetch_add(1, Ordering::Relaxed);
        Seat { runtime: worker.runtime.clone(), connections: worker.connections.clone() }
    }
}

impl Worker {
    fn new(runtime: Handle, stop: Option<oneshot::Sender<()>>) -> Self {
        Self { runtime, connections: Arc::default(), _stop: stop }
    }

    fn start() -> io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let handle = runtime.handle().clone();
        let (stop, stopped) = oneshot::channel::<()>();
        thread::Builder::new().name("worker".to_owned()).spawn(move || {
            // It says so by being dropped.
            let _ = runtime.block_on(stopped);
        })?;
        Ok(Self::new(handle, Some(stop)))
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.connections.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn three() -> Workers {
        Workers::for_cores(3)
    }

    #[tokio::test]
    async fn connections_are_spread_and_a_seat_that_is_free_again_is_taken_first() {
        let workers = three();
        let taken: Vec<_> = (0..6).map(|_| workers.seat()).collect();
        let of = |seats: &[&Seat]| seats.iter().map(|seat| seat.runtime.id()).collect::<std::collections::HashSet<_>>();
        assert_eq!(of(&taken.iter().collect::<Vec<_>>()).len(), 3);
        let free = taken[4].runtime.id();
        let taken: Vec<_> = taken.into_iter().enumerate().filter(|(n, _)| *n != 4).map(|(_, seat)| seat).collect();
        assert_eq!(workers.seat().runtime.id(), free);
        drop(taken);
    }

    #[tokio::test]
    async fn each_worker_runs_its_work_on_a_thread_of_its_own() {
        let workers = three();
        let mut threads = std::collections::HashSet::new();
        let seats: Vec<_> = (0..3).map(|_| workers.seat()).collect();
        for seat in &seats {
            threads.insert(seat.runtime.spawn(async { thread::current().id() }).await.expect("it ran"));
        }
        assert_eq!(threads.len(), 3);
    }

    #[tokio::test]
    async fn however_many_cores_there_are_the_threads_are_few() {
        let workers = Workers::for_cores(500);
        assert_eq!(workers.0.len(), MOST);
    }

    #[tokio::test]
    async fn without_another_thread_those_that_there_are_serve() {
        let left = AtomicUsize::new(1);
        let start = || match left.swap(0, Ordering::Relaxed) {
            0 => Err(io::ErrorKind::WouldBlock.into()),
            _ => Worker::start(),
        };
        let workers = Workers::started_by(start, 4);
        assert_eq!(workers.0.len(), 2);
        let seats = [workers.seat(), workers.seat()];
        assert_ne!(seats[0].runtime.id(), seats[1].runtime.id());
    }

    #[tokio::test]
    async fn a_worker_ends_with_what_it_does() {
        let workers = Workers::for_cores(2);
        let _own = workers.seat();
        let seat = workers.seat();
        let endless = seat.runtime.spawn(std::future::pending::<()>());
        drop(workers);
        assert!(endless.await.expect_err("it broke off").is_cancelled());
    }
}
