//! Who leaves the line without a word, or with an error, neither blocks it nor leaves anything behind.

use std::future::pending;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::Barrier;

use super::*;

/// Lets tasks that nobody waits for come to their end.
async fn settle() {
    for _ in 0..20 {
        tokio::task::yield_now().await;
    }
}

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
    assert_eq!(lease(third.await).id(), "lease-2");
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
async fn a_lease_on_its_way_to_a_waiter_that_leaves_goes_to_the_next() {
    let process = Process::new();
    let first = process.take().await;
    let second = process.stand_in_line(WAIT);
    let third = process.stand_in_line(WAIT);
    process.local.release(first).await;
    drop(second);
    assert_eq!((lease(third.await).id(), process.requests(), process.local.keys()), ("lease-1", (1, 0), 1));
}

#[tokio::test(start_paused = true)]
async fn a_lease_on_its_way_to_the_last_one_who_leaves_goes_back() {
    let process = Process::new();
    let first = process.take().await;
    let second = process.stand_in_line(WAIT);
    process.local.release(first).await;
    drop(second);
    settle().await;
    assert_eq!((process.requests(), process.storage.is_held(&process.name), process.local.keys()), ((1, 1), false, 0));
}

#[tokio::test(start_paused = true)]
async fn a_lease_that_is_granted_to_nobody_any_more_goes_back() {
    // Left before the storage was asked, while it answers, and with the answer on its way.
    for steps in 1..6 {
        let process = Process::new();
        let mut waiting: Waiting<'_> = Box::pin(process.local.acquire(&process.name, WAIT));
        for _ in 0..steps {
            if waiting.as_mut().now_or_never().is_some() {
                assert!(steps > 1, "nobody can leave before the lease is there");
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
async fn a_waiter_that_leaves_when_told_to_ask_lets_the_next_ask() {
    let process = Process::new();
    let first = process.take().await;
    let second = process.stand_in_line(WAIT);
    let third = process.stand_in_line(WAIT);
    process.storage.break_lease(&process.name);
    drop(first);
    drop(second);
    assert_eq!((lease(third.await).id(), process.requests()), ("lease-2", (2, 0)));
}

#[tokio::test(start_paused = true)]
async fn a_waiter_that_leaves_while_another_process_holds_the_lock_lets_the_next_ask() {
    let process = Process::new();
    let rival = Process::beside(&process.storage);
    let held = rival.take().await;
    let mut first = process.stand_in_line(WAIT);
    let second = process.stand_in_line(WAIT);
    sleep(SECOND / 10).await;
    assert!(!has_turn(&mut first));
    drop(first);
    rival.local.release(held).await;
    assert_eq!(lease(second.await).id(), "lease-2");
}

#[tokio::test(start_paused = true)]
async fn whoever_leaves_while_releasing_has_released_all_the_same() {
    let process = Process::new();
    let first = process.take().await;
    let mut releasing = Box::pin(process.local.release(first));
    assert!(releasing.as_mut().now_or_never().is_none());
    drop(releasing);
    settle().await;
    assert_eq!((process.storage.is_held(&process.name), process.local.keys()), (false, 0));
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
        assert!(second.await.is_err(), "{fault:?}");
        assert_eq!((lease(third.await).id(), process.requests()), ("lease-2", (3, 0)), "{fault:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_lease_that_is_dropped_is_left_to_lapse_and_the_next_asks() {
    let process = Process::new();
    let first = process.take().await;
    let second = process.stand_in_line(2 * LIFE);
    let begun = Instant::now();
    drop(first);
    assert_eq!(lease(second.await).id(), "lease-2");
    assert!(begun.elapsed() >= LIFE);
    assert_eq!(process.storage.count(Request::Release), 0);
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

#[tokio::test(start_paused = true)]
async fn a_storage_that_releases_slower_than_the_work_goes_on_holds_the_work_back() {
    let process = Process::new();
    process.storage.fail(Request::Release, std::iter::repeat_n(Fault::Late(SECOND), MOST_UNDER_WAY + 1));
    let begun = Instant::now();
    for number in 0..=MOST_UNDER_WAY {
        assert_eq!(begun.elapsed(), Duration::ZERO, "held back by {number} releases");
        let name = LockName::new(format!("contacts-{number}"));
        let held = lease(process.local.acquire(&name, WAIT).await);
        process.local.release_soon(held).await;
    }
    assert_eq!((begun.elapsed(), process.requests()), (SECOND, (MOST_UNDER_WAY + 1, MOST_UNDER_WAY + 1)));
    process.local.all_released().await;
    assert_eq!(process.local.keys(), 0);
}
