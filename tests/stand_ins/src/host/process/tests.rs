//! Real processes: shell scripts in place of the handler. None of them listens, so none becomes ready.

use std::time::Duration;

use axum::Router;
use tokio::time::sleep;

use super::super::logs::{Category, LogLine};
use super::super::scratch::StagedApp;
use super::*;
use crate::net::Server;

/// Longer than any of these scripts needs to end by itself.
const READY_TIMEOUT: Duration = Duration::from_secs(1);

fn start(app: &StagedApp, logs: &Logs) -> Handler {
    Handler::start(program(app), 9, logs.clone())
}

fn program(app: &StagedApp) -> Program {
    Program {
        path: app.path().join("handler"),
        arguments: Vec::new(),
        directory: app.path().to_owned(),
        settings: BTreeMap::from([("DATAVERSE_URL".to_owned(), "https://example.net".to_owned())]),
        ready_limit: READY_TIMEOUT,
        restarts_after_0: false,
    }
}

async fn run(script: &str) -> (State, u32, Vec<LogLine>) {
    let (app, logs) = (StagedApp::empty(script), Logs::new("test", None));
    let handler = start(&app, &logs);
    let state = handler.settled().await;
    (state, handler.restarts(), logs.lines())
}

#[tokio::test]
async fn after_exit_code_0_while_it_serves_it_is_not_restarted() {
    let app = StagedApp::empty("while [ ! -e go ]; do sleep 0.02; done; exit 0");
    let answers = Server::start(Router::new(), 0, None).await.expect("a port is free");
    let handler = Handler::start(program(&app), answers.port(), Logs::new("test", None));
    assert_eq!(handler.settled().await, State::Ready);
    app.write("go", "");
    let mut status = handler.status.clone();
    let gone = status.wait_for(|status| status.state == State::Gone).await.expect("it is published");
    assert_eq!((gone.pid, gone.restarts), (None, 0));
}

#[tokio::test]
async fn exit_code_0_before_the_first_response_is_noticed_only_when_the_time_for_it_is_over() {
    let (state, restarts, _) = run("exit 0").await;
    assert!(matches!(state, State::Down(why) if why.contains("did not answer in 1 s")));
    assert_eq!(restarts, 2);
}

#[tokio::test]
async fn a_newer_host_starts_it_again_after_exit_code_0() {
    let app = StagedApp::empty("echo x >> starts; [ $(wc -l < starts) -gt 3 ] && exit 1; exit 0");
    let program = Program { restarts_after_0: true, ..program(&app) };
    let handler = Handler::start(program, 9, Logs::new("test", None));
    assert!(matches!(handler.settled().await, State::Down(_)));
    assert_eq!(handler.restarts(), 5);
}

#[tokio::test]
async fn the_third_crash_shuts_the_host_down() {
    let (state, restarts, _) = run("exit 2").await;
    assert!(matches!(state, State::Down(why) if why.contains("exit status: 2")));
    assert_eq!(restarts, 2);
}

#[tokio::test]
async fn the_third_start_without_a_response_shuts_the_host_down() {
    let (state, restarts, _) = run("exec sleep 60").await;
    assert!(matches!(state, State::Down(why) if why.contains("did not answer in 1 s")));
    assert_eq!(restarts, 2);
}

#[tokio::test]
async fn the_last_lines_of_a_crash_are_in_the_log() {
    let (_, _, lines) = run("echo going; echo DATAVERSE_URL is missing >&2; exit 2").await;
    let printed = lines.iter().filter(|line| line.category == Category::Handler);
    assert_eq!(printed.filter(|line| line.text == "DATAVERSE_URL is missing").count(), 3);
}

#[tokio::test]
async fn exit_code_200_is_a_wanted_restart_and_no_crash() {
    let script = "echo x >> starts; [ $(wc -l < starts) -gt 4 ] && exit 1; exit 200";
    let (state, restarts, _) = run(script).await;
    assert!(matches!(state, State::Down(_)));
    assert_eq!(restarts, 4 + 2);
}

#[tokio::test]
async fn the_handler_sees_its_settings_and_its_port_in_its_directory_and_little_else() {
    let (app, logs) = (StagedApp::empty("env > seen; pwd -P > where; exit 1"), Logs::new("test", None));
    assert!(matches!(start(&app, &logs).settled().await, State::Down(_)));
    let seen = std::fs::read_to_string(app.path().join("seen")).expect("the script wrote it");
    let root = format!("FUNCTIONS_APP_ROOT_PATH={}", app.path().display());
    for line in
        ["DATAVERSE_URL=https://example.net", "FUNCTIONS_CUSTOMHANDLER_PORT=9", "FUNCTIONS_HTTPWORKER_PORT=9", &root]
    {
        assert!(seen.lines().any(|known| known == line), "{seen}");
    }
    assert_eq!(seen.lines().filter(|line| line.contains("_WORKER_ID=")).count(), 2, "{seen}");
    assert!(!seen.contains("CARGO"), "{seen}");
    let place = std::fs::read_to_string(app.path().join("where")).expect("the script wrote it");
    let root = app.path().canonicalize().expect("it exists");
    assert_eq!(place.trim_end(), root.to_string_lossy());
}

#[tokio::test]
async fn a_killed_handler_is_started_again_as_another_process() {
    let (app, logs) = (StagedApp::empty("exec sleep 60"), Logs::new("test", None));
    let handler = start(&app, &logs);
    let mut status = handler.status.clone();
    let first = status.wait_for(|status| status.pid.is_some()).await.expect("it runs").pid;
    handler.kill().await;
    let second = status.wait_for(|status| status.pid.is_some() && status.pid != first).await.expect("it runs").clone();
    assert_eq!((second.state, second.restarts), (State::Starting, 1));
}

#[tokio::test]
async fn a_terminated_handler_gives_its_exit_code_and_is_not_restarted() {
    let script = "trap 'exit 7' TERM; touch armed; while :; do sleep 0.02; done";
    let (app, logs) = (StagedApp::empty(script), Logs::new("test", None));
    let handler = start(&app, &logs);
    while !app.path().join("armed").exists() {
        sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(handler.terminate().await, Some(7));
    assert_eq!((handler.settled().await, handler.restarts()), (State::Stopping, 0));
    assert_eq!(handler.terminate().await, None);
}

#[tokio::test]
async fn a_program_that_cannot_be_started_is_reported() {
    let (app, logs) = (StagedApp::empty("exit 0"), Logs::new("test", None));
    std::fs::remove_file(app.path().join("handler")).expect("it is there");
    assert!(matches!(start(&app, &logs).settled().await, State::Down(why) if why.contains("cannot be started")));
}
