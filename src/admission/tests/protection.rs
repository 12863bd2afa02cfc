//! Several processes that share one service with service protection, in simulated time, compared with a naive client.
//!
//! The service models
//! <https://learn.microsoft.com/power-apps/developer/data-platform/api-limits#service-protection-api-limits>: per user,
//! sliding windows of requests and execution time, and a limit of concurrent requests; a refused request counts too.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::task::JoinSet;
use tokio::time::{sleep, sleep_until};

use super::*;

/// Messages in each process: more than it may send at once.
const MESSAGES: usize = 60;

/// A refusal takes the service little time.
const REFUSAL: Duration = Duration::from_millis(10);

const WARM_UP: Duration = Duration::from_mins(1);

/// Twelve windows, so that the initial unused allowance matters little.
const LASTS: Duration = Duration::from_hours(1);

/// The same hint as the sandbox's stand-in gives.
pub(crate) const HINT: u32 = 8;

/// The limits of one user at one server.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    window: Duration,
    requests: usize,
    execution: Duration,
    at_once: usize,
}

/// The documented limits.
pub(crate) const DOCUMENTED: Limits =
    Limits { window: Duration::from_mins(5), requests: 6_000, execution: Duration::from_mins(20), at_once: 52 };

/// As if many servers shared the load, so that only concurrent requests are limited.
const AT_ONCE: Limits = Limits { requests: usize::MAX, execution: Duration::MAX, ..DOCUMENTED };

/// How long to wait, and the exceeded limit.
pub(crate) type Refusal = (Duration, LimitKind);

#[derive(Debug)]
pub(crate) struct Service {
    limits: Limits,
    books: Mutex<Books>,
}

#[derive(Debug, Default)]
struct Books {
    arrivals: VecDeque<Instant>,
    spent: VecDeque<(Instant, Duration)>,
    total: Duration,
    inside: usize,
    served: u32,
    refused: u32,
}

impl Service {
    pub(crate) fn new(limits: Limits) -> Arc<Self> {
        Arc::new(Self { limits, books: Mutex::default() })
    }

    fn books(&self) -> MutexGuard<'_, Books> {
        self.books.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The numbers of served and refused requests.
    pub(crate) fn so_far(&self) -> (u32, u32) {
        let books = self.books();
        (books.served, books.refused)
    }

    /// One request that takes `work`, or a refusal with its delay.
    pub(crate) async fn request(&self, work: Duration) -> Result<(), Refusal> {
        let refusal = self.books().arrive(&self.limits, Instant::now());
        if let Some((delay, limit)) = refusal {
            sleep(REFUSAL).await;
            return Err((Duration::from_secs(delay.as_secs() + 1), limit));
        }
        sleep(work).await;
        self.books().leave(Instant::now(), work);
        Ok(())
    }

    /// The number of requests that the limits allow in this time if one takes `work` on average.
    fn allowed(&self, time: Duration, work: Duration) -> f64 {
        let Limits { window, requests, execution, at_once } = self.limits;
        let count = |number: usize| u32::try_from(number).map_or(f64::INFINITY, f64::from);
        let by_requests = count(requests) * time.div_duration_f64(window);
        let by_execution = execution.div_duration_f64(window) * time.div_duration_f64(work);
        let by_concurrency = count(at_once) * time.div_duration_f64(work);
        by_requests.min(by_execution).min(by_concurrency)
    }
}

impl Books {
    fn arrive(&mut self, limits: &Limits, now: Instant) -> Option<Refusal> {
        while self.arrivals.front().is_some_and(|at| now - *at >= limits.window) {
            self.arrivals.pop_front();
        }
        while let Some((_, work)) = self.spent.pop_front_if(|(at, _)| now - *at >= limits.window) {
            self.total -= work;
        }
        self.arrivals.push_back(now);
        let refusal = self.refusal(limits, now);
        match refusal {
            Some(_) => self.refused += 1,
            None => self.inside += 1,
        }
        refusal
    }

    fn refusal(&self, limits: &Limits, now: Instant) -> Option<Refusal> {
        if let Some(excess) = self.arrivals.len().checked_sub(limits.requests).filter(|excess| *excess > 0) {
            return Some((self.arrivals[excess] + limits.window - now, LimitKind::Rate));
        }
        if self.total >= limits.execution {
            let mut total = self.total;
            let freeing = self.spent.iter().find(|(_, work)| {
                total -= *work;
                total < limits.execution
            });
            return freeing.map(|(at, _)| (*at + limits.window - now, LimitKind::Rate));
        }
        (self.inside >= limits.at_once).then_some((limits.window / 60, LimitKind::Concurrency))
    }

    fn leave(&mut self, now: Instant, work: Duration) {
        self.inside -= 1;
        self.served += 1;
        self.spent.push_back((now, work));
        self.total += work;
    }
}

/// The result of a run.
#[derive(Debug, Clone, Copy)]
struct Share {
    /// Served requests, relative to what the limits allow.
    used: f64,
    /// Refused requests after the warm-up, relative to all that were sent.
    refused: f64,
}

/// A run of [`LASTS`]: the number of processes that share one user, and how long a request takes.
#[derive(Debug, Clone, Copy)]
struct Run {
    limits: Limits,
    work: Duration,
    processes: usize,
    seed: u64,
}

impl Run {
    /// Runs `MESSAGES` of these tasks in each process, all the time.
    fn simulate<M: Future<Output = ()> + Send + 'static>(
        self,
        message: impl Fn(Arc<Admission>, Arc<Service>, Self) -> M,
    ) -> Share {
        fastrand::seed(self.seed);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
        runtime.expect("a runtime without I/O").block_on(async {
            let (service, begun) = (Service::new(self.limits), Instant::now());
            let mut messages = JoinSet::new();
            for _ in 0..self.processes {
                let admission = Arc::new(Admission::new(52, 4));
                for _ in 0..MESSAGES {
                    messages.spawn(message(admission.clone(), service.clone(), self));
                }
            }
            sleep_until(begun + WARM_UP).await;
            let (served, refused) = service.so_far();
            sleep_until(begun + LASTS).await;
            let (all_served, all_refused) = service.so_far();
            messages.abort_all();
            while let Some(ended) = messages.join_next().await {
                assert!(ended.is_err_and(|error| error.is_cancelled()), "no message ends by itself");
            }
            let (late_served, late_refused) = (all_served - served, all_refused - refused);
            Share {
                used: f64::from(all_served) / service.allowed(LASTS, self.work),
                refused: f64::from(late_refused) / f64::from(late_served + late_refused),
            }
        })
    }

    /// Between half and one and a half times the mean.
    fn some_work(self) -> Duration {
        self.work.mul_f64(0.5 + fastrand::f64())
    }
}

async fn with_admission(admission: Arc<Admission>, service: Arc<Service>, run: Run) {
    loop {
        let mut entry = entry(&admission, Instant::now() + LASTS, false);
        loop {
            let permit = entry.enter().await.expect("its budget outlasts the run");
            match service.request(run.some_work()).await {
                Ok(()) => break permit.succeeded(Some(HINT)),
                Err((delay, limit)) => permit.throttled(Some(delay), limit),
            }
        }
    }
}

/// Each message waits for the delay on its own.
async fn naively(_: Arc<Admission>, service: Arc<Service>, run: Run) {
    loop {
        if let Err((delay, _)) = service.request(run.some_work()).await {
            sleep(delay).await;
        }
    }
}

fn assert_share(run: Run, least_used: f64) {
    let share = run.simulate(with_admission);
    assert!(share.used >= least_used && share.refused <= 0.01, "{run:?}: {share:?}");
}

#[test]
fn processes_that_share_a_user_get_nine_tenths_of_what_the_limits_allow_with_few_refusals() {
    // The last case is the hardest: eight processes, but the limits sustain only four concurrent requests.
    for (millis, processes, seed) in [(100, 1, 1), (200, 3, 2), (500, 3, 3), (1_000, 3, 4), (1_000, 8, 5)] {
        assert_share(Run { limits: DOCUMENTED, work: Duration::from_millis(millis), processes, seed }, 0.9);
    }
}

#[test]
fn processes_that_share_a_user_get_nine_tenths_of_a_concurrency_limit_as_well() {
    for (millis, processes, seed) in [(1_000, 1, 1), (1_000, 3, 2), (250, 4, 3), (1_000, 8, 4)] {
        assert_share(Run { limits: AT_ONCE, work: Duration::from_millis(millis), processes, seed }, 0.9);
    }
}

#[test]
fn a_client_without_a_shared_pause_is_refused_half_the_time_and_gets_half() {
    let run = Run { limits: DOCUMENTED, work: Duration::from_millis(200), processes: 3, seed: 1 };
    let share = run.simulate(naively);
    assert!(share.refused > 0.3 && share.used < 0.7, "{share:?}");
}
