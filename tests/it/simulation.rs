//! The lock under every fault that a lease can have, in simulated time: several processes that stop for longer than a
//! lease lives, and a lease service that is slow, fails, and loses requests and answers.
//!
//! In every run, no two holders of a key act within their own deadlines, no waiter starves, and every key is free once
//! all have stopped. Runs are deterministic, so a failing seed can be replayed with its full log:
//!
//! ```sh
//! LOCK_SIMULATION_FIRST=4711 LOCK_SIMULATION_SEEDS=1 cargo test --test it simulation -- --nocapture
//! ```

pub(crate) mod service;

use std::sync::Arc;
use std::time::Duration;

use dataverse_sync::lock::local_queue::{Acquired, LocalQueue, WaitLimits};
use dataverse_sync::lock::{LockName, Locks as _};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use service::{Process, Remote, Service};

const PROCESSES: usize = 3;
const WORKERS: usize = 3;
const KEYS: usize = 2;
const TURNS: usize = 2;

/// The shortest possible lease.
const LIFE: Duration = Duration::from_secs(15);

/// Even the worst run ends long before this; a caller that still waits has starved.
const TIMEOUT: Duration = Duration::from_hours(1);

#[test]
fn no_seed_breaks_the_lock() {
    let (first, seeds) = (number("LOCK_SIMULATION_FIRST", 1), number("LOCK_SIMULATION_SEEDS", 1_000));
    let begun = std::time::Instant::now();
    // Two threads, each with its own runtime and half of the seeds.
    std::thread::scope(|scope| {
        for half in 0..2 {
            scope.spawn(move || (first..first + seeds).filter(|seed| seed % 2 == half).for_each(run));
        }
    });
    println!("{seeds} seeds from {first} in {:.1} s", begun.elapsed().as_secs_f64());
}

fn number(variable: &str, default: u64) -> u64 {
    std::env::var(variable).ok().map_or(default, |text| text.parse().expect("a number"))
}

/// Runs one seed; prints its log if an invariant is violated.
fn run(seed: u64) {
    fastrand::seed(seed);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    let service = Service::new();
    let outcome = runtime.expect("a runtime without I/O").block_on(run_faults(&service));
    let broken = outcome.err().or_else(|| service.violation());
    if let Some(broken) = broken {
        panic!("seed {seed}: {broken}\n{}", service.events());
    }
}

/// The complete run of one seed.
async fn run_faults(service: &Arc<Service>) -> Result<(), String> {
    let mut workers = JoinSet::new();
    let mut processes = Vec::new();
    for number in 0..PROCESSES {
        let process = Process::new(number);
        let local = LocalQueue::new(Arc::new(Remote::new(service.clone(), process.clone(), LIFE)), WORKERS);
        for worker in 0..WORKERS {
            let turns = turns(service.clone(), process.clone(), local.clone(), number * WORKERS + worker);
            let process = process.clone();
            workers.spawn(async move { process.freezing(turns).await });
        }
        processes.push((process, local));
    }
    let pauses = pauses(service.clone(), processes.iter().map(|(process, _)| process.clone()).collect());
    let work = async { while workers.join_next().await.is_some() {} };
    tokio::select! {
        () = pauses => unreachable!("pauses never end"),
        finished = timeout(TIMEOUT, work) => finished.map_err(|_| "a waiter starves".to_owned())?,
    }
    all_is_free(service, &processes).await
}

/// Stops a random process now and then, for up to three lease lives.
async fn pauses(service: Arc<Service>, processes: Vec<Arc<Process>>) {
    loop {
        sleep(LIFE.mul_f64(fastrand::f64() * 4.0)).await;
        if service.is_calm() {
            continue;
        }
        let process = &processes[fastrand::usize(..processes.len())];
        let length = LIFE.mul_f64(fastrand::f64() * 3.0);
        service.log(&format!("process {} stops for {length:?}", process.number()));
        process.stop_for(length);
    }
}

/// One worker: `TURNS` turns under the lock, each repeated until it succeeds.
async fn turns(service: Arc<Service>, process: Arc<Process>, local: LocalQueue, worker: usize) {
    for turn in 0..TURNS {
        let name = LockName::new(format!("key-{}", fastrand::usize(..KEYS)));
        let holder = (worker, turn);
        let mut attempts = 0;
        while !turn_once(&service, &process, &local, &name, (holder, attempts)).await {
            attempts += 1;
            sleep(Duration::from_millis(fastrand::u64(10..1_000))).await;
        }
    }
}

pub(crate) type Holder = ((usize, usize), usize);

async fn turn_once(service: &Service, process: &Process, local: &LocalQueue, name: &LockName, holder: Holder) -> bool {
    let mut held = match local.acquire(name, WaitLimits::new(Duration::from_secs(10)), || ()).await {
        Ok(Acquired::Held(held)) => held,
        Ok(Acquired::Busy) => return false,
        Err(error) => {
            service.log(&format!("{holder:?} of process {} asks for {name}: {error}", process.number()));
            return false;
        }
    };
    let work = async {
        for _ in 0..fastrand::usize(1..6) {
            service.act(name, holder);
            sleep(slow()).await;
        }
        service.act(name, holder);
    };
    let done = held.run(work).await;
    service.log(&format!("{holder:?} of process {} works on {name}: {done:?}", process.number()));
    match done {
        // Sometimes a write's outcome is unknown, and the lease is left to expire.
        Ok(()) if fastrand::u8(..10) == 0 => drop(held),
        Ok(()) => local.release(held).await,
        Err(_) => drop(held),
    }
    done.is_ok()
}

/// Usually a fast write, sometimes a slow plug-in.
fn slow() -> Duration {
    let most = if fastrand::u8(..8) == 0 { 12_000 } else { 150 };
    Duration::from_millis(fastrand::u64(1..most))
}

async fn all_is_free(service: &Arc<Service>, processes: &[(Arc<Process>, LocalQueue)]) -> Result<(), String> {
    service.calm_down();
    // By then, requests in flight have ended and abandoned leases have expired.
    sleep(4 * LIFE).await;
    let visitor = Remote::new(service.clone(), Process::new(PROCESSES), LIFE);
    for key in 0..KEYS {
        let name = LockName::new(format!("key-{key}"));
        match visitor.try_acquire(&name).await {
            Ok(Some(_)) => {}
            other => return Err(format!("{name} is not free at the end: {other:?}")),
        }
    }
    let kept: usize = processes.iter().map(|(_, local)| local.keys()).sum();
    if kept > 0 { Err(format!("{kept} keys are remembered without work")) } else { Ok(()) }
}

/// Checks the simulation itself: it reports a lock that trusts its lease for longer than the service does.
#[test]
fn a_lock_that_counts_its_lease_from_the_answer_is_caught() {
    let broken = (1..200).any(|seed| {
        fastrand::seed(seed);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
        let service = Service::believing_longer(Duration::from_secs(8));
        let outcome = runtime.expect("a runtime without I/O").block_on(run_faults(&service));
        outcome.is_err() || service.violation().is_some()
    });
    assert!(broken, "none of 200 seeds noticed");
}
