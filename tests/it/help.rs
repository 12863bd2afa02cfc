//! Help, `handler settings`, local.settings.json, completions, and a closed standard output.

use std::process::Stdio;

use serde_json::json;
use tokio::io::AsyncReadExt as _;

use crate::command::{CommandOutput, command};
use crate::trust::Folder;

const FINE: [(&str, &str); 2] =
    [("DATAVERSE_URL", "https://contoso.crm.dynamics.com"), ("AzureWebJobsStorage", "UseDevelopmentStorage=true")];

/// The help of a command at this width.
async fn help(path: &[String], width: &str) -> String {
    let arguments: Vec<_> = path.iter().map(String::as_str).chain(["--help"]).collect();
    let output = CommandOutput::of(command(&arguments, [("COLUMNS", width)])).await;
    assert_eq!((output.code, output.stderr.as_str()), (Some(0), ""), "{path:?}");
    output.stdout
}

/// The commands that a help lists.
fn commands(help: &str) -> Vec<String> {
    let lines = help.lines().skip_while(|line| *line != "Commands:").skip(1).take_while(|line| !line.is_empty());
    let names = lines.filter(|line| line.starts_with("  ") && !line.starts_with("   "));
    names.filter_map(|line| line.split_whitespace().next()).filter(|name| *name != "help").map(str::to_owned).collect()
}

#[tokio::test]
async fn the_help_of_every_command_fits_the_terminal_and_the_first_fits_a_screen() {
    let mut seen = Vec::new();
    let mut paths = vec![Vec::new()];
    while let Some(path) = paths.pop() {
        for width in ["80", "100", "120"] {
            let help = help(&path, width).await;
            let max = width.parse().expect("a number");
            for line in help.lines() {
                assert!(line.chars().count() <= max, "handler {path:?} at {width} columns: {line}");
            }
            if path.is_empty() && width == "80" {
                assert!((24..=40).contains(&help.lines().count()), "{help}");
            }
        }
        for name in commands(&help(&path, "80").await) {
            paths.push(path.iter().cloned().chain([name]).collect());
        }
        seen.push(path.join(" "));
    }
    for name in ["completions", "dead-letters", "dead-letters replay", "doctor", "settings"] {
        assert!(seen.iter().any(|path| path == name), "{name} in {seen:?}");
    }
}

/// `handler settings` in this folder, with these variables.
async fn settings(folder: &Folder, arguments: &[&str], variables: &[(&str, &str)]) -> CommandOutput {
    let arguments: Vec<_> = ["settings"].into_iter().chain(arguments.iter().copied()).collect();
    let mut command = command(&arguments, variables.iter().copied());
    command.current_dir(folder.path(""));
    CommandOutput::of(command).await
}

#[tokio::test]
async fn settings_are_shown_with_values_sources_and_problems_and_the_exit_code_tells() {
    let folder = Folder::new();
    let fine = settings(&folder, &[], &FINE).await;
    assert_eq!((fine.code, fine.stderr.as_str()), (Some(0), ""), "{fine:?}");
    assert!(fine.stdout.contains("https://contoso.crm.dynamics.com (environment)"), "{}", fine.stdout);
    assert!(fine.stdout.contains("sync-locks (default)") && fine.stdout.contains("set (environment)"), "{fine:?}");
    let wrong = [("LOCK_LEASE_SECONDS", "5"), ("SYNC_HOLD_SECOND", "9"), ("AZURE_CLIENT_SECRET", "canary")];
    let wrong = settings(&folder, &["--json"], &[&FINE[..], &wrong].concat()).await;
    let report = wrong.json();
    let rows = report["settings"].as_array().expect("rows");
    let row = |name: &str| rows.iter().find(|row| row["name"] == name).expect("it is shown");
    assert_eq!(wrong.code, Some(1));
    assert_eq!(row("LOCK_LEASE_SECONDS")["value"], "5");
    assert_eq!(row("LOCK_LEASE_SECONDS")["problem"], "must be a whole number from 15 to 60");
    assert_eq!(row("AZURE_CLIENT_SECRET")["value"], "set");
    assert!(row("AZURE_TENANT_ID")["problem"].is_string(), "the secret needs it");
    assert_eq!(report["misspelt"], json!(["SYNC_HOLD_SECOND is not a setting; did you mean SYNC_HOLD_SECONDS?"]));
    assert!(!wrong.stdout.contains("canary"));
}

#[tokio::test]
async fn commands_read_local_settings_only_where_the_environment_has_none_and_say_so() {
    let folder = Folder::new();
    folder.write(
        "local.settings.json",
        r#"{"Values":{"DATAVERSE_URL":"https://file.crm.dynamics.com","AzureWebJobsStorage":"UseDevelopmentStorage=true"}}"#,
    );
    let file = settings(&folder, &[], &[("PATH", "/bin"), ("RUST_LOG", "warn")]).await;
    assert_eq!(file.code, Some(0), "{file:?}");
    assert!(file.stdout.contains("https://file.crm.dynamics.com (local.settings.json)"), "{}", file.stdout);
    assert!(file.stdout.contains("warn (environment)"), "{}", file.stdout);
    assert_eq!(file.stderr, "note: settings are read from local.settings.json, because the environment has none\n");
    for name in ["SYNC_BATCH", "AzureWebJobsStorage__accountName"] {
        let environment = settings(&folder, &[], &[(name, "auto")]).await;
        assert_eq!(environment.code, Some(1), "{environment:?}");
        let note = format!("note: local.settings.json is not read, because the environment has {name}\n");
        assert_eq!(environment.stderr, note);
    }
    let mut serving = command(&[], [("FUNCTIONS_CUSTOMHANDLER_PORT", "0")]);
    serving.current_dir(folder.path(""));
    let serving = CommandOutput::of(serving).await;
    assert!(serving.code == Some(2) && serving.stderr.contains("DATAVERSE_URL is not set"), "{serving:?}");
}

#[tokio::test]
async fn a_command_without_its_settings_names_the_next_step() {
    let folder = Folder::new();
    folder.write("local.settings.json", "{}");
    let mut list = command(&["dead-letters", "list"], [("DATAVERSE_URI", "x"), ("LOCK_MODE", "off")]);
    list.current_dir(folder.path(""));
    let list = CommandOutput::of(list).await;
    assert_eq!(list.code, Some(2));
    for text in [
        "AzureWebJobsStorage is not set",
        "DATAVERSE_URI is not a setting; did you mean DATAVERSE_URL?",
        "`handler settings` shows each setting",
    ] {
        assert!(list.stderr.contains(text), "{text} in {}", list.stderr);
    }
}

#[tokio::test]
async fn completions_name_the_commands_for_every_shell() {
    for shell in ["bash", "zsh", "fish", "powershell"] {
        let output = CommandOutput::of(command(&["completions", shell], FINE)).await;
        assert_eq!((output.code, output.stderr.as_str()), (Some(0), ""), "{shell}");
        assert!(output.stdout.contains("dead-letters") && output.stdout.contains("replay"), "{shell}");
    }
    let unknown = CommandOutput::of(command(&["completions", "bsh"], FINE)).await;
    assert_eq!(unknown.code, Some(2));
    assert!(unknown.stderr.contains("bash"), "{unknown:?}");
}

/// The pipe has no reader before the command starts, so that its first byte fails.
#[tokio::test]
async fn a_closed_stdout_is_silent_in_every_command() {
    for arguments in [&["settings"][..], &["settings", "--json"], &["doctor"], &["completions", "bash"], &["--help"]] {
        let (reader, writer) = std::io::pipe().expect("the system has pipes");
        drop(reader);
        let mut command = command(arguments, [("LOCK_MODE", "off")]);
        command.stdout(Stdio::from(writer));
        let mut child = command.spawn().expect("the handler can be started");
        let mut stderr = String::new();
        let mut from = child.stderr.take().expect("it is piped");
        from.read_to_string(&mut stderr).await.expect("it is text");
        child.wait().await.expect("it ends");
        assert_eq!(stderr, "", "{arguments:?}");
    }
}
