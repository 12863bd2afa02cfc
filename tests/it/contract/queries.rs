//! The queries of `functions/queries.kql` against the log of the real handler: the columns and texts that they use exist.

use std::collections::{BTreeMap, BTreeSet};

use regex_lite::Regex;
use sandbox::world::World;
use serde_json::{Value, json};
use stand_ins::dataverse::{Effect, Fault, Status};
use stand_ins::host::{Host, LogLine, Severity};

use super::text;
use crate::caller::{Caller, contact};
use crate::waiting::{eventually, wait_until};

/// The name of the query that the others call.
pub(super) const SYNC_RECORDS: &str = "SyncRecords";

/// What the queries take from the workspace: its table and that table's columns.
const OF_THE_WORKSPACE: [&str; 6] =
    ["AppTraces", "AppRoleInstance", "ItemCount", "Message", "OperationId", "TimeGenerated"];

/// The queries by their names, without their comments. They are separated by an empty line, and begin with a comment whose first
/// line is the name.
pub(super) fn queries() -> BTreeMap<String, String> {
    let file = text("functions/queries.kql");
    let query = |block: &str| {
        let name = block.lines().next().and_then(|line| line.strip_prefix("// ")).expect("a name");
        let code: Vec<_> = block.lines().filter(|line| !line.starts_with("//")).collect();
        (name.to_owned(), code.join("\n"))
    };
    let queries: BTreeMap<_, _> = file.trim_end().split("\n\n").map(query).collect();
    assert!(
        file.starts_with("// SyncRecords\n") && queries.len() == file.split("\n\n").count(),
        "{:?}",
        queries.keys()
    );
    queries
}

fn sync_records() -> String {
    queries().remove(SYNC_RECORDS).expect("it is there")
}

/// The columns that `SyncRecords` extracts from a line, with their patterns (RE2, as in Kusto).
fn columns() -> BTreeMap<String, Regex> {
    let extract = Regex::new(r"(\w+) = (?:\w+\()?(?:'.', )?extract\(@'(.+)', 1, Message\)").expect("a pattern");
    let function = sync_records();
    let found = extract.captures_iter(&function);
    found.map(|found| (found[1].to_owned(), Regex::new(&found[2]).expect("RE2 takes it"))).collect()
}

/// A log line as a row of `SyncRecords`; `None` if it is not a record's line.
fn row(line: &str) -> Option<BTreeMap<String, String>> {
    let row = columns().into_iter().filter_map(|(name, pattern)| {
        let value = pattern.captures(line)?.get(1)?.as_str().trim_matches('"').to_owned();
        Some((name, value))
    });
    let row: BTreeMap<_, _> = row.collect();
    (row.contains_key("Outcome") && row.contains_key("Function")).then_some(row)
}

fn rows(host: &Host) -> Vec<BTreeMap<String, String>> {
    host.logs().iter().filter_map(|line| row(&line.text)).collect()
}

fn has(row: &BTreeMap<String, String>, cells: &Value) -> bool {
    let cells = cells.as_object().expect("cells by name");
    cells.iter().all(|(name, value)| row.get(name).map(String::as_str) == value.as_str())
}

/// Waits for a record's line with these cells, and returns it; every column that all records have must be set.
async fn seen(host: &Host, cells: Value) -> BTreeMap<String, String> {
    wait_until(&format!("a row with {cells}"), async || rows(host).iter().any(|row| has(row, &cells))).await;
    let rows = rows(host);
    let row = rows.iter().find(|row| has(row, &cells)).expect("it was there just now");
    for name in ["At", "Table", "KeyHash", "DurationMs", "LockWaitMs", "WriteMs", "InvocationId"] {
        assert!(row.get(name).is_some_and(|value| !value.is_empty()), "{name} of {row:?}");
    }
    for name in ["DurationMs", "LockWaitMs", "WriteMs"] {
        assert!(row[name].parse::<u64>().is_ok(), "{row:?}");
    }
    row.clone()
}

/// A dead letter's line is an error on stderr and information in `Logs`; the query makes one row of the two.
async fn counted_once(host: &Host, message_id: &str) {
    let lines = eventually("both lines", async || {
        let lines = host.logs().into_iter().filter_map(|line| row(&line.text).map(|row| (line, row)));
        let lines: Vec<_> = lines.filter(|(_, row)| row["MessageId"] == message_id).collect();
        (lines.len() > 1).then_some(lines)
    });
    let lines = lines.await;
    let severities: Vec<_> = lines.iter().map(|(line, row)| (line.severity, row.contains_key("AlsoOn"))).collect();
    assert!(severities.len() == 2, "{severities:?}");
    assert!(severities.contains(&(Severity::Error, false)) && severities.contains(&(Severity::Information, true)));
    let by: BTreeSet<_> = lines.iter().map(|(_, row)| (&row["InvocationId"], &row["At"], row.get("KeyHash"))).collect();
    assert_eq!(by.len(), 1, "{by:?}");
    assert!(sync_records().ends_with("| summarize arg_max(AlsoOn, *) by InvocationId, At, KeyHash, MessageId"));
}

async fn put(world: &World, key: &str, fields: &Value) {
    let mut record = contact(key, &json!({ "firstname": "Ada" }));
    for (name, value) in fields.as_object().expect("fields") {
        record[name] = value.clone();
    }
    world.put(&record.to_string()).await.expect("the queue takes it");
}

#[tokio::test]
async fn the_columns_that_the_queries_extract_are_in_the_handlers_log() {
    assert_eq!(columns().len(), 19, "one pattern a column: {:?}", columns().keys());
    let world = crate::world().await;
    let host = world.host("instance-1", &[crate::AT_ONCE]).await.expect("it starts");
    put(&world, "Q-1", &json!({ "source": "hr", "messageId": "hr 1" })).await;
    let row = seen(
        &host,
        json!({ "Outcome": "applied", "Reason": "upserted", "Function": "SyncQueue", "Table": "contacts",
        "Source": "hr", "MessageId": "hr 1", "Attempt": "1" }),
    )
    .await;
    assert!(row["QueuedMs"].parse::<u64>().is_ok(), "{row:?}");

    let missing = json!({ "operation": "update", "source": "org chart", "messageId": "o-2" });
    put(&world, "Q-2", &missing).await;
    seen(
        &host,
        json!({ "Outcome": "rejected", "Reason": "not_found", "Source": "org chart", "MessageId": "o-2",
        "Status": "404", "Code": "0x80060891" }),
    )
    .await;
    counted_once(&host, "o-2").await;
    assert!(rows(&host).iter().any(|row| row.get("RequestId").is_some_and(|id| id.len() > 8)), "{:?}", rows(&host));

    let unavailable = Status::new(503, "", "Service unavailable.");
    world.dataverse.fault(Fault::new(Effect::Status(unavailable)).key("Q-3"));
    put(&world, "Q-3", &json!({})).await;
    seen(&host, json!({ "Outcome": "retry", "Reason": "unavailable", "MessageId": "m-Q-3", "Attempt": "1" })).await;
    seen(&host, json!({ "Outcome": "applied", "MessageId": "m-Q-3", "Attempt": "2" })).await;

    Caller::of(&host).post(&contact("Q-4", &json!({ "firstname": "Ada" }))).await;
    let row = seen(&host, json!({ "Outcome": "applied", "Function": "SyncHttp", "MessageId": "m-Q-4" })).await;
    assert!(!row.contains_key("QueuedMs"), "a call lies in no queue: {row:?}");

    // The caller's mistakes, the second before any record is read.
    let caller = Caller::of(&host);
    caller.post(&json!({ "table": "contacts", "messageId": "h-5" })).await;
    caller.post_text("").await;
    for reason in ["message_id=h-5", "outcome=rejected reason=invalid_message duration_ms="] {
        let is_it = |line: &&LogLine| line.text.contains("call rejected") && line.text.contains(reason);
        wait_until(reason, async || host.logs().iter().any(|line| is_it(&line))).await;
        let severities: Vec<_> = host.logs().iter().filter(is_it).map(|line| line.severity).collect();
        assert_eq!(severities, [Severity::Warning], "{reason}");
    }
}

#[tokio::test]
async fn a_message_that_is_given_up_is_a_dead_letter_for_the_queries() {
    let (world, host) = crate::queue::start(&[crate::AT_ONCE]).await;
    let refused = Status::new(403, "0x80040220", "Principal user is missing prvWriteContact privilege.");
    world.dataverse.fault(Fault::new(Effect::Status(refused)).until_cleared());
    put(&world, "Q-1", &json!({})).await;
    seen(&host, json!({ "Outcome": "retry", "Reason": "unauthorized", "LastAttempt": "true", "Attempt": "4" })).await;
    let last_ones = rows(&host).into_iter().filter(|row| row.contains_key("LastAttempt"));
    assert!(last_ones.map(|row| row["Attempt"].clone()).all(|attempt| attempt == "4"));
}

#[tokio::test]
async fn the_queries_read_both_formats_and_a_senders_text_passes_for_no_field() {
    let forged =
        r#"hr attempt=99 duration_ms=x function=Other status=7 code=0x1","attempt":98,"function":"Other","status":7"#;
    for format in ["text", "json"] {
        let world = crate::world().await;
        let host = world.host("instance-1", &[("SYNC_LOG_FORMAT", format)]).await.expect("it starts");
        put(&world, "Q-1", &json!({ "source": forged, "messageId": "q-1" })).await;
        let cells = json!({ "Outcome": "applied", "Reason": "upserted", "Function": "SyncQueue", "Table": "contacts",
            "MessageId": "q-1", "Attempt": "1" });
        let row = seen(&host, cells).await;
        assert!(["Status", "Code", "AlsoOn"].iter().all(|name| !row.contains_key(*name)), "{format}: {row:?}");
        assert!(row["Source"].starts_with("hr attempt"), "{format}: {row:?}");
    }
}

#[tokio::test]
async fn the_texts_that_the_queries_search_for_are_logged() {
    let phrase = Regex::new(r#"has "([^"]+)""#).expect("a pattern");
    let queries: Vec<_> = queries().into_values().collect();
    let phrases: BTreeSet<_> =
        queries.iter().flat_map(|query| phrase.captures_iter(query).map(|found| found[1].to_owned())).collect();
    assert_eq!(phrases.len(), 6, "{phrases:?}");

    let world = crate::world().await;
    let host = world.host("instance-1", &[]).await.expect("it starts");
    let throttled = Status { retry_after: Some(1), ..Status::new(429, "0x80072322", "Number of requests exceeded.") };
    world.dataverse.fault(Fault::new(Effect::Status(throttled)));
    put(&world, "P-0", &json!({})).await;
    wait_until("the first is applied", async || host.stats().succeeded >= 1).await;
    world.dataverse.fault(Fault::new(Effect::Status(Status::new(503, "", "Service unavailable."))).until_cleared());
    for number in 1..=10 {
        put(&world, &format!("P-{number}"), &json!({})).await;
    }
    let logged = |text: &str| host.logs().iter().any(|line| line.text.contains(text));
    wait_until("the circuit breaker opens", async || logged("messages wait in place")).await;
    world.dataverse.clear_faults();
    for phrase in phrases {
        wait_until(&phrase, async || logged(&phrase)).await;
    }
    let lines = host.logs();
    let held = lines.iter().filter(|line| line.text.contains("messages wait in place"));
    assert!(held.clone().count() > 0 && held.clone().all(|line| !line.text.contains("outcome")), "{lines:?}");
    let lasted = Regex::new(r#"(?: lasted_ms=|"lasted_ms":)(\d+)"#).expect("a pattern");
    assert!(queries.iter().any(|query| query.contains(lasted.as_str())), "a query extracts it in the same way");
    assert!(host.logs().iter().any(|line| lasted.is_match(&line.text)), "{:?}", host.logs());
}

#[test]
fn the_queries_use_only_columns_of_the_workspace_and_those_that_one_of_them_defines() {
    let code: Vec<_> = queries().into_values().collect();
    let strings = Regex::new(r#"@?'[^']*'|"[^"]*""#).expect("a pattern");
    let code = strings.replace_all(&code.join("\n"), "''").into_owned();
    let names = Regex::new(r"\b[A-Z]\w*").expect("a pattern");
    let made = Regex::new(r"\b([A-Z]\w*) = ").expect("a pattern");
    let mut made: BTreeSet<_> = made.captures_iter(&code).map(|found| found[1].to_owned()).collect();
    made.extend(OF_THE_WORKSPACE.map(str::to_owned));
    made.insert(SYNC_RECORDS.to_owned());
    let used: BTreeSet<_> = names.find_iter(&code).map(|found| found.as_str().to_owned()).collect();
    assert_eq!(used.difference(&made).collect::<Vec<_>>(), Vec::<&String>::new());
    assert!(used.len() > 20, "{used:?}");
}
