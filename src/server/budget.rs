//! How much memory messages may take, for the whole process.
//!
//! The smallest instance of Flex Consumption has 512 MB, for the host and the handler together. What a message takes is mostly its
//! body, at times a second and a third time while it is read or answered, so the shares below stay within a third of that.
//!
//! - A call that finds its share used up is refused, an array after a second in which others may make room: the caller sends it
//!   again. Its first [`SMALL_BODY`] count against a share of their own, so that a few large bodies do not keep the others out.
//! - A queue message waits in line, unread, at no delivery. Its share is its own and is as large as what the host keeps in flight.
//!   It is reserved as a whole before a byte is read, so that bodies that are half read never wait for each other.
//!
//! A reservation lives as long as the bytes that it is for: it is part of them, see [`with_reservation`].

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

/// The bytes of a body that count as small: what a queue message can hold.
const SMALL_BODY: usize = 64 * 1024;

/// The bytes of all calls' bodies, up to [`SMALL_BODY`] of each.
const MAX_SMALL_BYTES: usize = 16 * 1024 * 1024;

/// The bytes of all calls' bodies beyond that: four of the largest at a time.
const MAX_LARGE_BYTES: usize = 32 * 1024 * 1024;

/// The records of all arrays: ten of the largest at a time. One that waits takes 150 bytes and 16 for each record of its array that its
/// lookups name, its result about 1 KB until it is sent.
const MAX_ARRAY_RECORDS: usize = 10_000;

/// How long an array waits until others make room for it.
const ROOM_WITHIN: Duration = Duration::from_secs(1);

/// The largest invocation. A message has 64 KiB; the host escapes it twice, by which a byte becomes seven at most, and repeats its
/// members in `Metadata`.
pub(super) const MAX_INVOCATION_BYTES: usize = 1024 * 1024;

/// The messages whose memory is reserved before the next waits in line, however many the host keeps in flight.
const MAX_MESSAGES: usize = 256;

/// The invocations that are read at the same time, while the host's other messages are processed.
const MAX_CONCURRENT_READS: usize = 8;

/// The shares. Clones share them.
#[derive(Debug, Clone)]
pub(super) struct Budget {
    small: Arc<Semaphore>,
    large: Arc<Semaphore>,
    array_records: Arc<Semaphore>,
    /// How many arrays wait for their share.
    waiting_arrays: watch::Sender<usize>,
    queue: Arc<Semaphore>,
    stop: CancellationToken,
}

/// What a call's body has of the budget; dropping it gives it back.
#[derive(Debug)]
pub(super) struct Reserved {
    budget: Budget,
    bytes: usize,
    parts: Vec<OwnedSemaphorePermit>,
}

impl Budget {
    /// For a host that keeps so many messages in flight.
    pub(super) fn new(messages_in_flight: usize) -> Self {
        let queue = messages_in_flight.min(MAX_MESSAGES) * SMALL_BODY + MAX_CONCURRENT_READS * MAX_INVOCATION_BYTES;
        let [small, large, array_records, queue] =
            [MAX_SMALL_BYTES, MAX_LARGE_BYTES, MAX_ARRAY_RECORDS, queue].map(|size| Arc::new(Semaphore::new(size)));
        Self {
            small,
            large,
            array_records,
            waiting_arrays: watch::Sender::default(),
            queue,
            stop: CancellationToken::new(),
        }
    }

    /// For a call's body, of which nothing is there yet.
    pub(super) fn call(&self) -> Reserved {
        Reserved { budget: self.clone(), bytes: 0, parts: Vec::new() }
    }

    /// For so many records of an array; `None` where the share is used up and no other array makes room.
    pub(super) async fn array_records(&self, count: usize) -> Option<OwnedSemaphorePermit> {
        let room = take(&self.array_records, count);
        if room.is_some() {
            return room;
        }
        let _waiting = WaitingArray::new(&self.waiting_arrays);
        timeout(ROOM_WITHIN, self.array_records.clone().acquire_many_owned(permits(count))).await.ok()?.ok()
    }

    /// Completes when an array waits for room: others that only wait for their parents are to make some.
    pub(super) async fn room_needed(&self) {
        // An error cannot occur: we have the sender.
        let _ = self.waiting_arrays.subscribe().wait_for(|waiting| *waiting > 0).await;
    }

    /// For the largest invocation, once its share is free; `None` when the time is over or the process stops before.
    pub(super) async fn invocation(&self, until: Instant) -> Option<OwnedSemaphorePermit> {
        tokio::select! {
            biased;
            reserved = self.queue.clone().acquire_many_owned(permits(MAX_INVOCATION_BYTES)) => reserved.ok(),
            () = sleep_until(until) => None,
            () = self.stop.cancelled() => None,
        }
    }

    /// Ends all waiting, now and later.
    pub(super) fn stop(&self) {
        self.stop.cancel();
    }
}

impl Reserved {
    /// Reserves so many bytes in all; false where a share is used up.
    pub(super) fn grow(&mut self, bytes: usize) -> bool {
        let added = |of: fn(usize) -> usize| of(bytes).saturating_sub(of(self.bytes));
        let (small, large) = (added(|bytes| bytes.min(SMALL_BODY)), added(|bytes| bytes.saturating_sub(SMALL_BODY)));
        let parts = [take(&self.budget.small, small), take(&self.budget.large, large)];
        self.bytes = self.bytes.max(bytes);
        let is_granted = parts.iter().all(Option::is_some);
        self.parts.extend(parts.into_iter().flatten());
        is_granted
    }
}

/// Gives back all but so many bytes.
pub(super) fn shrink(reserved: &mut OwnedSemaphorePermit, bytes: usize) {
    drop(reserved.split(reserved.num_permits().saturating_sub(bytes)));
}

/// The bytes of `data`, whose reservation ends once no part of them is used any more.
pub(super) fn with_reservation(data: impl AsRef<[u8]> + Send + 'static, reservation: impl Send + 'static) -> Bytes {
    Bytes::from_owner(ReservedBytes { data, _reservation: reservation })
}

/// Counts, until it is dropped, as a caller may leave.
struct WaitingArray<'a>(&'a watch::Sender<usize>);

impl<'a> WaitingArray<'a> {
    fn new(count: &'a watch::Sender<usize>) -> Self {
        count.send_modify(|waiting| *waiting += 1);
        Self(count)
    }
}

impl Drop for WaitingArray<'_> {
    fn drop(&mut self) {
        self.0.send_modify(|waiting| *waiting -= 1);
    }
}

struct ReservedBytes<D, R> {
    data: D,
    _reservation: R,
}

impl<D: AsRef<[u8]>, R> AsRef<[u8]> for ReservedBytes<D, R> {
    fn as_ref(&self) -> &[u8] {
        self.data.as_ref()
    }
}

fn take(share: &Arc<Semaphore>, count: usize) -> Option<OwnedSemaphorePermit> {
    share.clone().try_acquire_many_owned(permits(count)).ok()
}

fn permits(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use futures::FutureExt as _;
    use tokio::time::sleep;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn invocations_wait_in_line_until_there_is_room_or_their_time_is_over() {
        let budget = Budget::new(0);
        let later = Instant::now() + Duration::from_mins(10);
        let mut reading = Vec::new();
        for _ in 0..MAX_CONCURRENT_READS {
            reading.push(budget.invocation(later).await.expect("it is granted"));
        }
        let begun = Instant::now();
        assert!(budget.invocation(begun + Duration::from_mins(1)).await.is_none());
        assert_eq!(begun.elapsed(), Duration::from_mins(1));
        let order = tokio::sync::Mutex::new(Vec::new());
        let wait = async |name| {
            let reserved = budget.invocation(later).await;
            order.lock().await.push(name);
            drop(reserved);
        };
        let read = async {
            sleep(Duration::from_secs(1)).await;
            // What is kept of two lets one more be read.
            for reserved in &mut reading[..2] {
                shrink(reserved, MAX_INVOCATION_BYTES / 2);
            }
        };
        tokio::join!(wait("first"), wait("second"), read);
        assert_eq!(*order.lock().await, ["first", "second"]);
    }

    #[tokio::test(start_paused = true)]
    async fn what_the_host_keeps_in_flight_is_granted_beside_what_is_read() {
        let budget = Budget::new(48);
        let mut kept = Vec::new();
        for _ in 0..48 {
            let mut reserved = budget.invocation(Instant::now()).await.expect("it is granted");
            shrink(&mut reserved, SMALL_BODY);
            kept.push(reserved);
        }
        let reading: Vec<_> = (0..MAX_CONCURRENT_READS).map(|_| budget.invocation(Instant::now())).collect();
        assert!(futures::future::join_all(reading).await.iter().all(Option::is_some));
    }

    #[tokio::test(start_paused = true)]
    async fn a_process_that_stops_lets_none_wait() {
        let budget = Budget::new(0);
        let later = Instant::now() + Duration::from_mins(10);
        let reading = futures::future::join_all((0..MAX_CONCURRENT_READS).map(|_| budget.invocation(later))).await;
        let begun = Instant::now();
        let stop = async { budget.stop() };
        assert!(tokio::join!(budget.invocation(later), stop).0.is_none());
        drop(reading);
        assert!(budget.invocation(later).await.is_some(), "it need not wait");
        assert_eq!(begun.elapsed(), Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn a_reservation_ends_with_the_last_part_of_its_bytes() {
        let budget = Budget::new(0);
        let all = budget.array_records(MAX_ARRAY_RECORDS).await.expect("it is granted");
        let part = with_reservation(vec![b'x'; 10], all).slice(3..4);
        assert!(budget.array_records(1).await.is_none());
        drop(part);
        assert!(budget.array_records(MAX_ARRAY_RECORDS).await.is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn an_array_without_room_asks_others_to_make_some() {
        let budget = Budget::new(0);
        let all = budget.array_records(MAX_ARRAY_RECORDS).await.expect("it is granted");
        let make_room = async {
            budget.room_needed().await;
            drop(all);
        };
        assert!(tokio::join!(make_room, budget.array_records(1)).1.is_some());
        assert!(budget.room_needed().now_or_never().is_none());
        let all = budget.array_records(MAX_ARRAY_RECORDS).await;
        assert!(budget.array_records(1).now_or_never().is_none() && all.is_some());
        assert!(budget.room_needed().now_or_never().is_none(), "its caller has left");
    }

    #[test]
    fn large_bodies_leave_room_for_small_ones_and_what_was_reserved_is_given_back() {
        let budget = Budget::new(0);
        let [mut first, mut second, mut small] = [(); 3].map(|()| budget.call());
        for bytes in [SMALL_BODY / 2, 2 * SMALL_BODY, MAX_LARGE_BYTES] {
            assert!(first.grow(bytes), "{bytes}");
        }
        assert!(!second.grow(MAX_LARGE_BYTES) && small.grow(SMALL_BODY));
        drop((first, second));
        let mut third = budget.call();
        assert!(third.grow(SMALL_BODY + MAX_LARGE_BYTES));
        assert_eq!(budget.large.available_permits(), 0);
        drop((third, small));
        assert_eq!(
            (budget.large.available_permits(), budget.small.available_permits()),
            (MAX_LARGE_BYTES, MAX_SMALL_BYTES)
        );
    }
}
