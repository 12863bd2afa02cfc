//! A process with and without batches under the documented limits, in simulated time.

use std::sync::atomic::{AtomicU32, Ordering};

use tokio::task::JoinSet;

use super::*;
use crate::admission::Admission;
use crate::admission::tests::patient;
use crate::admission::tests::protection::{DOCUMENTED, HINT, Service as Protection};
use crate::classify::LimitKind;

/// What the host keeps in flight.
const RECORDS: usize = 128;
/// The initial unused allowance is spent then.
const WARM_UP: Duration = Duration::from_mins(10);
const LASTS: Duration = Duration::from_mins(20);
/// The way to the service and back.
const WAY: Duration = Duration::from_millis(5);
/// A lock.
const LOCK: Duration = Duration::from_millis(4);

/// The service as one process sees it. The limits take one request for a batch, and the time of all its parts.
#[derive(Debug)]
struct Limited {
    protection: Arc<Protection>,
    part_time: Duration,
    /// The rows that this process has written.
    rows: AtomicU32,
}

impl Limited {
    async fn exchange(&self, parts: u32) -> Result<(), Error> {
        let spread = 0.5 + fastrand::f64();
        sleep(WAY).await;
        let throttled = |(delay, limit)| {
            let code = Some(if limit == LimitKind::Concurrency { 0x8007_2326 } else { 0x8007_2321 });
            Error::Answered {
                status: 429,
                code,
                message: None,
                request_id: None,
                retry_after: Some(delay),
                sent_at: None,
            }
        };
        self.protection.request((self.part_time * parts).mul_f64(spread)).await.map_err(throttled)?;
        self.rows.fetch_add(parts, Ordering::Relaxed);
        Ok(())
    }
}

#[async_trait]
impl Exchange for Limited {
    async fn ready(&self) -> Result<(), Error> {
        Ok(())
    }

    async fn alone(&self, _: &Request) -> Result<Answer, Error> {
        self.exchange(1).await.map(|()| empty())
    }

    async fn together(&self, parts: &[&Request]) -> Result<Vec<Result<Answer, Error>>, Error> {
        self.exchange(u32::try_from(parts.len()).expect("a few")).await?;
        Ok(parts.iter().map(|_| Ok(empty())).collect())
    }
}

/// One process, or several that share a user.
#[derive(Debug, Clone, Copy)]
struct Run {
    part_time: Duration,
    processes: u32,
    with_batches: bool,
    seed: u64,
}

#[derive(Debug)]
struct Rate {
    /// Rows in a second.
    rows: f64,
    /// Throttled requests, of all.
    throttled: f64,
    /// The process with the fewest rows: its part of an even share.
    least_share: f64,
}

impl Run {
    /// Records that are written all the time, each as soon as the one before it is done.
    fn simulate(self) -> Rate {
        fastrand::seed(self.seed);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
        runtime.expect("a runtime without I/O").block_on(async {
            let Self { part_time, processes, with_batches, .. } = self;
            let protection = Protection::new(DOCUMENTED);
            let (mut services, mut records) = (Vec::new(), JoinSet::new());
            for _ in 0..processes {
                let service = Limited { protection: protection.clone(), part_time, rows: AtomicU32::new(0) };
                let (service, admission) = (Arc::new(service), Admission::new(52, 32));
                let batches = Arc::new(Batches::new(service.clone(), Arc::new(admission.clone())));
                if !with_batches {
                    batches.inner().off_until = Some(Instant::now() + WARM_UP + LASTS);
                }
                for row in 0..RECORDS {
                    records.spawn(write(admission.clone(), batches.clone(), row.to_string()));
                }
                services.push(service);
            }
            let rows = || services.iter().map(|service| service.rows.load(Ordering::Relaxed)).collect::<Vec<_>>();
            sleep(WARM_UP).await;
            let (rows_before, (served, refused)) = (rows(), protection.so_far());
            sleep(LASTS).await;
            let (rows, (all_served, all_refused)) = (rows(), protection.so_far());
            records.abort_all();
            while records.join_next().await.is_some() {}
            let (served, refused) = (all_served - served, all_refused - refused);
            let written: Vec<_> =
                rows.iter().zip(rows_before).map(|(after, before)| f64::from(after - before)).collect();
            let all: f64 = written.iter().sum();
            Rate {
                rows: all / LASTS.as_secs_f64(),
                throttled: f64::from(refused) / f64::from(served + refused),
                least_share: written.into_iter().fold(all, f64::min) * f64::from(processes) / all,
            }
        })
    }
}

async fn write(admission: Admission, batches: Arc<Batches>, row: String) {
    let url = Url::parse("https://contoso.example/").expect("an address");
    loop {
        let mut entry = patient(&admission);
        loop {
            let Ok(permit) = entry.enter().await else { break };
            sleep(LOCK.mul_f64(0.5 + fastrand::f64())).await;
            match batches.send(Request::new(Method::PATCH, url.clone()), row.clone()).await {
                Ok(_) => break permit.succeeded(Some(HINT)),
                Err(Error::Answered { retry_after, code, .. }) => {
                    let is_concurrency = code == Some(0x8007_2326);
                    permit
                        .throttled(retry_after, if is_concurrency { LimitKind::Concurrency } else { LimitKind::Rate });
                }
                Err(_) => drop(permit),
            }
        }
    }
}

#[test]
fn batches_multiply_the_rows_of_light_tables_and_take_none_from_heavy_ones() {
    for (millis, processes, times) in [(20, 1, 8.0), (40, 4, 4.5), (200, 1, 0.97)] {
        let run = Run { part_time: Duration::from_millis(millis), processes, with_batches: false, seed: 1 };
        let (without, with) = (run.simulate(), Run { with_batches: true, ..run }.simulate());
        assert!(with.rows >= times * without.rows && with.throttled <= 0.01, "{run:?}: {without:?}, {with:?}");
    }
}

#[test]
fn no_process_is_starved_by_the_others() {
    for (millis, processes, with_batches, least) in [(40, 4, false, 0.7), (40, 12, false, 0.4), (20, 4, true, 0.7)] {
        for seed in 1..=2 {
            let run = Run { part_time: Duration::from_millis(millis), processes, with_batches, seed };
            let rate = run.simulate();
            assert!(rate.least_share >= least && rate.throttled <= 0.01, "{run:?}: {rate:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn batches_form_also_where_one_request_is_allowed_at_a_time() {
    let protection = Protection::new(DOCUMENTED);
    let (part_time, rows) = (Duration::from_millis(20), AtomicU32::new(0));
    let service = Arc::new(Limited { protection: protection.clone(), part_time, rows });
    let admission = Admission::new(1, 32);
    let batches = Arc::new(Batches::new(service.clone(), Arc::new(admission.clone())));
    let mut records = JoinSet::new();
    for row in 0..RECORDS {
        records.spawn(write(admission.clone(), batches.clone(), row.to_string()));
    }
    sleep(Duration::from_mins(1)).await;
    let (requests, _) = protection.so_far();
    let rows = service.rows.load(Ordering::Relaxed);
    assert!(rows > 20 * requests, "{rows} rows in {requests} requests");
}
