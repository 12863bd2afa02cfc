//! The operators' commands and the ways to fail at the start: data in `show` and `export` on stdout alone, secrets nowhere.

use std::process::Stdio;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use dataverse_sync::outcome::Reason;
use serde_json::json;
use tokio::process::Command;

use super::scene::Scene;
use super::{COLUMN, KEY, SAID};
use crate::dead_letters::Told;

impl Scene {
    /// Runs the handler with the settings of this scene, and these over them.
    async fn run(&self, arguments: &[&str], settings: &[(&str, &str)]) -> Told {
        let mut command = Command::new(crate::handler());
        command.args(arguments).current_dir(self.world.app()).env_clear().envs(&self.world.settings);
        command.envs(settings.iter().copied()).stdin(Stdio::null()).kill_on_drop(true);
        command.output().await.expect("the handler can be started").into()
    }

    /// A dead letter of every rejection, each with all canaries of data.
    async fn letters(&self) {
        for reason in Reason::ALL {
            let message =
                json!({ "table": "contacts", "key": { "employeeid": KEY }, "columns": { "firstname": COLUMN } });
            let said = json!({ "status": 400, "code": "0x80040265", "message": SAID, "requestId": "r" });
            let letter = json!({
                "message": message.to_string(), "reason": reason.code(), "detail": SAID, "dataverse": said,
                "attempts": 1, "invocationId": "i", "at": "2026-01-02T03:04:05Z",
            });
            self.world.poison.put(&STANDARD.encode(letter.to_string())).await.expect("the queue takes it");
        }
    }
}

#[tokio::test]
async fn commands_show_data_where_it_is_asked_for_and_nowhere_else() {
    let scene = Scene::start().await;
    scene.letters().await;
    let file = scene.world.app().join("letters.jsonl").to_str().expect("text").to_owned();
    for (arguments, shows_data) in [
        (&["dead-letters", "list"][..], false),
        (&["dead-letters", "list", "--json"], false),
        (&["dead-letters", "show"], true),
        (&["dead-letters", "show", "--json"], true),
        (&["dead-letters", "export"], true),
        (&["dead-letters", "export", "--output", &file], false),
        (&["dead-letters", "replay", "--dry-run"], false),
        (&["dead-letters", "replay", "--max", "1"], false),
        (&["dead-letters", "drop", "--yes", "--reason", "exists"], false),
        (&["doctor", "--table", "contacts", "--key", "employeeid"], false),
        (&["doctor", "--json"], false),
    ] {
        let told = scene.run(arguments, &[]).await;
        assert_eq!(told.code, Some(0), "{arguments:?}: {told:?}");
        assert!(!told.stdout.is_empty() || !told.stderr.is_empty(), "{arguments:?}");
        scene.holds_nothing(&told.stderr, &format!("stderr of {arguments:?}"));
        if shows_data {
            assert!([KEY, COLUMN, SAID].iter().all(|data| told.stdout.contains(data)), "{arguments:?}: {told:?}");
            scene.holds_no_secret(&told.stdout, &format!("stdout of {arguments:?}"));
        } else {
            scene.holds_nothing(&told.stdout, &format!("stdout of {arguments:?}"));
        }
    }
}

/// Wrong settings beside right secrets, a port that is taken, services that refuse: each ends with its own code.
#[tokio::test]
async fn whoever_cannot_start_or_is_refused_tells_no_secret_either() {
    let scene = Scene::start().await;
    let taken = scene.host.port_of_handler().to_string();
    let wrong_key = scene.world.settings["AzureWebJobsStorage"].replace("AccountKey=", "AccountKey=eyJj");
    for (arguments, settings, code) in [
        (&[][..], &[("FUNCTIONS_CUSTOMHANDLER_PORT", taken.as_str())][..], 1),
        (&[], &[("FUNCTIONS_CUSTOMHANDLER_PORT", "none")], 2),
        (&[], &[("FUNCTIONS_CUSTOMHANDLER_PORT", "0"), ("AZURE_TENANT_ID", "")], 2),
        (&[], &[("FUNCTIONS_CUSTOMHANDLER_PORT", "0"), ("SYNC_HEADERS", r#"{"X":"canary-of-a-header\n"}"#)], 2),
        (&[], &[("FUNCTIONS_CUSTOMHANDLER_PORT", "0"), ("DATAVERSE_URL", "http://canary-of-a-column@x")], 2),
        (&[], &[("FUNCTIONS_CUSTOMHANDLER_PORT", "0"), ("RUST_LOG", "[{canary-of-a-column")], 2),
        (&["doctor"], &[("AzureWebJobsStorage", &wrong_key)], 1),
        (&["doctor"], &[("AZURE_CLIENT_SECRET", "canary-of-a-column")], 1),
        (&["dead-letters", "list"], &[("AzureWebJobsStorage", &wrong_key)], 1),
        (&["dead-letters", "list"], &[("AzureWebJobsStorage", "AccountName=a;AccountKey=canary-of-a-column")], 2),
    ] {
        let told = scene.run(arguments, settings).await;
        assert_eq!(told.code, Some(code), "{arguments:?} {settings:?}: {told:?}");
        scene.holds_nothing(&told.stdout, "stdout");
        scene.holds_nothing(&told.stderr, "stderr");
    }
}
