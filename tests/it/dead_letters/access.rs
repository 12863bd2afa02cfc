//! The commands on Azurite, with a shared access signature, and with an Entra token.

use sandbox::world::{POISON_QUEUE, QUEUE};
use serde_json::json;
use stand_ins::azurite::{Azurite, AzuriteOptions};
use stand_ins::identity::Identity;
use stand_ins::queue::QueueService;
use stand_ins::storage::{Options, Storage};

use super::queues::{create, dead_letters, drained, encoded, ours, record};
use crate::command::CommandOutput;
use crate::sas;
use crate::trust::{self, Folder};

/// A connection string whose signature permits what the commands need: read, add, update, process.
fn signed(endpoint: &str) -> String {
    let signature = sas::signature("raup", sas::LATER);
    format!("QueueEndpoint={endpoint};SharedAccessSignature={signature}")
}

async fn run(arguments: &[&str], settings: &[(&str, &str)]) -> CommandOutput {
    CommandOutput::of(dead_letters(arguments, settings)).await
}

#[tokio::test]
async fn all_commands_work_on_azurite() {
    let azurite = Azurite::start(AzuriteOptions::default()).await.expect("Azurite starts");
    let connection = azurite.connection_string();
    let [poison, records] = create(&connection).await;
    for number in 0..40 {
        let text = record("contacts", &format!("E-{number} <&>\r\n"));
        let letter = if number < 30 { ours(&text, "key_collision", "0x80060892") } else { text };
        poison.put(&encoded(letter.as_bytes())).await.expect("the queue takes it");
    }
    let settings = [("AzureWebJobsStorage", connection.as_str())];
    for _ in 0..2 {
        let list = run(&["list", "--json"], &settings).await;
        let output = list.json();
        assert_eq!((list.code, &output["counted"], &output["seen"]), (Some(0), &json!(40), &json!(40)), "{list:?}");
        assert_eq!((&output["groups"][0]["letters"], &output["groups"][1]["letters"]), (&json!(30), &json!(10)));
    }
    let dropped = run(&["drop", "--yes", "--json", "--reason", "none"], &settings).await;
    assert_eq!((dropped.code, &dropped.json()["dropped"]), (Some(0), &json!(10)), "{dropped:?}");

    // With a signature, and with messages in plain text instead of base64.
    let with_signature = signed(&azurite.queue_endpoint());
    let settings = [("Letters", with_signature.as_str())];
    let replayed = run(&["replay", "--json", "--connection", "Letters", "--encoding", "none"], &settings).await;
    assert_eq!((replayed.code, &replayed.json()["replayed"]), (Some(0), &json!(30)), "{replayed:?}");
    let mut messages = drained(&records).await;
    messages.sort();
    let mut expected: Vec<_> = (0..30).map(|number| record("contacts", &format!("E-{number} <&>\r\n"))).collect();
    expected.sort();
    assert_eq!(messages, expected, "each once and unchanged");
    assert_eq!(poison.approximate_count().await.expect("the queue answers"), 0);
}

#[tokio::test]
async fn an_entra_token_gives_access_to_the_queues_over_tls() {
    let tls = trust::authority();
    let options = Options { tls: Some(tls.clone()), ..Options::default() };
    let storage = Storage::start(options).await.expect("loopback has free ports");
    let service = QueueService::trusting(&storage.connection_string(), tls.ca_pem()).expect("it is valid");
    let [poison, records] = [POISON_QUEUE, QUEUE].map(|name| service.queue(name));
    for queue in [&poison, &records] {
        queue.create_if_missing().await.expect("the storage answers");
    }
    poison.put(&encoded(ours(&record("contacts", "E-1"), "exists", "0x1").as_bytes())).await.expect("it is taken");
    let identity = Identity::start(stand_ins::identity::Options::default()).await.expect("loopback has free ports");
    let (folder, endpoint) = (Folder::new(), identity.endpoint());
    let authority = folder.write("authority.pem", tls.ca_pem());
    let address = storage.queue_endpoint();
    let settings = [
        ("AzureWebJobsStorage__queueServiceUri", address.as_str()),
        ("IDENTITY_ENDPOINT", &endpoint),
        ("IDENTITY_HEADER", identity.header()),
        ("SSL_CERT_FILE", &authority),
    ];
    let replayed = run(&["replay", "--json"], &settings).await;
    assert_eq!((replayed.code, &replayed.json()["replayed"]), (Some(0), &json!(1)), "{replayed:?}");
    assert_eq!(drained(&records).await, [record("contacts", "E-1")], "host.json says so");

    identity.fault(stand_ins::identity::Fault::Status(reqwest::StatusCode::FORBIDDEN));
    let refused = run(&["list"], &settings).await;
    assert_eq!(refused.code, Some(1), "{refused:?}");
    assert!(refused.stderr.contains("there is no token for the storage"), "{refused:?}");
}
