//! The demonstration of the main job: `cargo sandbox`.
//!
//! Every claim is checked against the journal of the Dataverse stand-in, and the command fails if one does not hold. It
//! begins with the experiment that started the project (Hajek 2022): Dataverse's upsert is a lookup followed by a
//! create, so two first writes of one row race.

mod call;
mod report;
mod round;

use std::time::{Duration, Instant};

use anyhow::Context as _;
use serde_json::json;

use crate::screen::Screen;
use crate::world::{self, World};
use report::Report;
use round::Round;
use stand_ins::dataverse;
use stand_ins::net::http_client;

/// The degree of parallelism that the stand-in recommends: the service's maximum, so that many requests race. With a
/// lower value the handler's admission control would prevent most races.
const PARALLELISM: u32 = 52;

/// In the experiment: long enough for both requests to look up the row before either commits, even on a busy machine.
const RACE_WINDOW: Duration = Duration::from_millis(250);

/// The messages of a round of `cargo sandbox`: twenty for each key.
pub const MESSAGES: usize = 2_000;

/// A round has a multiple of this: two for each key.
pub const MIN_MESSAGES: usize = 2 * round::KEYS;

/// The long text of `--help`.
pub const ABOUT: &str = "\
dataverse-sync on this machine, with stand-ins for the Azure services.

Without a command it demonstrates the main job and checks it, in seven acts: the
race in Dataverse's upsert; 2,000 messages through three instances, twice
without locks and twice with them; HTTP calls; a dead letter. After the build it
takes half a minute to two minutes, and exits with 1 when a claim does not hold.";

/// The end of `--help`.
pub const EXAMPLES: &str = "\
Examples:
  cargo sandbox                            the demonstration
  cargo sandbox --messages 200             the same, in fifteen seconds
  cargo sandbox --storage azurite          with Microsoft's storage emulator
  cargo sandbox --app target/functionapp   with the app of `cargo stage`
  cargo sandbox up                         keeps running, for your own calls
  cargo sandbox up --help                  each command has its own help";

/// Runs the demonstration in this world with this many hosts and messages per round; returns whether every claim held.
pub async fn run(
    options: world::Options,
    instances: usize,
    messages: usize,
    screen: &mut Screen,
) -> anyhow::Result<bool> {
    let begun = Instant::now();
    let mut report = Report::new(screen);
    report.screen.strong("dataverse-sync on this machine");
    report.screen.text_at(
        0,
        "Real handler processes, real sockets, and stand-ins for Dataverse, Entra ID, storage and the Functions host, which behave as \
         the services are documented to.",
    );
    let dataverse = dataverse::Options { dop_hint: PARALLELISM, ..options.dataverse };
    let world = World::start(world::Options { dataverse, ..options }).await?;

    race(&world, &mut report).await?;

    let rounds = [
        Round { label: "b", sources: &["hr"], policy: "skip", leases: false, messages },
        Round { label: "c", sources: &["hr", "shop"], policy: "retry", leases: false, messages },
        Round { label: "d1", sources: &["hr"], policy: "skip", leases: true, messages },
        Round { label: "d2", sources: &["hr", "shop"], policy: "retry", leases: true, messages },
    ];
    for round in rounds {
        round.show(&world, instances, &mut report).await?;
    }

    call::show(&world, &mut report).await?;
    Ok(report.close(begun.elapsed()))
}

/// The experiment: two concurrent PATCHes of one new key, without a handler.
async fn race(world: &World, report: &mut Report<'_>) -> anyhow::Result<()> {
    report.act("two first writes of one row, sent to Dataverse at once");
    report.screen.text_at(
        2,
        "Dataverse's upsert looks the row up and then creates it. Two PATCHes of one new key race, here without a handler.",
    );
    world.dataverse.set_race_window(RACE_WINDOW);
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
    for (name, response) in [("Ada", first), ("Grace", second)] {
        let status = response.status();
        let body = response.text().await.context("reading an answer")?;
        report.screen.line(&format!("  PATCH contacts(employeeid='A-1')  {{\"firstname\":\"{name}\"}}"));
        report.screen.data("    → ", format!("{status} {body}").trim());
    }
    statuses.sort_unstable();
    report.claim(statuses == [204, 412], "one is answered 204, the other 412: the upsert is not atomic");
    report.claim(
        world.dataverse.rows("contacts").len() == 1,
        "there is one row, and one sender that does not know why it failed",
    );
    Ok(())
}
