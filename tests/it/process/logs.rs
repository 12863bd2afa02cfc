//! The process never prints secrets or record data, whatever fails.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use sandbox::world::{Backing, Options, World};
use serde_json::json;
use stand_ins::dataverse::{Effect, Fault, Status};
use stand_ins::identity::{App, Credential, Options as IdentityOptions};
use stand_ins::net::{Tls, http_client};
use stand_ins::storage;
use uuid::Uuid;

use super::running::Running;
use crate::caller::{answer, contact};
use crate::waiting::eventually;

const SECRET: &str = "canary-client-secret";
const COLUMN: &str = "canary-column-value";
const KEY: &str = "canary-key-value";
const HEADER: &str = "canary-header-value";

/// The application that the client secret belongs to.
const CLIENT: &str = "33333333-3333-4333-8333-333333333333";

/// A certificate file with the world's authority; removed on drop.
struct TrustFile(PathBuf);

impl TrustFile {
    fn new(pem: &str) -> Self {
        let path = std::env::temp_dir().join(format!("dataverse-sync-trust-{}.pem", Uuid::new_v4()));
        fs::write(&path, pem).expect("the temporary folder is writable");
        Self(path)
    }
}

impl Drop for TrustFile {
    fn drop(&mut self) {
        // On failure the file is left to the system's cleanup.
        let _ = fs::remove_file(&self.0);
    }
}

struct Scene {
    world: World,
    handler: Running,
    _trust: TrustFile,
}

impl Scene {
    /// An application with a client secret and every other secret setting.
    async fn start(filter: &str) -> Self {
        let tls = Tls::generate().expect("a certificate can be made");
        let trust = TrustFile::new(tls.ca_pem());
        let credentials = vec![Credential::Secret(SECRET.to_owned())];
        let apps = vec![App { client_id: CLIENT.to_owned(), credentials }];
        let identity = IdentityOptions { tls: Some(tls), apps, ..IdentityOptions::default() };
        let world = crate::world_with(Options { identity, ..Options::default() }).await;
        let authority = world.identity.authority().expect("there is a certificate");
        let headers = json!({ "CallerObjectId": HEADER }).to_string();
        let settings = [
            ("AZURE_AUTHORITY_HOST", authority.as_str()),
            ("AZURE_TENANT_ID", &IdentityOptions::default().tenant),
            ("AZURE_CLIENT_ID", CLIENT),
            ("AZURE_CLIENT_SECRET", SECRET),
            ("SSL_CERT_FILE", trust.0.to_str().expect("the temporary folder's name is text")),
            ("SYNC_HEADERS", &headers),
            ("LOCK_WAIT_SECONDS", "1"),
            crate::AT_ONCE,
            ("RUST_LOG", filter),
        ];
        let handler = Running::in_world(&world, &settings).await;
        Self { world, handler, _trust: trust }
    }

    /// Posts a record with canaries and asserts its reason.
    async fn post(&self, operation: &str, key: &str, reason: &str) {
        let mut record = contact(key, &json!({ "firstname": COLUMN, "emailaddress1": COLUMN }));
        record["operation"] = json!(operation);
        // The sender's id may be logged.
        record["messageId"] = json!("m-1");
        let request = http_client().post(self.handler.url("/api/records"));
        let answer = answer(request.body(record.to_string())).await;
        assert_eq!(answer.body["reason"], reason, "{}", answer.text);
    }

    async fn invoke(&self, body: String) {
        answer(http_client().post(self.handler.url("/SyncQueue")).body(body)).await;
    }

    /// The next write has this effect.
    fn strike(&self, effect: Effect) {
        self.world.dataverse.fault(Fault::new(effect).method("PATCH"));
    }

    /// Posts one record for each kind of outcome.
    async fn provoke_every_outcome(&self) {
        self.post("upsert", KEY, "upserted").await;
        self.post("create", KEY, "exists").await;
        self.post("upsert", &format!("{KEY}-2"), "key_collision").await;
        self.post("update", &format!("{KEY}-3"), "not_found").await;
        self.post("upsert", &format!("{KEY}/4"), "key_collision").await;
        self.post("update", &format!("{KEY}/5"), "not_found").await;
        for (status, reason) in [(400, "invalid_data"), (403, "unauthorized"), (503, "unavailable")] {
            self.strike(Effect::Status(Status::new(status, "", &format!("Not with {COLUMN} for {KEY}."))));
            self.post("upsert", KEY, reason).await;
        }
        // A success in between: several failures in a row would open the circuit breaker.
        self.post("upsert", KEY, "upserted").await;
        // Twice, because a write on a dropped connection is retried once.
        self.strike(Effect::DropBefore);
        self.strike(Effect::DropBefore);
        self.post("upsert", &format!("{KEY}-5"), "unavailable").await;
        self.post("upsert", &format!("{KEY}-5"), "lock_busy").await;
        let Backing::Embedded(storage) = &self.world.storage else { panic!("this world is on the embedded storage") };
        storage.fault(storage::Fault::until_cleared(storage::Op::AnyBlob, storage::Effect::DropBefore));
        self.post("upsert", &format!("{KEY}-6"), "storage_unavailable").await;
        storage.clear_faults();
        self.world.identity.revoke_all();
        // Without Entra's error body, a 403 may come from a proxy.
        self.world.identity.fault(stand_ins::identity::Fault::Status(reqwest::StatusCode::FORBIDDEN));
        self.post("upsert", KEY, "unavailable").await;
        self.world.identity.clear_faults();
        self.broken_messages().await;
    }

    async fn broken_messages(&self) {
        for message in [
            COLUMN.to_owned(),
            json!(COLUMN).to_string(),
            json!({ "table": "contacts", "key": { "employeeid": KEY }, "columns": COLUMN }).to_string(),
            json!({ "table": COLUMN, "key": KEY, COLUMN: COLUMN }).to_string(),
            format!(r#"{{"table":"contacts","key":{{"employeeid":"{KEY}"}},"columns":{{"a":"{COLUMN}","#),
        ] {
            answer(http_client().post(self.handler.url("/api/records")).body(message.clone())).await;
            self.invoke(json!({ "Data": { "record": message }, "Metadata": {} }).to_string()).await;
            self.invoke(json!({ "Data": message, "Metadata": message }).to_string()).await;
            self.invoke(message).await;
        }
    }

    /// The texts that must not be logged.
    fn secrets(&self) -> Vec<String> {
        let account = self.world.settings["AzureWebJobsStorage"].split(';').find_map(|part| {
            let key = part.strip_prefix("AccountKey=")?;
            Some(key.to_owned())
        });
        let account = account.expect("the connection string has a key");
        [SECRET, COLUMN, KEY, HEADER, "Bearer ey"].map(str::to_owned).into_iter().chain([account]).collect()
    }
}

async fn prints_no_secret(filter: &str) {
    let scene = Scene::start(filter).await;
    scene.provoke_every_outcome().await;
    let printed = eventually("the last line", async || {
        let printed = scene.handler.printed();
        (printed.matches("invalid invocation request").count() >= 10).then_some(printed)
    })
    .await;
    for reason in ["upserted", "exists", "key_collision", "invalid_data", "lock_busy", "storage_unavailable"] {
        assert!(printed.contains(reason), "{reason} is not logged:\n{printed}");
    }
    for secret in scene.secrets() {
        let line = printed.lines().find(|line| line.contains(&secret));
        assert_eq!(line, None, "{secret}");
    }
}

#[tokio::test]
async fn the_default_log_holds_neither_secrets_nor_data() {
    prints_no_secret("info").await;
}

#[tokio::test]
async fn the_trace_log_holds_neither_secrets_nor_data() {
    prints_no_secret("trace").await;
}

#[tokio::test]
async fn an_unknown_service_code_is_logged_once_without_its_message() {
    let scene = Scene::start("info").await;
    for code in ["0x81234567", "0x81234567", "0x89ABCDEF", "0x81234567", "0x80040265"] {
        scene.strike(Effect::Status(Status::new(400, code, &format!("Not with {COLUMN} for {KEY}."))));
        scene.post("upsert", KEY, "invalid_data").await;
    }
    let printed = eventually("the last line", async || {
        let printed = scene.handler.printed();
        (printed.matches("record rejected").count() == 5).then_some(printed)
    })
    .await;
    let reported: Vec<_> = printed.lines().filter(|line| line.contains("not in the table")).collect();
    assert!(matches!(reported[..], [_, _]), "one line for each of the two: {reported:?}");
    for (line, code) in reported.iter().zip(["0x81234567", "0x89abcdef"]) {
        assert!(line.contains("WARN") && line.contains("status=400") && line.contains(code), "{line}");
        assert!(!line.contains(COLUMN) && !line.contains(KEY), "{line}");
    }
}

#[tokio::test]
async fn the_closing_line_of_a_record_has_its_outcome_and_the_hash_of_its_key() {
    let scene = Scene::start("info").await;
    scene.post("upsert", KEY, "upserted").await;
    let line = eventually("the closing line", async || {
        let printed = scene.handler.printed();
        printed.lines().find(|line| line.contains("record settled")).map(str::to_owned)
    })
    .await;
    for part in ["outcome=applied", "reason=upserted", "table=contacts", "key_hash=", "duration_ms="] {
        assert!(line.contains(part), "{part}: {line}");
    }
    let started = scene.handler.printed();
    let started = started.lines().find(|line| line.contains("handler started")).expect("it is printed");
    assert!(started.contains("credential=client_secret"), "{started}");
    assert!(started.contains("locks=shared_key"), "{started}");
}

#[tokio::test]
async fn the_closing_line_of_a_queue_message_is_in_its_answer_and_is_printed_when_the_host_disconnected() {
    let scene = Scene::start("info").await;
    let body = |key: &str| json!({ "Data": { "record": contact(key, &json!({})) }, "Metadata": {} }).to_string();
    let settled = || scene.handler.printed().matches("record settled").count();
    let request = |key: &str| http_client().post(scene.handler.url("/SyncQueue")).body(body(key));
    let taken = answer(request("C1")).await;
    assert!(taken.body["Logs"][0].as_str().is_some_and(|line| line.contains("outcome=applied")), "{}", taken.text);

    let Backing::Embedded(storage) = &scene.world.storage else { panic!("this world is on the embedded storage") };
    let held = |lease: &storage::LeaseView| lease.state == storage::LeaseState::Leased;
    eventually("the first lease is released after the answer", async || {
        (!storage.leases().iter().any(held)).then_some(())
    })
    .await;
    scene.strike(Effect::Slow(Duration::from_secs(1)));
    let caller = tokio::spawn(answer(request("C2")));
    eventually("its lease", async || storage.leases().iter().any(held).then_some(())).await;
    caller.abort();
    eventually("the line", async || (settled() == 1).then_some(())).await;
    let printed = scene.handler.printed();
    let line = printed.lines().find(|line| line.contains("record settled")).expect("it is there");
    assert!(line.contains("message_id=m-C2"), "the first one is in its answer alone: {printed}");
}
