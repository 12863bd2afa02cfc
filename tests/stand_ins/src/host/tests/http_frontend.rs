//! HTTP through the frontend. The queue function of the app polls a closed port.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::super::wire::{Request, Response, Wire};
use super::*;

pub(super) const NOWHERE: &str = "AccountName=a;AccountKey=a2V5;QueueEndpoint=http://127.0.0.1:9/a";

struct HttpFrontend {
    _app: StagedApp,
    handler: ScriptedHandler,
    host: Host,
    client: Wire,
}

impl HttpFrontend {
    async fn start() -> Self {
        Self::of(StagedApp::new("exit 0"), |_| {}).await
    }

    async fn newer() -> Self {
        let app = StagedApp::new("exit 0");
        app.write("host.json", &StagedApp::HOST.replace("\"enableF", "\"enableProxyingHttpRequest\":true,\"enableF"));
        Self::of(app, |options| options.newer = true).await
    }

    async fn of(app: StagedApp, change: impl FnOnce(&mut Options)) -> Self {
        let handler = ScriptedHandler::start().await;
        let mut options = options(&app, NOWHERE);
        change(&mut options);
        let host = Host::attach(options, handler.server.port()).await.expect("it starts");
        let client = Wire::new(host.port);
        Self { _app: app, handler, host, client }
    }

    async fn refused(&self, method: &str, target: &str, headers: &[(&str, &str)]) -> u16 {
        let request = request(method, target, headers, "{}");
        self.client.send(&request).await.expect("the front answers").status
    }

    async fn answered(&mut self, request: &Request) -> (Response, Uri, HeaderMap, Bytes) {
        let call = async {
            let call = self.handler.next().await;
            let (uri, headers, body) = (call.uri.clone(), call.headers.clone(), call.body.clone());
            call.answer(422, "{\"detail\":1}");
            (uri, headers, body)
        };
        let (response, (uri, headers, body)) = tokio::join!(self.client.send(request), call);
        (response.expect("the front answers"), uri, headers, body)
    }
}

fn request(method: &str, target: &str, headers: &[(&str, &str)], body: &str) -> Request {
    let mut all = vec![("Host".to_owned(), b"front".to_vec())];
    all.extend(headers.iter().map(|(name, value)| ((*name).to_owned(), value.as_bytes().to_vec())));
    Request {
        method: method.to_owned(),
        target: target.to_owned(),
        headers: all,
        body: body.as_bytes().to_vec(),
        chunked: false,
    }
}

#[tokio::test]
async fn a_request_is_forwarded_as_it_is_and_the_answer_comes_back_as_it_is() {
    let mut front = HttpFrontend::start().await;
    let key = front.host.function_key().to_owned();
    let headers = [("x-functions-key", key.as_str()), ("traceparent", "00-1-2-00")];
    let request = request("POST", "/api/records?a=b%20c", &headers, "{\"x\":1}");
    let (response, uri, headers, body) = front.answered(&request).await;
    assert_eq!((response.status, response.body), (422, b"{\"detail\":1}".to_vec()));
    assert_eq!((uri.to_string().as_str(), &body[..]), ("/api/records?a=b%20c", &b"{\"x\":1}"[..]));
    assert_eq!(headers["traceparent"], "00-1-2-00");
    let records = front.host.invocations();
    assert_eq!((records.len(), &records[0].result), (1, &InvocationResult::Succeeded));
    assert_eq!(headers["x-azure-functions-invocationid"], records[0].id.to_string());
}

#[tokio::test]
async fn the_key_may_be_in_the_query_and_no_trace_is_made_up() {
    let mut front = HttpFrontend::start().await;
    let target = format!("/API/Records?code={}", front.host.function_key());
    let request = request("POST", &target, &[], "{}");
    let (_, _, headers, _) = front.answered(&request).await;
    assert!(!headers.contains_key("traceparent"));
}

#[tokio::test]
async fn a_wrong_key_is_401_and_a_wrong_route_or_method_is_404() {
    let front = HttpFrontend::start().await;
    let key = [("x-functions-key", front.host.function_key())];
    assert_eq!(front.refused("POST", "/api/records", &[]).await, 401);
    assert_eq!(front.refused("POST", "/api/records?code=wrong", &[("x-functions-key", "wrong")]).await, 401);
    let right = format!("/api/records?code={}", front.host.function_key());
    assert_eq!(front.refused("POST", &right, &[("x-functions-key", "wrong")]).await, 401);
    assert_eq!(front.refused("POST", "/records", &key).await, 404);
    assert_eq!(front.refused("PUT", "/api/records", &key).await, 404);
}

/// An answer to a chunked request.
async fn chunked(host: &Host) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", host.port)).await.expect("the front listens");
    let key = host.function_key();
    let head = format!("POST /api/records?code={key} HTTP/1.1\r\nHost: front\r\nConnection: close\r\n");
    let request = format!("{head}Content-Encoding: x\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{{}}\r\n0\r\n\r\n");
    stream.write_all(request.as_bytes()).await.expect("the front reads");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.expect("the front answers and closes");
    answer
}

#[tokio::test]
async fn a_chunked_body_reaches_the_handler_of_a_newer_host_only() {
    let front = HttpFrontend::start().await;
    assert!(chunked(&front.host).await.starts_with("HTTP/1.1 500 "));
    let HttpFrontend { _app, mut handler, host, .. } = HttpFrontend::newer().await;
    let call = async {
        let call = handler.next().await;
        let sent = (call.body.to_vec(), call.headers.contains_key("content-encoding"));
        call.answer(422, "{}");
        sent
    };
    let (answer, sent) = tokio::join!(chunked(&host), call);
    assert!(answer.starts_with("HTTP/1.1 422 "), "{answer}");
    assert_eq!(sent, (b"{}".to_vec(), true));
}

#[tokio::test]
async fn the_root_is_the_hosts_own_page_and_its_administration_is_closed() {
    let front = HttpFrontend::start().await;
    let key = [("x-functions-key", front.host.function_key())];
    assert_eq!(front.refused("GET", "/", &[]).await, 200);
    assert_eq!(front.refused("POST", "/admin/functions/SyncQueue", &key).await, 403);
    assert_eq!(front.refused("POST", "/admin/functions/SyncQueue", &[]).await, 401);
}

#[tokio::test]
async fn the_callers_agent_is_followed_by_the_hosts() {
    let mut front = HttpFrontend::start().await;
    let key = front.host.function_key().to_owned();
    let headers = [("x-functions-key", key.as_str()), ("user-agent", "curl/8")];
    let (_, _, headers, _) = front.answered(&request("POST", "/api/records/", &headers, "{}")).await;
    assert_eq!(headers["user-agent"], "curl/8 Azure-Functions-Host/4.1037.0.0");
}

#[tokio::test]
async fn a_host_that_closes_answers_what_it_has_and_then_refuses_connections() {
    let mut front = HttpFrontend::start().await;
    let request = request("POST", "/api/records", &[("x-functions-key", front.host.function_key())], "{}");
    let (client, port) = (front.client, front.host.port);
    let answer = tokio::spawn(async move { client.send(&request).await.expect("the front answers").status });
    let call = front.handler.next().await;
    let drained = tokio::spawn(async move { front.host.drain(Duration::from_secs(10)).await });
    while TcpStream::connect(("127.0.0.1", port)).await.is_ok() {
        tokio::task::yield_now().await;
    }
    call.answer(200, "{}");
    assert_eq!((answer.await.expect("it does not panic"), drained.await.expect("it does not panic")), (200, true));
}

#[tokio::test]
async fn a_handler_that_does_not_listen_is_500() {
    let HttpFrontend { _app, handler, host, client } = HttpFrontend::start().await;
    drop(handler);
    let request = request("POST", "/api/records", &[("x-functions-key", host.function_key())], "{}");
    let gone = client.send(&request).await.expect("the front answers").status;
    assert_eq!((gone, host.stats().failed), (500, 1));
}
