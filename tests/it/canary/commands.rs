//! The operator's commands and failed starts: only the stdout of `show` and `export` contains data; no output contains
//! secrets.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use dataverse_sync::outcome::Reason;
use serde_json::json;

use super::canary_host::CanaryHost;
use super::{COLUMN, KEY, SAID};
use crate::command::{CommandOutput, command};

impl CanaryHost {
    /// Runs the handler with the settings of this host, overridden by these.
    async fn run(&self, arguments: &[&str], settings: &[(&str, &str)]) -> CommandOutput {
        let all = self.world().settings.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let mut command = command(arguments, all.chain(settings.iter().copied()));
        command.current_dir(self.world().app());
        CommandOutput::of(command).await
    }

    /// Creates a dead letter for every rejection, each with all data canaries.
    async fn letters(&self) {
        for reason in Reason::ALL {
            let message =
                json!({ "table": "contacts", "key": { "employeeid": KEY }, "columns": { "firstname": COLUMN } });
            let answer = json!({ "status": 400, "code": "0x80040265", "message": SAID, "requestId": "r" });
            let letter = json!({
                "message": message.to_string(), "reason": reason.code(), "detail": SAID, "dataverse": answer,
                "attempts": 1, "invocationId": "i", "at": "2026-01-02T03:04:05Z",
            });
            self.world().poison.put(&STANDARD.encode(letter.to_string())).await.expect("the queue takes it");
        }
    }
}

#[tokio::test]
async fn commands_print_data_only_where_it_is_requested() {
    let host = CanaryHost::start().await;
    host.letters().await;
    let file = host.world().app().join("letters.jsonl").to_str().expect("text").to_owned();
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
        let output = host.run(arguments, &[]).await;
        assert_eq!(output.code, Some(0), "{arguments:?}: {output:?}");
        assert!(!output.stdout.is_empty() || !output.stderr.is_empty(), "{arguments:?}");
        host.holds_nothing(&output.stderr, &format!("stderr of {arguments:?}"));
        if shows_data {
            assert!([KEY, COLUMN, SAID].iter().all(|data| output.stdout.contains(data)), "{arguments:?}: {output:?}");
            host.holds_no_secret(&output.stdout, &format!("stdout of {arguments:?}"));
        } else {
            host.holds_nothing(&output.stdout, &format!("stdout of {arguments:?}"));
        }
    }
}

/// Covers invalid settings beside valid secrets, a port in use and refusing services; each has its exit code.
#[tokio::test]
async fn a_failed_start_or_command_prints_no_secret() {
    let host = CanaryHost::start().await;
    let used = host.host.port_of_handler().to_string();
    let wrong_key = host.world().settings["AzureWebJobsStorage"].replace("AccountKey=", "AccountKey=eyJj");
    for (arguments, settings, code) in [
        (&[][..], &[("FUNCTIONS_CUSTOMHANDLER_PORT", used.as_str())][..], 1),
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
        let output = host.run(arguments, settings).await;
        assert_eq!(output.code, Some(code), "{arguments:?} {settings:?}: {output:?}");
        host.holds_nothing(&output.stdout, "stdout");
        host.holds_nothing(&output.stderr, "stderr");
    }
}
