//! The app that `cargo stage` writes, checked by the doctor and run from its folder.

use std::fs;
use std::path::Path;

use sandbox::stage;
use sandbox::world::{Options, World};
use serde_json::json;

use crate::caller::{Caller, contact};
use crate::trust::Folder;

#[tokio::test]
async fn a_staged_app_runs_from_its_folder_and_is_not_removed() {
    let folder = Folder::new();
    let app = Path::new(&folder.path("functionapp")).to_owned();
    let message = stage::place(&app, &crate::handler(), None).expect("it is staged");
    for words in ["it starts here, and its doctor finds nothing wrong", "cargo sandbox up --app"] {
        assert!(message.contains(words), "{words}: {message}");
    }
    let world =
        World::start(Options { app: Some(app.clone()), ..Options::default() }).await.expect("the sandbox starts");
    let host = world.host("instance-1", &[]).await.expect("it starts");
    let answer = Caller::of(&host).post(&contact("S-1", &json!({ "firstname": "Ada" }))).await;
    assert_eq!((answer.status, &answer.body["outcome"]), (200, &json!("applied")), "{}", answer.text);
    assert_eq!(world.dataverse.rows("contacts").len(), 1);
    host.stop().await;
    drop(world);
    assert!(app.join("handler").is_file() && app.join("local.settings.json").is_file());
}

/// `azd up` beside the app, which holds nothing of it.
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
#[test]
fn an_app_for_azure_has_the_infrastructure_beside_it_and_the_report_names_the_commands() {
    let folder = Folder::new();
    let app = Path::new(&folder.path("functionapp")).to_owned();
    let message = stage::place(&app, &crate::handler(), None).expect("it is staged");
    let above = app.parent().expect("the folder").display();
    for command in [
        format!("  cd {above} && azd up\n"),
        format!("  func azure functionapp publish <the app that it names> --script-root {}\n", app.display()),
    ] {
        assert!(message.contains(&command), "{command}: {message}");
    }
    for file in ["azure.yaml", "infra/main.bicep", "infra/alerts.bicep", "queries.kql"] {
        assert!(Path::new(&folder.path(file)).is_file() && !app.join(file).exists(), "{file}");
    }
}

#[tokio::test]
async fn without_a_staged_app_the_sandbox_names_the_command_that_stages_it() {
    let folder = Folder::new();
    let app = Path::new(&folder.path("nothing")).to_owned();
    let error = World::start(Options { app: Some(app), ..Options::default() }).await.expect_err("there is none");
    assert!(error.to_string().ends_with("`cargo stage` lays one out"), "{error}");
}

#[test]
fn an_executable_other_than_the_handler_is_not_staged() {
    let folder = Folder::new();
    let app = Path::new(&folder.path("functionapp")).to_owned();
    let message = stage::place(&app, Path::new("/bin/true"), None).expect_err("it is another program").to_string();
    assert!(message.starts_with("it does not start on this machine") && message.ends_with("is not there"), "{message}");
    assert!(!app.exists());
}

#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
#[test]
fn a_handler_for_another_target_is_not_staged_and_the_previous_one_stays() {
    let folder = Folder::new();
    let app = Path::new(&folder.path("functionapp")).to_owned();
    stage::place(&app, &crate::handler(), None).expect("it is staged");
    let before = fs::read(app.join("handler")).expect("readable");
    let arm = "aarch64-unknown-linux-musl".parse().expect("a target");
    let message = stage::place(&app, &crate::handler(), Some(&arm)).expect_err("it is for x86-64").to_string();
    assert!(message.contains("not for 64-bit ARM") && message.ends_with("is as it was"), "{message}");
    assert_eq!(fs::read(app.join("handler")).expect("readable"), before);
}
