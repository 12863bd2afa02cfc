//! Who leaves the line without a word, or with an error, neither blocks it nor leaves anything behind.

use std::future::pending;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::Barrier;

use super::*;
use crate::lock::memory::Fault;

#[tokio::test(start_paused = true)]
async fn a_waiter_that_left_the_line_is_passed_over() {
    let process = Process::new();
    let first = process.take().await;
    let second = process.stand_in_line(WAIT);
    let third = process.stand_in_line(WAIT);
    drop(second);
    process.local.release(first).await;
    assert_eq!((turn_of(third).id(), process.requests()), ("lease-1", (1, 0)));
}

#[tokio::test(start_paused = true)]
async fn whoever_left_the_line_is_passed_over_when_a_lease_is_dropped_too() {
    let process = Process::new();
    let first = process.take().await;
    let second = process.stand_in_line(WAIT);
    let third = process.stand_in_line(WAIT);
    drop(second);
    process.storage.break_lease(&process.name);
    drop(first);
    assert_eq!(turn_of(third).id(), "lease-2");
    assert_eq!(process.local.keys(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_lease_goes_back_when_all_who_waited_have_left() {
    let process = Process::new();
    let first = process.take().await;
    let waiting: Vec<_> = (0..3).map(|_| process.stand_in_line(WAIT)).collect();
    drop(waiting);
    process.local.release(first).await;
    assert_eq!((process.requests(), process.local.keys()), ((1, 1), 0));
}

#[tokio::test(start_paused = true)]
async fn a_waiter_that_leaves_with_the_lease_on_its_way_lets_the_next_ask() {
    let process = Process::new();
    let first = process.take().await;
    let second = process.stand_in_line(WAIT);
    let third = process.stand_in_line(2 * LIFE);
    let begun = Instant::now();
    process.local.release(first).await;
    drop(second);
    // Nobody releases the lease that was on its way, so the next one waits at the storage until it has lapsed.
    assert_eq!(lease(third.await).id(), "lease-2");
    assert_eq!((begun.elapsed(), process.requests(), process.local.keys()), (LIFE, (2, 0), 0));
}

#[tokio::test(start_paused = true)]
async fn a_waiter_that_leaves_when_told_to_ask_lets_the_next_ask() {
    let process = Process::new();
    let first = process.take().await;
    let second = process.stand_in_line(WAIT);
    let third = process.stand_in_line(WAIT);
    process.storage.break_lease(&process.name);
    drop(first);
    drop(second);
    assert_eq!((turn_of(third).id(), process.requests()), ("lease-2", (2, 0)));
}

#[tokio::test(start_paused = true)]
async fn a_waiter_that_leaves_while_it_asks_lets_the_next_ask() {
    let process = Process::new();
    let rival = process.storage.acquire(&process.name, WAIT).await;
    let first = process.stand_in_line(WAIT);
    let second = process.stand_in_line(WAIT);
    drop(first);
    process.storage.release(lease(rival)).await;
    assert_eq!(turn_of(second).id(), "lease-2");
    assert_eq!(process.storage.count(Request::Acquire), 3);
}

#[tokio::test(start_paused = true)]
async fn whoever_leaves_while_releasing_lets_the_next_ask() {
    let process = Process::new();
    let first = process.take().await;
    process.storage.fail(Request::Release, [Fault::Hanging]);
    let mut releasing = process.local.release(first);
    assert!(releasing.as_mut().now_or_never().is_none());
    let second = process.stand_in_line(LIFE);
    drop(releasing);
    assert_eq!(lease(second.await).id(), "lease-2");
}

#[tokio::test(start_paused = true)]
async fn an_error_of_the_storage_reaches_the_one_who_asked_and_the_next_asks_again() {
    for fault in [Fault::Refused, Fault::Unreachable] {
        let process = Process::new();
        let first = process.take().await;
        let second = process.stand_in_line(WAIT);
        let third = process.stand_in_line(WAIT);
        process.storage.fail(Request::Acquire, [fault]);
        process.storage.break_lease(&process.name);
        drop(first);
        assert!(second.now_or_never().expect("its turn has come").is_err(), "{fault:?}");
        assert_eq!((turn_of(third).id(), process.requests()), ("lease-2", (3, 0)), "{fault:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_lease_that_is_dropped_lets_the_next_ask() {
    let process = Process::new();
    let first = process.take().await;
    let second = process.stand_in_line(LIFE);
    let begun = Instant::now();
    drop(first);
    assert_eq!(lease(second.await).id(), "lease-2");
    assert_eq!((begun.elapsed(), process.requests()), (LIFE, (2, 0)));
}

#[tokio::test(start_paused = true)]
async fn nothing_is_left_of_a_key_however_its_message_ended() {
    let process = Process::new();
    process.serve(SECOND).await;
    assert_eq!(process.local.keys(), 0, "released");
    process.storage.fail(Request::Acquire, [Fault::Unreachable]);
    assert!(process.local.acquire(&process.name, WAIT).await.is_err());
    assert_eq!(process.local.keys(), 0, "not granted");
    drop(process.take().await);
    assert_eq!(process.local.keys(), 0, "lapsing");
    assert!(matches!(process.local.acquire(&process.name, SECOND).await, Ok(Acquired::Busy)));
    assert_eq!(process.local.keys(), 0, "busy");
    drop(process.stand_in_line(WAIT));
    assert_eq!(process.local.keys(), 0, "cancelled");
}

#[tokio::test(start_paused = true)]
async fn nothing_is_left_of_a_key_whose_holder_panicked() {
    let process = Arc::new(Process::new());
    let holder = process.clone();
    let task = tokio::spawn(async move {
        let _lease = holder.take().await;
        panic!("a defect in the work");
    });
    assert!(task.await.expect_err("it panics").is_panic());
    assert_eq!(process.local.keys(), 0);
}

#[tokio::test(start_paused = true)]
async fn nothing_is_left_of_a_key_whose_tasks_were_aborted() {
    let process = Arc::new(Process::new());
    let barrier = Arc::new(Barrier::new(2));
    let (holder, here) = (process.clone(), barrier.clone());
    let task = tokio::spawn(async move {
        let _lease = holder.take().await;
        here.wait().await;
        pending::<()>().await;
    });
    barrier.wait().await;
    assert_eq!(process.local.keys(), 1);
    task.abort();
    assert!(task.await.expect_err("it was aborted").is_cancelled());
    assert_eq!(process.local.keys(), 0);
}

/// On real threads: turns come in the very moment in which waits end.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_lease_gets_lost_between_a_turn_and_a_wait_that_ends() {
    let process = Arc::new(Process::new());
    let working = Arc::new(AtomicBool::new(false));
    let tasks = (0..2_000).map(|message| {
        let (process, working) = (process.clone(), working.clone());
        tokio::spawn(async move {
            let wait = Duration::from_micros(message % 7 * 300);
            let Ok(Acquired::Held(lease)) = process.local.acquire(&process.name, wait).await else { return };
            assert!(!working.swap(true, Ordering::SeqCst), "two hold one lock");
            tokio::task::yield_now().await;
            working.store(false, Ordering::SeqCst);
            process.local.release(lease).await;
        })
    });
    for task in tasks.collect::<Vec<_>>() {
        task.await.expect("no two hold one lock");
    }
    assert_eq!((process.local.keys(), process.storage.is_held(&process.name)), (0, false));
}
