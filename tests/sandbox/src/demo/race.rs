//! The article's experiment: two concurrent PATCHes of one new key, without a handler.

use std::time::Duration;

use anyhow::Context as _;
use serde_json::json;

use super::report::Report;
use crate::world::World;
use stand_ins::dataverse;
use stand_ins::net::http_client;

/// Long enough for both requests to look up the row before either commits, even on a busy machine.
const WINDOW: Duration = Duration::from_millis(250);

pub(super) async fn show(world: &World, report: &mut Report) -> anyhow::Result<()> {
    Report::chapter("a", "Two concurrent PATCHes of one new key, directly to Dataverse");
    world.dataverse.set_race_window(WINDOW);
    let (token, _) = world.identity.tokens().issue(&world.dataverse.url(), "the-experiment");
    let url = format!("{}/api/data/v9.2/contacts(employeeid='A-1')", world.dataverse.url());
    let http = http_client();
    let patch = |name: &'static str| {
        let request = http.patch(&url).bearer_auth(&token).header("content-type", "application/json");
        request
            .header("odata-version", "4.0")
            .header("odata-maxversion", "4.0")
            .header("accept", "application/json")
            .body(json!({ "firstname": name }).to_string())
            .send()
    };
    let (first, second) = tokio::try_join!(patch("Ada"), patch("Grace")).context("sending the two PATCHes")?;
    world.dataverse.set_race_window(dataverse::Options::default().race_window);
    let mut statuses = [first.status().as_u16(), second.status().as_u16()];
    for (name, response) in [("Ada  ", first), ("Grace", second)] {
        let status = response.status();
        let body = response.text().await.context("reading an answer")?;
        println!("    PATCH contacts(employeeid='A-1') {name} → {status} {body}");
    }
    statuses.sort_unstable();
    report.claim(statuses == [204, 412], "one is answered 204 and the other 412: the upsert is not atomic");
    report.claim(
        world.dataverse.rows("contacts").len() == 1,
        "there is one row, and one sender does not know why it failed",
    );
    Ok(())
}
