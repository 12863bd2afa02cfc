//! A message is rejected, given up, or moved by the host; the operator corrects the cause and replays it; it is applied.

use std::time::Duration;

use sandbox::world::World;
use serde_json::json;
use stand_ins::dataverse::{Effect, Fault, Status};
use stand_ins::host::{self, Host};

use super::queues::dead_letters;
use crate::caller::contact;
use crate::command::CommandOutput;
use crate::waiting::wait_until;

/// `handler dead-letters` with these arguments, in the folder of the world's app.
pub(crate) async fn operator(world: &World, arguments: &[&str]) -> CommandOutput {
    let settings = [("AzureWebJobsStorage", world.settings["AzureWebJobsStorage"].as_str())];
    let mut command = dead_letters(arguments, &settings);
    command.current_dir(world.app());
    CommandOutput::of(command).await
}

async fn letters(world: &World) -> u64 {
    world.poison.approximate_count().await.expect("the queue answers")
}

#[tokio::test]
async fn messages_that_were_rejected_given_up_or_moved_by_the_host_are_replayed_and_applied() {
    let world = crate::world().await;
    // No message is held in place, so the last delivery soon comes.
    let settings = [("SYNC_HOLD_SECONDS", "0")];
    let options = host::Options { visibility_timeout: Some(Duration::ZERO), ..world.host_options("one", &settings) };
    let host = Host::start(options).await.expect("the handler starts");
    // Rejected: the row to update does not exist.
    let mut update = contact("C1", &json!({ "firstname": "Ada" }));
    update["operation"] = json!("update");
    world.put(&update.to_string()).await.expect("the queue takes it");
    wait_until("our dead letter", async || letters(&world).await == 1).await;
    // Given up: the identity may not write.
    let refused = Status::new(403, "0x80040220", "Principal user is missing prvWriteContact privilege.");
    world.dataverse.fault(Fault::new(Effect::Status(refused)).until_cleared());
    world.put(&contact("C2", &json!({ "firstname": "Bob" })).to_string()).await.expect("the queue takes it");
    wait_until("the message that was given up", async || letters(&world).await == 2).await;
    // Moved by the host, as when no handler starts.
    let moved = contact("C3", &json!({ "firstname": "Eve" })).to_string();
    world.poison.put(&moved).await.expect("the queue takes it");

    let list = operator(&world, &["list"]).await;
    let reasons = ["not_found", "unauthorized", "(by the host, no reason)"];
    assert!(reasons.iter().all(|reason| list.stdout.contains(reason)), "{list:?}");
    let shown = operator(&world, &["show", "--json", "--key", "C1"]).await;
    let line: serde_json::Value = serde_json::from_str(&shown.stdout).expect("one letter");
    assert_eq!((&line["reason"], &line["message"]), (&json!("not_found"), &json!(update.to_string())), "{shown:?}");

    world.dataverse.clear_faults();
    world.dataverse.insert("contacts", &json!({ "employeeid": "C1" }));
    let replayed = operator(&world, &["replay", "--json"]).await;
    assert_eq!((replayed.code, &replayed.json()["replayed"]), (Some(0), &json!(3)), "{replayed:?}");
    wait_until("all are applied", async || {
        let has = |key, name: &str| {
            let row = world.dataverse.row("contacts", &[("employeeid", key)]);
            row.is_some_and(|row| row.get("firstname") == Some(&json!(name)))
        };
        has("C1", "Ada") && has("C2", "Bob") && has("C3", "Eve")
    })
    .await;
    wait_until("an empty queue", async || world.waiting().await.expect("the queue answers") == 0).await;
    assert_eq!(letters(&world).await, 0);
    host.stop().await;
}
