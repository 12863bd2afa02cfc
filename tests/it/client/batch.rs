//! A batch's body as the stand-in reads it, and its answer as the client reads it: every request has the effect and the answer
//! that it has alone.

use std::time::Duration;

use bytes::Bytes;
use dataverse_sync::dataverse::client::multipart;
use http::Response;
use proptest::prelude::*;
use reqwest::header::{CONTENT_TYPE, IF_MATCH, IF_NONE_MATCH};
use reqwest::{Method, Request};
use serde_json::{Value, json};
use stand_ins::dataverse::{Dataverse, Effect, Entry, Fault, Options};

use super::trust;

/// A stand-in and a client.
struct Service {
    dataverse: Dataverse,
    http: reqwest::Client,
}

impl Service {
    async fn start() -> Self {
        let options = Options { race_window: Duration::ZERO, ..Options::default() };
        let dataverse = Dataverse::start(options).await.expect("loopback has a free port");
        Self { dataverse, http: trust::client(&trust::authority()) }
    }

    fn request(&self, method: Method, path: &str, body: Option<&Value>) -> Request {
        let url = format!("{}/api/data/v9.2/{path}", self.dataverse.url()).parse().expect("a URL");
        let mut request = Request::new(method, url);
        if let Some(body) = body {
            request.headers_mut().insert(CONTENT_TYPE, "application/json".parse().expect("a value"));
            *request.body_mut() = Some(body.to_string().into());
        }
        request
    }

    async fn send(&self, mut request: Request) -> reqwest::Response {
        request.headers_mut().insert("authorization", "Bearer any".parse().expect("a value"));
        self.http.execute(request).await.expect("the stand-in answers")
    }

    /// The answers, as far as they arrive.
    async fn batch(&self, requests: &[Request]) -> Vec<Option<Response<Bytes>>> {
        let (content_type, body) = multipart::write(requests);
        let mut request = self.request(Method::POST, "$batch", None);
        request.headers_mut().insert(CONTENT_TYPE, content_type);
        request.headers_mut().insert("prefer", "odata.continue-on-error".parse().expect("a value"));
        *request.body_mut() = Some(body.into());
        let mut response = self.send(request).await;
        let content_type = response.headers()[CONTENT_TYPE].to_str().expect("plain text").to_owned();
        let mut body = Vec::new();
        while let Ok(Some(chunk)) = response.chunk().await {
            body.extend_from_slice(&chunk);
        }
        multipart::read(&content_type, &body.into(), requests.len())
    }
}

/// A request as the property chooses it.
#[derive(Debug, Clone)]
struct Choice {
    method: Method,
    key: String,
    condition: Option<(reqwest::header::HeaderName, &'static str)>,
    text: String,
}

impl Choice {
    fn request(&self, service: &Service) -> Request {
        let body = (self.method == Method::PATCH).then(|| json!({ "firstname": self.text }));
        let path = format!("contacts(employeeid='{}')", self.key);
        let mut request = service.request(self.method.clone(), &path, body.as_ref());
        if let Some((name, value)) = self.condition.clone() {
            request.headers_mut().insert(name, value.parse().expect("a value"));
        }
        request
    }
}

fn choice() -> impl Strategy<Value = Choice> {
    let methods = prop::sample::select(vec![Method::PATCH, Method::PATCH, Method::DELETE, Method::GET]);
    let conditions = [None, Some((IF_MATCH, "*")), Some((IF_NONE_MATCH, "*")), Some((IF_MATCH, "W/\"1\""))];
    let text = prop_oneof![".{0,20}", Just("\r\n--batch_1--\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n".to_owned())];
    (methods, "[ab ü]", prop::sample::select(conditions.to_vec()), text)
        .prop_map(|(method, key, condition, text)| Choice { method, key, condition, text })
}

/// What an answer and an entry of the journal say, apart from ids, times and addresses of this run.
fn seen(status: u16, body: &[u8]) -> (u16, Value) {
    let mut body: Value = serde_json::from_slice(body).unwrap_or_default();
    for member in ["@odata.context", "contactid", "createdon", "modifiedon"] {
        body.as_object_mut().map(|row| row.remove(member));
    }
    (status, body)
}

fn written(entry: Entry) -> (String, String, Option<u16>, Value) {
    (entry.method, entry.key, entry.status, entry.values.into())
}

async fn every_answer_is_as_alone(choices: Vec<Choice>) {
    let (single, batched) = (Service::start().await, Service::start().await);
    let requests: Vec<_> = choices.iter().map(|choice| choice.request(&batched)).collect();
    let answers = batched.batch(&requests).await;
    for (choice, answer) in choices.iter().zip(&answers) {
        let alone = single.send(choice.request(&single)).await;
        let (status, body) = (alone.status().as_u16(), alone.bytes().await.expect("a body"));
        let answer = answer.as_ref().unwrap_or_else(|| panic!("no answer to {choice:?}: {answers:?}"));
        assert_eq!(seen(answer.status().as_u16(), answer.body()), seen(status, &body), "{choice:?}");
    }
    let [single, batched] = [single, batched].map(|service| service.dataverse.journal().into_iter().map(written));
    assert_eq!(batched.collect::<Vec<_>>(), single.collect::<Vec<_>>());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn a_request_has_the_effect_and_the_answer_in_a_batch_that_it_has_alone(choices in prop::collection::vec(choice(), 1..30)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(every_answer_is_as_alone(choices));
    }
}

#[tokio::test]
async fn each_fault_of_a_batch_leaves_the_outcomes_in_doubt_unknown() {
    for (effect, known) in [
        (Effect::CutMidway, [Some(204), None, None]),
        (Effect::NoStatus, [Some(204), None, Some(204)]),
        (Effect::WrongOrder, [None, None, None]),
        (Effect::StopAtError, [Some(204), Some(400), None]),
        (Effect::WrappedDeadlock, [Some(204), Some(400), Some(204)]),
    ] {
        let service = Service::start().await;
        let is_of_batch = matches!(effect, Effect::WrongOrder | Effect::StopAtError);
        let fault = Fault::new(effect.clone());
        service.dataverse.fault(if is_of_batch { fault } else { fault.key("E2") });
        let columns = if effect == Effect::StopAtError { json!({ "nosuch": 1 }) } else { json!({}) };
        let upsert = |key| {
            let columns = if key == "E2" { &columns } else { &json!({}) };
            service.request(Method::PATCH, &format!("contacts(employeeid='{key}')"), Some(columns))
        };
        let answers = service.batch(&["E1", "E2", "E3"].map(upsert)).await;
        let statuses: Vec<_> =
            answers.iter().map(|answer| answer.as_ref().map(|answer| answer.status().as_u16())).collect();
        assert_eq!(statuses, known, "{effect:?}");
    }
}
