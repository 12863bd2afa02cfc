//! Calls from web pages: refused when they reach the handler directly, served when the host forwards them (CORS is the host's).

use serde_json::json;
use stand_ins::host::{Host, Options as HostOptions};
use stand_ins::net::http_client;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::{at_handler, start};
use crate::caller::{UPSERTED, answer, contact};

fn record(key: &str) -> String {
    contact(key, &json!({ "firstname": "Ada" })).to_string()
}

#[tokio::test]
async fn a_page_may_call_neither_function_and_nothing_of_its_request_is_in_the_answer() {
    let (world, host, _) = start(&[]).await;
    let invocation = json!({ "Data": { "record": record("C1") }, "Metadata": {} }).to_string();
    let own = at_handler(&host, "");
    for (path, body) in [("/api/records", record("C1")), ("/API/records/", record("C1")), ("/SyncQueue", invocation)] {
        let call = || http_client().post(at_handler(&host, path)).body(body.clone());
        for (name, value) in [
            ("origin", "https://evil.example"),
            ("origin", "null"),
            ("sec-fetch-site", "cross-site"),
            ("sec-fetch-site", "same-site"),
            ("host", "evil.example"),
        ] {
            let answer = answer(call().header(name, value)).await;
            assert_eq!(answer.status, 403, "{path} {name}: {value}: {}", answer.text);
            assert_eq!(answer.header("content-type"), Some("application/problem+json"));
            assert!(!answer.text.contains("evil"), "{}", answer.text);
            let members: Vec<_> = answer.body.as_object().expect("an object").keys().collect();
            assert_eq!(members, ["detail", "status", "title"]);
        }
        let allowed = answer(call().header("origin", &own).header("sec-fetch-site", "same-origin")).await;
        assert_eq!(allowed.status, 200, "{path}: {}", allowed.text);
    }
    let preflight = http_client().request(reqwest::Method::OPTIONS, at_handler(&host, "/api/records"));
    let preflight = answer(preflight.header("origin", "https://evil.example")).await;
    assert_eq!((preflight.status, preflight.header("access-control-allow-origin")), (405, None));
    assert_eq!(world.dataverse.rows("contacts").len(), 1);
}

/// Its page is of our own origin for its browser, and may add the host's header.
#[tokio::test]
async fn a_page_whose_name_resolves_to_this_machine_is_refused_whatever_it_sends() {
    let (_world, host, _) = start(&[]).await;
    let name = format!("evil.example:{}", host.port_of_handler());
    let call = http_client().post(at_handler(&host, "/api/records")).header("host", &name);
    let call = call.header("origin", format!("http://{name}")).header("sec-fetch-site", "same-origin");
    let call = call.header("x-azure-functions-invocationid", "5b14f7c3-b8e4-4ecc-9d9a-b2068885c43d");
    assert_eq!(answer(call.body(record("C1"))).await.status, 403);
}

#[tokio::test]
async fn the_body_of_a_refused_call_is_not_read() {
    let (_world, host, _) = start(&[]).await;
    let mut stream = TcpStream::connect(("127.0.0.1", host.port_of_handler())).await.expect("it listens");
    let head = "POST /SyncQueue HTTP/1.1\r\nOrigin: https://evil.example\r\nContent-Length: 60000000\r\n\r\n";
    stream.write_all(head.as_bytes()).await.expect("it is read");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.expect("the handler closes the connection");
    assert!(answer.starts_with("HTTP/1.1 403 "), "{answer}");
}

#[tokio::test]
async fn a_call_that_the_host_forwards_is_served_whatever_its_browser_said() {
    let world = crate::world().await;
    for (number, newer) in [false, true].into_iter().enumerate() {
        let options = HostOptions { newer, ..world.host_options(&format!("host-{number}"), &[]) };
        let host = Host::start(options).await.expect("the host starts");
        let call = http_client().post(format!("{}/api/records", host.http_url()));
        let call = call.header("x-functions-key", host.function_key()).header("origin", "https://portal.example");
        let answer = answer(call.header("sec-fetch-site", "cross-site").body(record(&format!("C{number}")))).await;
        assert_eq!(answer.verdict(), UPSERTED, "{newer}: {}", answer.text);
    }
}
