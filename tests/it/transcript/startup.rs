//! A handler that cannot start: each complaint is one line and an error, whatever the setting that it quotes is called.

use sandbox::host::{Category, Error, Host, LogLine, Severity};

use super::FORMATS;

/// What is filed of a handler that these settings keep from starting.
async fn filed(settings: &[(&str, &str)]) -> Vec<LogLine> {
    let world = crate::world().await;
    match Host::start(world.host_options("instance-1", settings)).await {
        Err(Error::Handler { logs, .. }) => logs,
        other => panic!("it has started: {other:?}"),
    }
}

#[tokio::test]
async fn complaints_about_settings_are_errors_whatever_they_name() {
    for format in &FORMATS {
        let wrong = [
            ("SYNC_LOG_FORMAT", format.name),
            ("SYNC_HEADERS", r#"{"Warning":1,"one\ntwo\u001b[2J":"x"}"#),
            ("LOCK_STORAGE", "WarnLocks"),
            ("RUST_LOG", "off"),
        ];
        let lines: Vec<_> = filed(&wrong).await.into_iter().filter(|line| line.category == Category::Handler).collect();
        let told = |what: &str| lines.iter().filter(|line| line.text.contains(what)).count();
        // The host starts it three times.
        assert_eq!(lines.len(), 3 * 4, "{lines:?}");
        for line in &lines {
            assert_eq!((format.member)(&line.text, "level").as_deref(), Some("ERROR"), "{line:?}");
            assert_eq!(line.severity, Severity::Error, "{line:?}");
        }
        for what in [r"SYNC_HEADERS has `W\u0061rning`", r"`one\ntwo\u001b[2J`", r"W\u0061rnLocks", "3 of the settings"]
        {
            assert_eq!(told(what), 3, "{what}: {lines:?}");
        }
    }
}
