//! A caller that is cancelled or gets an error neither blocks the queue nor leaves a lease behind.

use std::future::pending;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::Barrier;

use super::*;

/// Lets detached tasks finish.
async fn settle() {
    for _ in 0..20 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_cancelled_waiter_is_skipped() {
    let process = Process::new();
    let first = process.take().await;
    let second = process.enqueue(WAIT);
    let third = process.enqueue(WAIT);
    drop(second);
    process.local.release(first).await;
    assert_eq!((handed_on(third).lease.id(), process.requests()), ("lease-1", (1, 0)));
}

#[tokio::test(start_paused = true)]
async fn a_cancelled_waiter_is_skipped_when_a_lease_is_dropped_too() {
    let process = Process::new();
    let first = process.take().await;
    let second = process.enqueue(WAIT);
    let third = process.enqueue(WAIT);
    drop(second);
    process.storage.break_lease(&process.name);
    drop(first);
    assert_eq!(held(third.await).lease.id(), "lease-2");
    assert_eq!(process.local.keys(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_lease_is_released_when_all_waiters_are_cancelled() {
    let process = Process::new();
    let first = process.take().await;
    let waiting: Vec<_> = (0..3).map(|_| process.enqueue(WAIT)).collect();
    drop(waiting);
    process.local.release(first).await;
    assert_eq!((process.requests(), process.local.keys()), ((1, 1), 0));
}

#[tokio::test(start_paused = true)]
async fn a_lease_in_transit_to_a_cancelled_waiter_goes_to_the_next() {
    let process = Process::new();
    let first = process.take().await;
    let second = process.enqueue(WAIT);
    let third = process.enqueue(WAIT);
    process.local.release(first).await;
    drop(second);
    assert_eq!((held(third.await).lease.id(), process.requests(), process.local.keys()), ("lease-1", (1, 0), 1));
}

#[tokio::test(start_paused = true)]
async fn a_lease_in_transit_to_the_last_waiter_is_released_when_it_is_cancelled() {
    let process = Process::new();
    let first = process.take().await;
    let second = process.enqueue(WAIT);
    process.local.release(first).await;
    drop(second);
    settle().await;
    assert_eq!((process.requests(), process.storage.is_held(&process.name), process.local.keys()), ((1, 1), false, 0));
}

#[tokio::test(start_paused = true)]
async fn a_lease_granted_to_a_cancelled_caller_is_released() {
    // Cancelled before the request, during it, and with the answer in transit.
    for steps in 1..6 {
        let process = Process::new();
        let mut waiting: Waiting<'_> = Box::pin(process.local.acquire(&process.name, WaitLimits::new(WAIT), || ()));
        for _ in 0..steps {
            if waiting.as_mut().now_or_never().is_some() {
                assert!(steps > 1, "the first poll cannot have the lease");
                return;
            }
            tokio::task::yield_now().await;
        }
        drop(waiting);
        settle().await;
        assert_eq!((process.storage.is_held(&process.name), process.local.keys()), (false, 0), "after {steps} steps");
    }
}

#[tokio::test(start_paused = true)]
async fn a_waiter_cancelled_at_the_head_of_the_queue_makes_the_next_the_head() {
    let process = Process::new();
    let first = process.take().await;
    let second = process.enqueue(WAIT);
    let third = process.enqueue(WAIT);
    process.storage.break_lease(&process.name);
    drop(first);
    drop(second);
    assert_eq!((held(third.await).lease.id(), process.requests()), ("lease-2", (2, 0)));
}

#[tokio::test(start_paused = true)]
async fn a_head_cancelled_while_another_process_holds_the_lock_makes_the_next_the_head() {
    let process = Process::new();
    let rival = Process::beside(&process.storage);
    let rivals = rival.take().await;
    let mut first = process.enqueue(WAIT);
    let second = process.enqueue(WAIT);
    sleep(SECOND / 10).await;
    assert!(!is_ready(&mut first));
    drop(first);
    rival.local.release(rivals).await;
    assert_eq!(held(second.await).lease.id(), "lease-2");
}

#[tokio::test(start_paused = true)]
async fn a_cancelled_release_is_completed() {
    let process = Process::new();
    let first = process.take().await;
    let mut releasing = Box::pin(process.local.release(first));
    assert!(releasing.as_mut().now_or_never().is_none());
    drop(releasing);
    settle().await;
    assert_eq!((process.storage.is_held(&process.name), process.local.keys()), (false, 0));
}

#[tokio::test(start_paused = true)]
async fn an_error_of_the_storage_reaches_all_that_wait_and_the_next_one_requests_again() {
    for fault in [Fault::Refused, Fault::Unreachable] {
        let process = Process::new();
        let first = process.take().await;
        let second = process.enqueue(WAIT);
        let third = process.enqueue(WAIT);
        process.storage.fail(Request::Acquire, [fault]);
        process.storage.break_lease(&process.name);
        drop(first);
        assert!(second.await.is_err() && third.await.is_err(), "{fault:?}");
        assert_eq!((process.take().await.lease.id(), process.requests()), ("lease-2", (3, 0)), "{fault:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_dropped_lease_expires_and_the_next_waiter_polls() {
    let process = Process::new();
    let first = process.take().await;
    let second = process.enqueue(2 * LIFE);
    let begun = Instant::now();
    drop(first);
    assert_eq!(held(second.await).lease.id(), "lease-2");
    assert!(begun.elapsed() >= LIFE);
    assert_eq!(process.storage.count(Request::Release), 0);
}

#[tokio::test(start_paused = true)]
async fn a_key_leaves_nothing_behind_however_its_message_ended() {
    let process = Process::new();
    process.serve(SECOND).await;
    assert_eq!(process.local.keys(), 0, "released");
    process.storage.fail(Request::Acquire, [Fault::Unreachable]);
    assert!(process.local.acquire(&process.name, WaitLimits::new(WAIT), || ()).await.is_err());
    assert_eq!(process.local.keys(), 0, "not granted");
    drop(process.take().await);
    assert_eq!(process.local.keys(), 0, "dropped");
    assert!(matches!(process.local.acquire(&process.name, WaitLimits::new(SECOND), || ()).await, Ok(Acquired::Busy)));
    assert_eq!(process.local.keys(), 0, "busy");
    drop(process.enqueue(WAIT));
    settle().await;
    assert_eq!(process.local.keys(), 0, "cancelled");
}

#[tokio::test(start_paused = true)]
async fn a_key_leaves_nothing_behind_when_its_holder_panics() {
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
async fn a_key_leaves_nothing_behind_when_its_tasks_are_aborted() {
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

/// On real threads, so that wakeups arrive just as waits end.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wakeup_at_the_end_of_a_wait_is_not_lost() {
    let process = Arc::new(Process::new());
    let working = Arc::new(AtomicBool::new(false));
    let tasks = (0..2_000).map(|message| {
        let (process, working) = (process.clone(), working.clone());
        tokio::spawn(async move {
            let wait = Duration::from_micros(message % 7 * 300);
            let Ok(Acquired::Held(held)) = process.local.acquire(&process.name, WaitLimits::new(wait), || ()).await
            else {
                return;
            };
            assert!(!working.swap(true, Ordering::SeqCst), "two hold one lock");
            tokio::task::yield_now().await;
            working.store(false, Ordering::SeqCst);
            process.local.release(held).await;
        })
    });
    for task in tasks.collect::<Vec<_>>() {
        task.await.expect("no two hold one lock");
    }
    assert_eq!((process.local.keys(), process.storage.is_held(&process.name)), (0, false));
}
