//! Single calls that are small and harmful.

use std::time::Duration;

use serde_json::json;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::super::{Bound, Samples, number};
use super::Fixture;
use super::calls::{Caller, answer, record};

/// Versions that nothing supersedes, each with a column that holds it and an ordinary version.
fn poison() -> anyhow::Result<[(&'static str, &'static str, serde_json::Value, serde_json::Value); 4]> {
    let now = OffsetDateTime::now_utc();
    let (soon, now) = ((now + Duration::from_hours(25)).format(&Rfc3339)?, now.format(&Rfc3339)?);
    Ok([
        ("i64::MAX", "new_sourceversion", json!(i64::MAX), json!(5)),
        ("2^53 + 1", "new_sourceversion", json!(9_007_199_254_740_993_u64), json!(5)),
        ("the year 9999", "lastonholdtime", json!("9999-12-31T23:59:59Z"), json!(now)),
        ("25 h ahead", "lastonholdtime", json!(soon), json!(now)),
    ])
}

/// The message with such a version, and the next one for its record.
pub(super) async fn versions(fixture: &Fixture<'_>, samples: &mut Samples) -> anyhow::Result<()> {
    let running = fixture.launch().start().await?;
    let caller = Caller::of(&running);
    for (name, column, hostile, ordinary) in poison()? {
        let mut record = record(name);
        record["versionColumn"] = json!(column);
        record["version"] = hostile;
        let answer = caller.post(record.to_string()).await;
        let status = answer.status.map_or(f64::NAN, f64::from);
        samples.bounded(format!("{name}: status"), "", status, Bound::Exactly(400.0));
        record["version"] = ordinary;
        let applied = caller.post(record.to_string()).await.member("outcome") == "applied";
        let applied = f64::from(u8::from(applied));
        samples.bounded(format!("{name}: the next message is applied"), "", applied, Bound::Exactly(1.0));
    }
    running.stop().await
}

/// Entity sets of the schema, of code and of privileges.
const TABLES: [&str; 8] = [
    "EntityDefinitions",
    "entitydefinitions",
    "roles",
    "SystemUsers",
    "teams",
    "pluginassemblies",
    "sdkmessageprocessingsteps",
    "workflows",
];

/// Records for tables that no record belongs in.
pub(super) async fn tables(fixture: &Fixture<'_>, samples: &mut Samples) -> anyhow::Result<()> {
    let running = fixture.launch().start().await?;
    let (caller, mut refused) = (Caller::of(&running), 0_u32);
    for table in TABLES {
        let record =
            json!({ "table": table, "key": "0a5ad9d6-0a55-4f6c-8d5e-6f4f5b2c9f10", "columns": { "name": "x" } });
        let answer = caller.post(record.to_string()).await;
        refused += u32::from((answer.status, answer.member("reason").as_str()) == (Some(400), "invalid_message"));
    }
    samples.bounded("refused before a request", "tables", number(refused), Bound::Exactly(number(TABLES.len())));
    let written = fixture.world.dataverse.journal().len();
    samples.bounded("writes sent to Dataverse", "writes", number(written), Bound::Exactly(0.0));
    running.stop().await
}

/// A page on another site posts to a developer's port.
pub(super) async fn origin(fixture: &Fixture<'_>, samples: &mut Samples) -> anyhow::Result<()> {
    let running = fixture.launch().start().await?;
    let caller = Caller::of(&running);
    let host = ("x-azure-functions-invocationid", "0a5ad9d6-0a55-4f6c-8d5e-6f4f5b2c9f10");
    for (name, headers, expected) in [
        ("a foreign Origin", &[("origin", "https://example.org")][..], 403.0),
        ("Sec-Fetch-Site", &[("sec-fetch-site", "cross-site")], 403.0),
        ("a foreign Origin, through the host", &[("origin", "https://example.org"), host], 200.0),
        ("without either", &[], 200.0),
    ] {
        // What a page may send without asking first.
        let request = caller.request(record(name).to_string()).header("content-type", "text/plain");
        let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
        let status = answer(request).await.status.map_or(f64::NAN, f64::from);
        samples.bounded(format!("{name}: status"), "", status, Bound::Exactly(expected));
    }
    let written = fixture.world.dataverse.rows("contacts").len();
    samples.bounded("rows written", "rows", number(written), Bound::Exactly(2.0));
    running.stop().await
}
