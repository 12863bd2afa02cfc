//! Dead letters that any sender may have put into the poison queue.

use std::time::{Duration, Instant};

use anyhow::Context as _;
use tokio::time::timeout;

use super::super::{Bound, Samples, number};
use super::Fixture;
use crate::world::POISON_QUEUE;
use serde_json::json;

/// Times without a text in UTC, a leap second, letters that resemble one, and text that is not a letter.
const HOSTILE: [&str; 9] = [
    r#"{"message":"x","reason":"exists","at":"9999-12-31T23:59:59-23:59"}"#,
    r#"{"message":"x","reason":"exists","at":"0000-01-01T00:00:00+23:59"}"#,
    r#"{"message":"x","reason":"exists","at":"2016-12-31T23:59:60Z"}"#,
    r#"{"message":"x","reason":"exists","attempts":18446744073709551616,"at":"2026-01-02T03:04:05Z"}"#,
    r#"{"messageGzip":"H4sIAAAAAAAA","reason":"exists","at":"2026-01-02T03:04:05Z"}"#,
    r#"{"message":"{\"table\":1e400,\"key\":[[[","reason":"exists","at":"2026-01-02T03:04:05Z"}"#,
    "{\"message\":\"\\ud800\",\"reason\":\"exists\"",
    "4pyT4pyT",
    "\u{e0041}\u{202e}",
];

/// Letters beside it.
const OTHERS: usize = 20;

const TIMEOUT: Duration = Duration::from_secs(20);

/// The commands, in an order that ends with the one that deletes.
const COMMANDS: [(&str, &[&str]); 5] = [
    ("list", &["list"]),
    ("show", &["show", "--max", "100"]),
    ("export", &["export"]),
    ("replay --dry-run", &["replay", "--dry-run"]),
    ("drop", &["drop", "--yes"]),
];

/// Runs each command.
pub(super) async fn measure(fixture: &Fixture<'_>, samples: &mut Samples) -> anyhow::Result<()> {
    for (name, arguments) in COMMANDS {
        fixture.world.poison.clear().await.context("emptying the queue")?;
        let ordinary: Vec<_> = (0..OTHERS).map(ordinary).collect();
        let (first, last) = ordinary.split_at(OTHERS / 2);
        let first = first.iter().map(String::as_str);
        for letter in first.chain(HOSTILE).chain(last.iter().map(String::as_str)) {
            fixture.world.poison.put(letter).await.context("putting a letter")?;
        }
        let begun = Instant::now();
        let ended = timeout(TIMEOUT, fixture.launch().command().arg("dead-letters").args(arguments).status()).await;
        let code = ended.ok().and_then(Result::ok).and_then(|status| status.code());
        let code = code.map_or(f64::NAN, f64::from);
        samples.bounded(format!("{name}: exit code"), "", code, Bound::Exactly(0.0));
        let letters = fixture.storage()?.messages(POISON_QUEUE);
        let visible = letters.iter().filter(|letter| letter.visible).count();
        let left = if name == "drop" { 0 } else { OTHERS + HOSTILE.len() };
        samples.bounded(
            format!("{name}: visible afterwards"),
            "letters",
            number(visible),
            Bound::Exactly(number(left)),
        );
        samples.add(format!("{name}: hidden afterwards"), "letters", number(letters.len() - visible));
        samples.add(format!("{name}: until its end"), "s", begun.elapsed().as_secs_f64());
    }
    Ok(())
}

fn ordinary(number: usize) -> String {
    let message = super::calls::record(&number.to_string()).to_string();
    json!({
        "message": message, "reason": "exists", "detail": "it was refused", "attempts": 1,
        "invocationId": "0a5ad9d6-0a55-4f6c-8d5e-6f4f5b2c9f10", "at": "2026-01-02T03:04:05Z",
    })
    .to_string()
}
