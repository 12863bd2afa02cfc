//! What `cargo stage` lays out: the real handler, looked at as the doctor would, run from where it lies.

use std::fs;
use std::path::Path;

use sandbox::stage;
use sandbox::world::{Options, World};
use serde_json::json;

use crate::caller::{Caller, contact};
use crate::trust::Folder;

#[tokio::test]
async fn a_staged_app_is_run_as_it_lies_there_and_stays() {
    let folder = Folder::new();
    let app = Path::new(&folder.path("functionapp")).to_owned();
    let told = stage::place(&app, &crate::handler(), None).expect("it is staged");
    for words in ["it starts here, and its doctor finds nothing wrong", "cargo sandbox up --app"] {
        assert!(told.contains(words), "{words}: {told}");
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

#[tokio::test]
async fn where_nothing_is_staged_the_sandbox_says_what_stages_it() {
    let folder = Folder::new();
    let app = Path::new(&folder.path("nothing")).to_owned();
    let error = World::start(Options { app: Some(app), ..Options::default() }).await.expect_err("there is none");
    assert!(error.to_string().ends_with("`cargo stage` lays one out"), "{error}");
}

#[test]
fn an_executable_that_is_no_handler_is_not_staged() {
    let folder = Folder::new();
    let app = Path::new(&folder.path("functionapp")).to_owned();
    let told = stage::place(&app, Path::new("/bin/true"), None).expect_err("it is another program").to_string();
    assert!(told.starts_with("it does not start on this machine") && told.ends_with("is not there"), "{told}");
    assert!(!app.exists());
}

#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
#[test]
fn a_handler_for_another_target_than_the_one_named_is_not_staged_and_the_one_before_stays() {
    let folder = Folder::new();
    let app = Path::new(&folder.path("functionapp")).to_owned();
    stage::place(&app, &crate::handler(), None).expect("it is staged");
    let before = fs::read(app.join("handler")).expect("readable");
    let arm = "aarch64-unknown-linux-musl".parse().expect("a target");
    let told = stage::place(&app, &crate::handler(), Some(&arm)).expect_err("it is for x86-64").to_string();
    assert!(told.contains("not for 64-bit ARM") && told.ends_with("is as it was"), "{told}");
    assert_eq!(fs::read(app.join("handler")).expect("readable"), before);
}
