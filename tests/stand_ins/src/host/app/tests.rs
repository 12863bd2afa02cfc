//! Valid and invalid staged apps, in a directory that is removed afterwards.

use super::super::scratch::StagedApp;
use super::*;

fn read(app: &StagedApp) -> Result<App, String> {
    App::read(app.path(), &BTreeMap::from([("QUEUE".to_owned(), "from-setting".to_owned())]))
}

fn problem(app: &StagedApp) -> String {
    read(app).expect_err("the app is not valid")
}

#[test]
fn both_functions_of_a_staged_app_are_found() {
    let app = read(&StagedApp::new("exit 0")).expect("it is valid");
    let function = &app.queue_functions[0];
    assert_eq!((function.name.as_str(), function.trigger.name.as_str()), ("SyncQueue", "record"));
    assert_eq!(function.trigger.queue, "sync-records");
    assert_eq!(function.outputs[0].queue, "sync-records-poison");
    assert_eq!(function.outputs[0].connection, "AzureWebJobsStorage");
    let expected = HttpFunction {
        name: "SyncHttp".to_owned(),
        route: "records".to_owned(),
        methods: vec!["POST".to_owned()],
        needs_key: true,
    };
    assert_eq!(app.http_functions, [expected]);
}

#[test]
fn functions_two_levels_deep_are_not_found() {
    let app = StagedApp::empty("exit 0");
    app.write("functions/SyncQueue/function.json", StagedApp::QUEUE_FUNCTION);
    assert!(problem(&app).contains("staged"));
}

#[test]
fn a_queue_name_may_come_from_a_setting() {
    let app = StagedApp::empty("exit 0");
    app.write("Q/function.json", &StagedApp::QUEUE_FUNCTION.replace("\"sync-records\"", "\"%QUEUE%\""));
    assert_eq!(read(&app).expect("it is valid").queue_functions[0].trigger.queue, "from-setting");
    app.write("Q/function.json", &StagedApp::QUEUE_FUNCTION.replace("\"sync-records\"", "\"%NONE%\""));
    assert!(problem(&app).contains("NONE"));
}

#[test]
fn a_function_that_cannot_run_is_named_and_refused() {
    for (from, to, expected) in [
        ("\"queueTrigger\"", "\"blobTrigger\"", "blobTrigger"),
        ("\"sync-records\"", "\"Sync_Records\"", "not a queue name"),
        ("\"queueTrigger\"", "\"queue\"", "0 triggers"),
        ("\"out\"", "\"in\"", "no other input"),
    ] {
        let app = StagedApp::empty("exit 0");
        app.write("Broken/function.json", &StagedApp::QUEUE_FUNCTION.replace(from, to));
        let problem = problem(&app);
        assert!(problem.starts_with("Broken/function.json") && problem.contains(expected), "{problem}");
    }
}

#[test]
fn an_http_function_that_is_not_forwarded_is_refused() {
    let app = StagedApp::new("exit 0");
    app.write("host.json", &StagedApp::HOST.replace("true", "false"));
    assert!(problem(&app).contains("enableForwardingHttpRequest"));
}

#[test]
fn an_app_without_its_executable_is_refused() {
    let app = StagedApp::new("exit 0");
    std::fs::remove_file(app.path().join("handler")).expect("it is there");
    assert!(problem(&app).contains("handler"));
}
