mod broken;
mod limits;
mod slow;
mod verdicts;

use std::sync::atomic::{AtomicUsize, Ordering};

use futures::future::join_all;
use reqwest::{Method, Url};
use tokio::sync::Notify;
use tokio::task::{JoinHandle, yield_now};
use tokio::time::{sleep, timeout};

use super::*;

const MOMENT: Duration = Duration::from_millis(1);
const PART_TIME: Duration = Duration::from_millis(40);
/// The time of a row whose name begins with `slow`: two minutes are the most that a plug-in may take.
const SLOW_TIME: Duration = Duration::from_mins(2);

/// Admission with fixed figures.
#[derive(Debug, Default)]
struct FixedGate {
    limit: usize,
    admitted: AtomicUsize,
    stops: AtomicUsize,
    batch_size: AtomicUsize,
    changed: Notify,
}

#[async_trait]
impl Gate for FixedGate {
    fn request_limit(&self) -> Option<usize> {
        Some(self.limit).filter(|limit| *limit > 0)
    }

    fn admitted(&self) -> usize {
        self.admitted.load(Ordering::Relaxed)
    }

    fn is_paused(&self) -> bool {
        false
    }

    fn stops(&self) -> u64 {
        self.stops.load(Ordering::Relaxed) as u64
    }

    async fn stopped(&self, stops: u64) {
        while self.stops() <= stops {
            self.changed.notified().await;
        }
    }

    fn set_batch_size(&self, parts: usize) {
        self.batch_size.store(parts, Ordering::Relaxed);
    }
}

type Script = dyn Fn(&str) -> Result<(), Error> + Send + Sync;

/// Records what is sent, the rows of each request, and answers as scripted after [`PART_TIME`] or [`SLOW_TIME`] for each part.
struct Service {
    sent: Mutex<Vec<Vec<String>>>,
    whole: Box<Script>,
    part: Box<Script>,
    /// How long a batch waits for its token.
    token_time: Duration,
}

impl fmt::Debug for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Service")
    }
}

impl Service {
    async fn exchange(&self, rows: Vec<String>) {
        let time = rows.iter().map(|row| if row.starts_with("slow") { SLOW_TIME } else { PART_TIME }).sum();
        self.sent.lock().expect("no test panicked").push(rows);
        sleep(time).await;
    }

    fn sent(&self) -> Vec<Vec<String>> {
        self.sent.lock().expect("no test panicked").clone()
    }
}

fn empty() -> Answer {
    Answer::of(http::Response::builder().status(204).body(bytes::Bytes::new()).expect("a response"))
}

/// A gateway's page.
fn page() -> Answer {
    Answer::of(http::Response::builder().status(200).body(bytes::Bytes::from("<html>")).expect("a response"))
}

fn row(request: &Request) -> String {
    request.url().path().trim_start_matches('/').to_owned()
}

#[async_trait]
impl Exchange for Service {
    async fn ready(&self) -> Result<(), Error> {
        sleep(self.token_time).await;
        Ok(())
    }

    async fn alone(&self, request: &Request) -> Result<Answer, Error> {
        self.exchange(vec![row(request)]).await;
        (self.part)(&row(request)).map(|()| if row(request).starts_with("page") { page() } else { empty() })
    }

    async fn together(&self, parts: &[&Request]) -> Result<Vec<Result<Answer, Error>>, Error> {
        let rows: Vec<_> = parts.iter().copied().map(row).collect();
        self.exchange(rows.clone()).await;
        (self.whole)(&rows.join(" "))?;
        Ok(rows.iter().map(|row| (self.part)(row).map(|()| empty())).collect())
    }
}

struct World {
    service: Arc<Service>,
    gate: Arc<FixedGate>,
    batches: Arc<Batches>,
}

impl World {
    /// A service that takes so many requests at once and answers as scripted: whole batches, and parts or single requests.
    fn new(
        limit: usize,
        whole: impl Fn(&str) -> Result<(), Error> + Send + Sync + 'static,
        part: impl Fn(&str) -> Result<(), Error> + Send + Sync + 'static,
    ) -> Self {
        let (whole, part, token_time) = (Box::new(whole), Box::new(part), Duration::ZERO);
        Self::of(Service { sent: Mutex::default(), whole, part, token_time }, limit)
    }

    fn of(service: Service, limit: usize) -> Self {
        let service = Arc::new(service);
        let gate = Arc::new(FixedGate { limit, ..FixedGate::default() });
        let batches = Arc::new(Batches::new(service.clone(), gate.clone()));
        Self { service, gate, batches }
    }

    fn healthy(limit: usize) -> Self {
        Self::new(limit, |_| Ok(()), |_| Ok(()))
    }

    /// From now on a batch has up to so many parts.
    fn with_size(self, parts: usize) -> Self {
        for taken in 0..7 {
            self.batches.learn(|size| size.answered(1 << taken, MOMENT));
        }
        self.batches.learn(|size| size.halve(parts * 2));
        self
    }

    /// One request, which has joined when this returns.
    async fn send(&self, row: &str) -> JoinHandle<Result<Answer, Error>> {
        self.request(Method::PATCH, row).await
    }

    async fn request(&self, method: Method, row: &str) -> JoinHandle<Result<Answer, Error>> {
        let batches = self.batches.clone();
        let url = Url::parse(&format!("https://contoso.example/{row}")).expect("an address");
        let (request, row) = (Request::new(method, url), row.to_owned());
        let sending = tokio::spawn(async move { batches.send(request, row).await });
        // It runs on this thread, until it waits.
        yield_now().await;
        sending
    }

    async fn send_all(&self, rows: &str) -> Vec<JoinHandle<Result<Answer, Error>>> {
        let mut sending = Vec::new();
        for row in rows.split(' ') {
            sending.push(self.send(row).await);
        }
        sending
    }

    /// What was sent, a batch as its rows with spaces between.
    fn sent(&self) -> Vec<String> {
        self.service.sent().iter().map(|rows| rows.join(" ")).collect()
    }
}

/// `ok`, or what went wrong.
async fn ended(sending: Vec<JoinHandle<Result<Answer, Error>>>) -> Vec<String> {
    let ended = join_all(sending).await.into_iter().map(|answer| answer.expect("no panic"));
    ended.map(|answer| answer.map_or_else(|fault| fault.to_string(), |_| "ok".to_owned())).collect()
}

fn refused(status: u16) -> Error {
    let message = (status != 405).then(|| "no".to_owned());
    Error::Answered { status, code: None, message, request_id: None, retry_after: None, sent_at: None }
}

#[tokio::test(start_paused = true)]
async fn a_request_that_finds_a_free_slot_is_sent_at_once_by_itself() {
    let world = World::healthy(3).with_size(10);
    let sending = world.send_all("a b c").await;
    assert_eq!(world.sent(), ["a", "b", "c"]);
    assert_eq!(ended(sending).await, ["ok"; 3]);
}

#[tokio::test(start_paused = true)]
async fn a_free_slot_takes_what_waits_in_the_order_of_rows() {
    let world = World::healthy(1).with_size(3);
    let sending = world.send_all("x e d c b a").await;
    assert_eq!(ended(sending).await, ["ok"; 6]);
    assert_eq!(world.sent(), ["x", "c d e", "a b"]);
}

#[tokio::test(start_paused = true)]
async fn the_last_slot_waits_for_those_that_are_on_their_way_to_it() {
    let world = World::healthy(2).with_size(3);
    let first = world.send("x").await;
    world.gate.admitted.store(3, Ordering::Relaxed);
    let second = world.send("b").await;
    assert_eq!(world.sent(), ["x"], "a third is admitted");
    let third = world.send("a").await;
    assert_eq!(world.sent(), ["x", "a b"]);
    assert_eq!(ended(vec![first, second, third]).await, ["ok"; 3]);
}

#[tokio::test(start_paused = true)]
async fn what_waits_for_others_goes_when_nothing_else_is_in_flight() {
    let world = World::healthy(2).with_size(3);
    let first = world.send("x").await;
    world.gate.admitted.store(9, Ordering::Relaxed);
    let second = world.send("a").await;
    assert_eq!(ended(vec![first, second]).await, ["ok"; 2]);
    assert_eq!(world.sent(), ["x", "a"]);
}

#[tokio::test(start_paused = true)]
async fn without_a_limit_a_request_is_sent_at_once() {
    let world = World::healthy(0).with_size(1);
    let sending = world.send_all("a b c d e f").await;
    assert_eq!(world.sent().len(), 6);
    assert_eq!(ended(sending).await, ["ok"; 6]);
}

#[tokio::test(start_paused = true)]
async fn requests_about_one_row_do_not_share_a_batch() {
    let world = World::healthy(1).with_size(9);
    let sending = world.send_all("x a a b a").await;
    assert_eq!(ended(sending).await, ["ok"; 5]);
    assert_eq!(world.sent(), ["x", "a b", "a", "a"]);
}

#[tokio::test(start_paused = true)]
async fn reads_and_writes_do_not_share_a_batch() {
    let mut line = Line::default();
    let turns = ["GET", "PATCH", "GET", "DELETE"].map(|method| {
        let url = Url::parse("https://contoso.example/").expect("an address");
        let method = method.parse().expect("a method");
        line.join(Request::new(method, url), line.len().to_string(), 0, false)
    });
    let mut taken = || line.take(9, MAX_BYTES).into_iter().map(|waiting| waiting.row).collect::<Vec<_>>();
    assert_eq!([taken(), taken()], [["0", "2"], ["1", "3"]]);
    drop(turns);
}

#[tokio::test(start_paused = true)]
async fn each_part_has_its_own_answer() {
    let world = World::new(1, |_| Ok(()), |row| if row == "b" { Err(refused(400)) } else { Ok(()) }).with_size(9);
    let sending = world.send_all("x a b c").await;
    assert_eq!(ended(sending).await, ["ok", "ok", "Dataverse answered 400", "ok"]);
    assert_eq!(world.sent(), ["x", "a b c"]);
}

#[tokio::test(start_paused = true)]
async fn a_batch_that_was_too_large_is_halved() {
    let world = World::new(1, |rows| if rows.len() > 3 { Err(refused(413)) } else { Ok(()) }, |_| Ok(())).with_size(9);
    let sending = world.send_all("x a b c d").await;
    assert_eq!(ended(sending).await, ["ok"; 5]);
    assert_eq!(world.sent(), ["x", "a b c d", "a b", "c d"]);
}

#[tokio::test(start_paused = true)]
async fn a_batch_that_is_refused_is_sent_again_part_by_part() {
    for (status, after) in
        [(400, vec!["x", "a b", "a", "b", "c", "d e"]), (405, vec!["x", "a b", "a", "b", "c", "d", "e"])]
    {
        let refuses = move |rows: &str| if rows == "a b" { Err(refused(status)) } else { Ok(()) };
        let world = World::new(1, refuses, |_| Ok(())).with_size(9);
        let first = world.send_all("x a b").await;
        assert_eq!(ended(first).await, ["ok"; 3], "{status}");
        let second = world.send_all("c d e").await;
        assert_eq!(ended(second).await, ["ok"; 3], "{status}");
        assert_eq!(world.sent(), after, "{status}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_service_without_batches_is_asked_again_after_an_hour() {
    let world = World::new(1, |_| Err(refused(501)), |_| Ok(())).with_size(9);
    assert_eq!(ended(world.send_all("x a b").await).await, ["ok"; 3]);
    assert_eq!(world.gate.batch_size.load(Ordering::Relaxed), 1, "no more records are admitted than are sent");
    sleep(OFF_FOR).await;
    assert_eq!(ended(world.send_all("x a b").await).await, ["ok"; 3]);
    assert_eq!(world.sent(), ["x", "a b", "a", "b", "x", "a b", "a", "b"]);
}

#[tokio::test(start_paused = true)]
async fn without_an_answer_the_outcome_of_each_part_is_unknown() {
    let lost = Error::NoAnswer { sent: true, problem: "the connection broke" };
    for (whole, expected) in [
        (lost, "Dataverse did not answer: the connection broke"),
        (refused(500), "Dataverse did not answer: the answer to the batch has no answer to this part"),
        (refused(503), "Dataverse answered 503"),
    ] {
        let world = World::new(1, move |_| Err(whole.clone()), |_| Ok(())).with_size(9);
        let sending = world.send_all("x a b").await;
        assert_eq!(ended(sending).await, ["ok", expected, expected]);
    }
}

#[tokio::test(start_paused = true)]
async fn what_waits_when_a_request_is_throttled_is_not_sent() {
    let world = World::new(1, |_| Ok(()), |_| Err(refused(429))).with_size(2);
    let withheld = Error::Withheld.to_string();
    assert_eq!(ended(world.send_all("x a b").await).await, ["Dataverse answered 429", &withheld, &withheld]);
    for throttles_whole in [true, false] {
        let throttle = move |is_due| if is_due { Err(refused(429)) } else { Ok(()) };
        let whole = move |_: &str| throttle(throttles_whole);
        let world = World::new(1, whole, move |row| throttle(!throttles_whole && row == "b")).with_size(2);
        let sending = world.send_all("x a b c d").await;
        let ended = ended(sending).await;
        let throttled = "Dataverse answered 429";
        let first = if throttles_whole { throttled } else { "ok" };
        assert_eq!(ended, ["ok", first, throttled, &*withheld, &*withheld]);
        assert_eq!(world.sent(), ["x", "a b"]);
    }
}

#[tokio::test(start_paused = true)]
async fn what_waits_when_sending_stops_is_not_sent() {
    let world = World::healthy(1).with_size(9);
    let (first, waiting) = (world.send("x").await, world.send("a").await);
    world.gate.stops.store(1, Ordering::Relaxed);
    world.gate.changed.notify_waiters();
    assert_eq!(ended(vec![waiting]).await, [Error::Withheld.to_string()]);
    assert_eq!(ended(vec![first]).await, ["ok"], "it was sent before");
    assert_eq!(world.sent(), ["x"]);
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_leaves_does_not_take_others_with_it() {
    let world = World::healthy(1).with_size(9);
    let mut sending = world.send_all("x a b").await;
    sending.remove(1).abort();
    assert_eq!(ended(sending).await, ["ok"; 2]);
    assert_eq!(world.sent(), ["x", "b"]);

    let mut sending = world.send_all("x a b").await;
    timeout(PART_TIME + MOMENT, std::future::pending::<()>()).await.expect_err("both are under way then");
    sending.remove(1).abort();
    assert_eq!(ended(sending).await, ["ok"; 2]);
    assert_eq!(world.sent()[2..], ["x", "a b"]);
}

#[tokio::test(start_paused = true)]
async fn a_deadlock_halves_the_size() {
    let deadlock = || {
        let (code, message) = (Some(0x8004_4150), Some("Generic SQL error. Sql Number: 1205".to_owned()));
        Error::Answered { status: 500, code, message, request_id: None, retry_after: None, sent_at: None }
    };
    let world = World::new(1, |_| Ok(()), move |row| if row == "a" { Err(deadlock()) } else { Ok(()) }).with_size(9);
    ended(world.send_all("x a b c d").await).await;
    assert_eq!(world.gate.batch_size.load(Ordering::Relaxed), 2);
}
