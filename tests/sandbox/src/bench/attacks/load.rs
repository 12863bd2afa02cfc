//! Expensive calls: many records at once, and large bodies.

use std::net::Ipv4Addr;
use std::time::Duration;

use futures::future::join_all;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::super::target::{Launch, Running};
use super::super::{Bound, Samples, number};
use super::calls::{Answer, Caller, add_calls, add_messages, record};
use super::{Fixture, with_memory};
use stand_ins::dataverse::{Effect, Fault, Status};

/// Twice the concurrency limit, and some that were closed while they were opened.
const MAX_SOCKETS: f64 = 128.0;

/// In megabytes, of the whole process.
const MAX_ZEROS: f64 = 48.0;
const MAX_ARRAYS: f64 = 160.0;
const MAX_BODIES: f64 = 200.0;

/// In KiB, as `ulimit` takes it: 320 MB.
const LITTLE_DATA: &str = "-d 312500";

/// The longest body that is taken.
const MAX_BODY: usize = 8 * 1024 * 1024;

/// The records of one array.
const RECORDS: usize = 1_000;

/// More than there are connections.
const CROWD: usize = 700;

/// The system repeats a handshake after 1 s and 3 s when many come at once; later, a connection waits for one that is closed.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Longer than it takes to send all bodies: all of them are there at once.
const SLOW: Duration = Duration::from_secs(3);

/// Arrays of distinct keys, one alone and then ten beside queue messages.
pub(super) async fn sockets(
    fixture: &Fixture<'_>,
    limit: Option<&'static str>,
    samples: &mut Samples,
) -> anyhow::Result<()> {
    let running = Launch { limit, ..fixture.launch() }.start().await?;
    let caller = warm(&running).await;
    let connections = fixture.storage()?.blob_connections();
    let first = caller.post(keys("one")).await;
    let most = Bound::AtMost(MAX_SOCKETS);
    samples.bounded("one array: sockets opened to the storage", "sockets", number(connections.opened()), most);
    samples.add("one array: until its answer", "s", first.took.as_secs_f64());
    let before = connections.opened();
    let calls = join_all((0..10).map(|number| caller.post(keys(&number.to_string()))));
    let (calls, messages): (Vec<_>, _) = tokio::join!(calls, caller.deliver_beside());
    samples.bounded(
        "ten arrays: sockets opened to the storage",
        "sockets",
        number(connections.opened() - before),
        most,
    );
    samples.bounded("the most open at once", "sockets", number(connections.most()), most);
    add_calls(samples, &calls);
    add_messages(samples, "beside them", &messages);
    running.stop().await
}

/// A body that is refused, but not before it is read.
pub(super) async fn zeros(fixture: &Fixture<'_>, samples: &mut Samples) -> anyhow::Result<()> {
    let running = fixture.launch().start().await?;
    let caller = warm(&running).await;
    let body = format!("[0{}]", ",0".repeat(MAX_BODY / 2 - 2));
    let (answer, memory) = with_memory(running.pid, caller.post(body)).await;
    samples.bounded("memory at most", "MB", memory, Bound::AtMost(MAX_ZEROS));
    samples.bounded("status", "", answer.status.map_or(f64::NAN, f64::from), Bound::Exactly(413.0));
    samples.add("until the answer", "s", answer.took.as_secs_f64());
    running.stop().await
}

/// Arrays that are small beside the records in them.
pub(super) async fn arrays(fixture: &Fixture<'_>, samples: &mut Samples) -> anyhow::Result<()> {
    let calls = fixture.context.or_quick(70, 10);
    attack(fixture, None, MAX_ARRAYS, samples, async |caller| {
        join_all((0..calls).map(|number| caller.post(small_records(number)))).await
    })
    .await
}

/// Large bodies that are written slowly.
pub(super) async fn bodies(fixture: &Fixture<'_>, samples: &mut Samples) -> anyhow::Result<()> {
    let calls = fixture.context.or_quick(52, 4);
    fixture.world.dataverse.fault(Fault::new(Effect::Slow(SLOW)).until_cleared());
    attack(fixture, None, MAX_BODIES, samples, async |caller| {
        join_all((0..calls).map(|number| caller.post(large_record(number)))).await
    })
    .await
}

/// Large bodies of many small values.
pub(super) async fn lists(fixture: &Fixture<'_>, samples: &mut Samples) -> anyhow::Result<()> {
    let calls = fixture.context.or_quick(24, 4);
    let refused = Effect::Status(Status::new(400, "0x80048d19", "refused"));
    fixture.world.dataverse.fault(Fault::new(refused).key("large-").until_cleared());
    let columns = ["c@odata.bind\":[\"\"", "c_activity_parties\":[{\"a\":1}"];
    attack(fixture, Some(LITTLE_DATA), MAX_BODIES, samples, async |caller| {
        join_all((0..calls).zip(columns.iter().cycle()).map(|(number, column)| {
            let (_, value) = column.split_at(column.find('[').map_or(0, |at| at + 1));
            let more = format!(",{value}").repeat((MAX_BODY - 256) / (value.len() + 1));
            caller.post(format!(
                r#"{{"table":"contacts","key":{{"employeeid":"large-{number}"}},"columns":{{"{column}{more}]}}}}"#
            ))
        }))
        .await
    })
    .await
}

/// All of these at once, with little memory.
pub(super) async fn everything(fixture: &Fixture<'_>, samples: &mut Samples) -> anyhow::Result<()> {
    attack(fixture, Some(LITTLE_DATA), f64::INFINITY, samples, async |caller| {
        let arrays = join_all((0..70).map(|number| caller.post(small_records(number))));
        let bodies = join_all((0..24).map(|number| caller.post(large_record(number))));
        let keys = join_all((0..10).map(|number| caller.post(keys(&number.to_string()))));
        let (arrays, bodies, keys) = tokio::join!(arrays, bodies, keys);
        arrays.into_iter().chain(bodies).chain(keys).collect()
    })
    .await
}

/// More calls than connections: first with bodies that never come, then for one key.
pub(super) async fn crowd(fixture: &Fixture<'_>, samples: &mut Samples) -> anyhow::Result<()> {
    let running = fixture.launch().start().await?;
    let caller = warm(&running).await;
    let head = "POST /api/records HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n[";
    let stalled = join_all((0..CROWD).map(|_| async {
        let connected = timeout(CONNECT_TIMEOUT, TcpStream::connect((Ipv4Addr::LOCALHOST, running.port))).await;
        let mut stream = connected.ok()?.ok()?;
        stream.write_all(head.as_bytes()).await.ok()?;
        Some(stream)
    }));
    let stalled: Vec<_> = stalled.await.into_iter().flatten().collect();
    samples.add("stalled bodies", "connections", number(stalled.len()));
    let messages = caller.deliver_beside().await;
    add_messages(samples, "beside stalled bodies", &messages);
    drop(stalled);
    let calls = join_all((0..CROWD).map(|_| caller.post(record("one").to_string())));
    let (calls, messages): (Vec<_>, _) = tokio::join!(calls, caller.deliver_beside());
    add_calls(samples, &calls);
    add_messages(samples, "beside calls for one key", &messages);
    running.stop().await
}

/// Makes these calls beside queue messages.
async fn attack(
    fixture: &Fixture<'_>,
    limit: Option<&'static str>,
    most: f64,
    samples: &mut Samples,
    calls: impl AsyncFnOnce(&Caller) -> Vec<Answer>,
) -> anyhow::Result<()> {
    let mut running = Launch { limit, ..fixture.launch() }.start().await?;
    let caller = warm(&running).await;
    let both = async { tokio::join!(calls(&caller), caller.deliver_beside()) };
    let ((calls, messages), memory) = with_memory(running.pid, both).await;
    samples.bounded("the process lives", "", f64::from(u8::from(running.is_alive())), Bound::Exactly(1.0));
    if most.is_finite() {
        samples.bounded("memory at most", "MB", memory, Bound::AtMost(most));
    } else {
        samples.add("memory at most", "MB", memory);
    }
    add_calls(samples, &calls);
    add_messages(samples, "beside them", &messages);
    running.stop().await
}

/// The first message requests the token.
async fn warm(running: &Running) -> Caller {
    let caller = Caller::of(running);
    caller.deliver(&record("warm")).await;
    caller
}

/// An array of distinct keys.
fn keys(prefix: &str) -> String {
    let records: Vec<_> = (0..RECORDS).map(|number| record(&format!("{prefix}-{number}"))).collect();
    serde_json::Value::from(records).to_string()
}

/// An array of 64 KB with 1,000 records.
fn small_records(call: u32) -> String {
    let record = |number| format!(r#"{{"table":"contacts","key":{{"employeeid":"{call}-{number}"}},"columns":{{}}}}"#);
    format!("[{}]", (0..RECORDS).map(record).collect::<Vec<_>>().join(","))
}

/// A record of 8 MiB.
fn large_record(call: u32) -> String {
    let text = "a".repeat(MAX_BODY - 128);
    format!(r#"{{"table":"contacts","key":{{"employeeid":"large-{call}"}},"columns":{{"description":"{text}"}}}}"#)
}
