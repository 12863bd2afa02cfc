//! A handler that cannot start logs each problem as one line with severity error, whatever text it quotes.

use stand_ins::host::{Category, Error, Host, LogLine, Severity};

use super::FORMATS;

/// The log of a handler that these settings prevent from starting.
async fn log_of(settings: &[(&str, &str)]) -> Vec<LogLine> {
    let world = crate::world().await;
    match Host::start(world.host_options("instance-1", settings)).await {
        Err(Error::Handler { logs, .. }) => logs,
        other => panic!("it has started: {other:?}"),
    }
}

#[tokio::test]
async fn problems_with_settings_have_severity_error_whatever_they_name() {
    for format in &FORMATS {
        let wrong = [
            ("SYNC_LOG_FORMAT", format.name),
            ("SYNC_HEADERS", r#"{"Warning":1,"one\ntwo\u001b[2J":"x"}"#),
            ("LOCK_STORAGE", "WarnLocks"),
            ("RUST_LOG", "off"),
        ];
        let lines: Vec<_> =
            log_of(&wrong).await.into_iter().filter(|line| line.category == Category::Handler).collect();
        let count = |what: &str| lines.iter().filter(|line| line.text.contains(what)).count();
        // The host starts the handler three times.
        assert_eq!(lines.len(), 3 * 4, "{lines:?}");
        for line in &lines {
            assert_eq!((format.member)(&line.text, "level").as_deref(), Some("ERROR"), "{line:?}");
            assert_eq!(line.severity, Severity::Error, "{line:?}");
        }
        for what in [r"SYNC_HEADERS has `W\u0061rning`", r"`one\ntwo\u001b[2J`", r"W\u0061rnLocks", "3 of the settings"]
        {
            assert_eq!(count(what), 3, "{what}: {lines:?}");
        }
    }
}
