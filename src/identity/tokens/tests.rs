//! With a scripted credential and paused time.

use std::collections::VecDeque;

use async_trait::async_trait;
use azure_core::credentials::TokenRequestOptions;
use azure_core::error::ErrorKind;
use tokio::time::{advance, sleep};

use super::*;

const SCOPE: &str = "https://storage.azure.com/.default";

/// One answer: how long it takes, and the token's lifetime in seconds, or `None` for a failure.
type Answer = (u64, Option<i64>);

/// Gives its answers in turn; its tokens are numbered.
#[derive(Debug, Default)]
struct Script {
    answers: Mutex<VecDeque<Answer>>,
    requests: Mutex<usize>,
}

#[async_trait]
impl TokenCredential for Script {
    async fn get_token(&self, _: &[&str], _: Option<TokenRequestOptions<'_>>) -> azure_core::Result<AccessToken> {
        let number = {
            let mut requests = self.requests.lock().expect("no test panics with it");
            *requests += 1;
            *requests
        };
        let answer = self.answers.lock().expect("no test panics with it").pop_front();
        let (takes, life) = answer.expect("a further request");
        sleep(Duration::from_secs(takes)).await;
        let life = life.ok_or_else(|| azure_core::Error::with_message(ErrorKind::Connection, "no connection"))?;
        let expires_on = OffsetDateTime::now_utc() + time::Duration::seconds(life);
        Ok(AccessToken::new(format!("token-{number}"), expires_on))
    }
}

fn tokens(answers: &[Answer]) -> (Tokens, Arc<Script>) {
    let script = Arc::new(Script { answers: Mutex::new(answers.iter().copied().collect()), ..Script::default() });
    let opened = script.clone();
    (Tokens::new(move || Ok(opened.clone())), script)
}

impl Script {
    fn requests(&self) -> usize {
        *self.requests.lock().expect("no test panics with it")
    }
}

async fn get(tokens: &Tokens) -> Result<String, bool> {
    let token = tokens.get(SCOPE).await;
    token.map(|token| token.token.secret().to_owned()).map_err(|error| error.refused)
}

/// Lets the time pass, and with it a request that is under way.
async fn pass(seconds: u64) {
    sleep(Duration::from_secs(seconds)).await;
}

#[tokio::test(start_paused = true)]
async fn a_token_whose_early_renewal_fails_serves_until_it_expires() {
    let (tokens, script) = tokens(&[(0, Some(3_600)), (1, None), (1, None), (1, None)]);
    assert_eq!(get(&tokens).await.as_deref(), Ok("token-1"));
    pass(3_299).await;
    assert_eq!((get(&tokens).await.as_deref(), script.requests()), (Ok("token-1"), 1), "it is fresh");
    pass(1).await;
    assert_eq!(get(&tokens).await.as_deref(), Ok("token-1"));
    pass(2).await;
    assert_eq!((get(&tokens).await.as_deref(), script.requests()), (Ok("token-1"), 2), "a renewal failed");
    pass(31).await;
    assert_eq!(get(&tokens).await.as_deref(), Ok("token-1"));
    pass(266).await;
    assert_eq!((get(&tokens).await.as_deref(), script.requests()), (Ok("token-1"), 3), "one second is left");
    pass(1).await;
    assert_eq!((get(&tokens).await, script.requests()), (Err(false), 4), "it has expired");
}

#[tokio::test(start_paused = true)]
async fn a_renewal_keeps_no_caller_waiting() {
    let (tokens, script) = tokens(&[(0, Some(60)), (10, Some(60))]);
    get(&tokens).await.expect("a token");
    pass(30).await;
    let begun = Instant::now();
    assert_eq!(get(&tokens).await.as_deref(), Ok("token-1"), "halfway of a short life");
    assert_eq!(begun.elapsed(), Duration::ZERO);
    pass(11).await;
    assert_eq!((get(&tokens).await.as_deref(), script.requests()), (Ok("token-2"), 2));
}

#[tokio::test(start_paused = true)]
async fn callers_share_one_request_and_one_that_gives_up_leaves_it_to_the_next() {
    let (tokens, script) = tokens(&[(6, Some(3_600))]);
    let tries = async { timeout(Duration::from_secs(5), get(&tokens)).await };
    let (first, second) = tokio::join!(tries, timeout(Duration::from_secs(4), get(&tokens)));
    assert!(first.is_err() && second.is_err(), "6 s are more than each waits");
    assert_eq!((get(&tokens).await.as_deref(), script.requests()), (Ok("token-1"), 1));
}

#[tokio::test(start_paused = true)]
async fn a_token_that_takes_6_s_reaches_the_storage_though_each_try_ends_at_5() {
    use crate::storage::RetryPolicy;
    let (tokens, script) = tokens(&[(6, Some(3_600))]);
    let policy = RetryPolicy {
        request_timeout: Duration::from_secs(5),
        max_retries: 2,
        first_pause: Duration::from_millis(150),
    };
    let request = || async { Ok(tokens.get(SCOPE).await?.token.secret().to_owned()) };
    let retried = policy.run(|| policy.once(request())).await;
    assert_eq!((retried.result.as_deref(), script.requests()), (Ok("token-1"), 1));
}

#[tokio::test(start_paused = true)]
async fn a_request_without_an_end_is_given_up_and_the_next_caller_begins_another() {
    let (tokens, script) = tokens(&[(1_000, Some(60)), (0, Some(60))]);
    let begun = Instant::now();
    assert_eq!(get(&tokens).await, Err(false));
    assert_eq!(begun.elapsed(), REQUEST_TIMEOUT);
    assert_eq!((get(&tokens).await.as_deref(), script.requests()), (Ok("token-2"), 2));
}

#[tokio::test(start_paused = true)]
async fn a_refused_token_is_not_served_again_and_its_successor_is() {
    let (tokens, script) = tokens(&[(0, Some(3_600)), (5, Some(3_600))]);
    get(&tokens).await.expect("a token");
    pass(3_300).await;
    assert_eq!(get(&tokens).await.as_deref(), Ok("token-1"), "its renewal begins");
    tokens.forget("token-1");
    let (one, other) = tokio::join!(get(&tokens), get(&tokens));
    assert_eq!((one.as_deref(), other.as_deref()), (Ok("token-2"), Ok("token-2")));
    // The answer to an earlier request with the old token comes late.
    tokens.forget("token-1");
    assert_eq!((get(&tokens).await.as_deref(), script.requests()), (Ok("token-2"), 2));
}

#[tokio::test(start_paused = true)]
async fn a_defect_in_a_request_does_not_stop_the_next() {
    let (tokens, script) = tokens(&[]);
    assert_eq!(get(&tokens).await, Err(false));
    script.answers.lock().expect("no test panics with it").push_back((0, Some(60)));
    advance(Duration::from_secs(1)).await;
    assert_eq!(get(&tokens).await.as_deref(), Ok("token-2"));
}
