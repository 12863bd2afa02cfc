//! Replays the cases of the handler's and the host's processes: the same events, most of them in less time.
//!
//! Compared are the starts, what the handlers saw and in which order of deliveries, the codes, what is left in the queues, and the
//! host's own time to end. The time limits of a function and of a start are those of the app, so they are shortened there.

use std::fmt::Display;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures::future::join_all;
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::case::Case;
use crate::host::{self, Host, eventually};
use crate::recorder::{Rule, Script};
use crate::replay::until_agreed;

/// Replays a case; `None` if the stand-in agrees with it.
pub(crate) async fn difference(case: &Case) -> Option<String> {
    let name = case.name.as_str();
    let Some(script) = script(name) else { return Some("  there is no replay of this case".to_owned()) };
    let mut settings = Host::settings();
    match name {
        "P06" => settings["customHandler"]["initializationTimeout"] = json!("00:00:02"),
        "P08" => settings["functionTimeout"] = json!("00:00:03"),
        _ => {}
    }
    let mut host = Host::start(&settings, &script).await;
    let own = events(name, &mut host).await;
    let expected = expected(&case.line);
    until_agreed(&expected, async || {
        let mut observed = own.clone();
        let starts = 1..=host.handlers().len();
        observed["starts"] = starts.map(|number| json!(format!("handler {number}"))).collect();
        if expected.get("seen").is_some() {
            observed["seen"] = seen(&host);
        }
        let (poison, left) = host.left().await;
        let poison: Vec<_> = poison.iter().map(|raw| STANDARD.decode(raw).expect("it is base64")).collect();
        let poison: Vec<_> = poison.iter().map(|text| String::from_utf8_lossy(text)).collect();
        observed["left"] = json!({ "queue": left, "poison": poison });
        observed
    })
    .await
}

/// What the handler does in this case.
fn script(name: &str) -> Option<Script> {
    let rule = |rule: Rule| Script { rules: vec![Rule { text: name.to_owned(), ..rule }], ..Script::default() };
    let exit = |code: i32, once: bool| rule(Rule { exit: Some(code), once, ..Rule::default() });
    let takes = |seconds: u64| rule(Rule { milliseconds: seconds * 1000, once: true, ..Rule::default() });
    Some(match name {
        "P02" => takes(6),
        "P03" => exit(0, false),
        "P04" => exit(200, true),
        "P05" => exit(1, true),
        "P06" => Script { silent: true, ..Script::default() },
        "P07" => Script { exit_at_start: Some(2), ..Script::default() },
        // The first hangs past its limit; the second would end after the first one's limit and before its own.
        "P08" => Script {
            rules: [("P08hang", 60_000), ("P08slow", 5_500)]
                .map(|(text, milliseconds)| Rule { text: text.to_owned(), milliseconds, once: true, ..Rule::default() })
                .into(),
            ..Script::default()
        },
        "P09" => takes(5),
        "P10" => takes(60),
        "P11" => takes(3),
        "P12" => {
            let mut script = Script::default();
            script.answer.status = Some(500);
            script
        }
        "P13" => {
            let lines = |lines: &[&str]| lines.iter().map(|line| (*line).to_owned()).collect();
            let stdout = lines(&["out line P13", "{\"level\":\"error\",\"m\":\"json P13\"}"]);
            let stderr = lines(&["err line P13", "this is a WARNing P13", "\u{1b}[31mcolour P13"]);
            let mut script = rule(Rule { stdout, stderr, ..Rule::default() });
            let answer = json!({ "Outputs": {}, "Logs": ["in Logs P13", "warn in Logs P13"], "ReturnValue": null });
            script.answer.body = Some(answer.to_string());
            script
        }
        "P14" => exit(1, false),
        _ => return None,
    })
}

/// Repeats the events of the case; returns the observations that are not in files or queues.
async fn events(name: &str, host: &mut Host) -> Value {
    match name {
        "P02" => {
            put(host, &["P02a", "P02b", "P02c"]).await;
            requests(host, 3).await;
            host::signal(host.handlers()[0], "KILL").await;
            json!({})
        }
        "P03" => {
            put(host, &[name]).await;
            eventually("the message is in poison", async || (!host.left().await.0.is_empty()).then_some(())).await;
            json!({ "http after": post(host).await })
        }
        "P04" | "P05" => {
            put(host, &[name]).await;
            requests(host, 2).await;
            json!({ "http after": post(host).await })
        }
        "P06" => json!({ "host process": ended(host).await, "http": post(host).await }),
        "P07" => {
            let code = ended(host).await;
            json!({ "host process": code, "http early": post(host).await, "http late": post(host).await })
        }
        "P08" => {
            put(host, &["P08hang"]).await;
            requests(host, 1).await;
            put(host, &["P08slow"]).await;
            requests(host, 4).await;
            json!({ "http": post(host).await })
        }
        "P09" | "P10" => {
            put(host, &[name]).await;
            requests(host, 1).await;
            let begun = Instant::now();
            host.signal("TERM").await;
            host.ended().await;
            let handler = host.handlers()[0];
            json!({ "host ended after": about(begun.elapsed().as_secs_f64()), "handler gone": !host::runs(handler) })
        }
        "P11" => {
            let tags: Vec<String> = (0..120).map(|number| format!("P11 {number:03}")).collect();
            // All at once: the host has to find enough of them while the first are under way.
            join_all(tags.iter().map(|tag| put(host, std::slice::from_ref(tag)))).await;
            requests(host, 120).await;
            let requests = host.requests();
            let most = requests.iter().map(|request| request.running).max();
            let connections: std::collections::BTreeSet<_> =
                requests.iter().map(|request| request.connection).collect();
            json!({ "most in flight": most, "connections": connections.len() })
        }
        "P12" => {
            put(host, &[name]).await;
            eventually("the message is in poison", async || (!host.left().await.0.is_empty()).then_some(())).await;
            let poison = host.poison.peek(1).await.expect("the storage works");
            let raw = json!([{ "DequeueCount": poison[0].dequeue_count.to_string(), "MessageText": poison[0].text }]);
            json!({ "poison raw": raw })
        }
        "P13" => {
            put(host, &[name]).await;
            let log = eventually("its lines", async || Some(log(host)).filter(|log| log.len() >= 7)).await;
            json!({ "log": log })
        }
        "P14" => {
            let mut calls = Vec::new();
            for number in 0..5 {
                let answer = host.post(&json!({ "a": format!("P14-{number}") }).to_string().replace(':', ": ")).await;
                calls.push(shown(answer));
                // The real host was given ten seconds.
                if number < 2 {
                    eventually("a restart", async || host.handlers().get(number + 1).copied()).await;
                } else {
                    ended(host).await;
                }
            }
            json!({ "calls": calls, "host process": ended(host).await, "late": post(host).await })
        }
        _ => unreachable!("it has no script"),
    }
}

/// The lines that are the case's own, in any order: they come by two pipes and by the answer.
fn log(host: &Host) -> Vec<String> {
    let lines = host.lines();
    let own = lines.iter().filter(|line| line.contains("P13") && !line.contains("Executed")).map(|line| {
        // func shows the time in front.
        line.split_once("Z] ").map_or(line.as_str(), |(_, text)| text).to_owned()
    });
    let mut own: Vec<_> = own.collect();
    own.sort();
    own
}

async fn put(host: &Host, tags: &[impl Display]) {
    for tag in tags {
        host.queue.put(&STANDARD.encode(format!("{{\"tag\": \"{tag}\"}}"))).await.expect("the storage works");
    }
}

/// Waits until the handler has got this many.
async fn requests(host: &Host, count: usize) {
    eventually("the requests", async || (host.requests().len() >= count).then_some(())).await;
}

async fn post(host: &Host) -> Value {
    shown(host.post("{\"a\":\"after\"}").await)
}

fn shown(answer: Option<(u16, String)>) -> Value {
    answer.map_or_else(|| json!("refused"), |(status, body)| json!([status, body]))
}

async fn ended(host: &mut Host) -> Option<i32> {
    host.ended().await.code()
}

/// Path, item or body, delivery and handler of every request, sorted: those that run at once come in any order.
fn seen(host: &Host) -> Value {
    let seen = host.requests().into_iter().map(|request| {
        let envelope = request.envelope();
        let item = envelope["Data"]["record"].as_str().map_or_else(|| request.body.clone(), str::to_owned);
        json!([
            request.target.split('?').next(),
            item,
            envelope["Metadata"]["DequeueCount"],
            format!("handler {}", request.handler)
        ])
    });
    sorted(seen.collect())
}

fn sorted(mut values: Vec<Value>) -> Value {
    values.sort_by_key(Value::to_string);
    values.into()
}

/// What the case shows, with times left out.
fn expected(line: &Value) -> Value {
    let mut expected = serde_json::Map::new();
    for (name, value) in line.as_object().expect("a line is an object") {
        let value = match name.as_str() {
            "name" | "what" | "killed" | "order" => continue,
            "starts" => value.as_array().into_iter().flatten().map(|start| start[1].clone()).collect(),
            "seen" => {
                let untimed = |seen: &Value| seen.as_array().map(|seen| seen[1..].to_vec());
                sorted(value.as_array().into_iter().flatten().filter_map(untimed).map(Value::from).collect())
            }
            "calls" => value.as_array().into_iter().flatten().map(|call| answer(&call[1])).collect(),
            "http" | "http after" | "http early" | "http late" | "late" => answer(value),
            "handler gone after" => {
                expected.insert("handler gone".to_owned(), json!(!value.is_null()));
                continue;
            }
            "host ended after" => about(value.as_f64().expect("it is a time")),
            "log" => {
                let mut lines: Vec<_> =
                    value.as_array().into_iter().flatten().filter_map(Value::as_str).map(str::trim_start).collect();
                lines.sort_unstable();
                json!(lines)
            }
            "poison raw" => {
                let raw = value.as_array().into_iter().flatten();
                raw.map(|raw| json!({ "DequeueCount": raw["DequeueCount"], "MessageText": raw["MessageText"] }))
                    .collect()
            }
            _ => value.clone(),
        };
        expected.insert(name.clone(), value);
    }
    expected.into()
}

/// A time in steps of five seconds.
fn about(seconds: f64) -> Value {
    json!(format!("about {} s", (seconds / 5.0).round() * 5.0))
}

/// An answer, or that the connection was refused.
fn answer(value: &Value) -> Value {
    if value[0] == "URLError" { json!("refused") } else { value.clone() }
}
