//! Processes one queue message: hides it while it runs, sends it to the handler, writes its outputs, and then deletes
//! it, makes it visible again, or moves it to the poison queue.
//!
//! Invariants: a message is deleted only after its outputs are in their queues, or after its copy is in the poison
//! queue; if the host is dropped in between, the message stays hidden until its visibility timeout and is then
//! redelivered.
//!
//! Contract: <https://learn.microsoft.com/azure/azure-functions/functions-bindings-storage-queue-trigger#poison-messages>.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use time::OffsetDateTime;
use tokio::sync::oneshot;
use tokio::time::{sleep, timeout};
use uuid::Uuid;

use super::answer::{self, Answer};
use super::app::QueueFunction;
use super::encoding::{self, Item};
use super::envelope::envelope;
use super::invocations::{InvocationLog, InvocationRecord, InvocationResult};
use super::logs::{Category, Logs, Severity};
use super::output::{self, Output};
use super::process::{Handler, State};
use super::settings::QueuePolicy;
use super::wire::Request;
use crate::queue::{Message, Queue};

/// The version of the real host that this one follows.
pub(super) const HOST_VERSION: &str = "4.1037.0.0";

/// The host's user agent.
pub(super) const USER_AGENT: &str = "Azure-Functions-Host/4.1037.0.0";

/// How long a timed-out invocation may continue before the handler is killed.
const TIMEOUT_GRACE: Duration = Duration::from_secs(2);

/// What all invocations of a host share.
#[derive(Debug)]
pub(super) struct Runtime {
    pub(super) handler: Handler,
    pub(super) invocations: Arc<InvocationLog>,
    pub(super) logs: Logs,
    pub(super) policy: QueuePolicy,
    /// How long a received message is hidden; renewed at half of it.
    pub(super) invisibility: Duration,
    /// `None`: no limit.
    pub(super) function_timeout: Option<Duration>,
    /// Calls carry a `traceparent`.
    pub(super) traces: bool,
}

/// Shared by the listeners and the HTTP frontend.
pub(super) type SharedRuntime = Arc<Runtime>;

/// A queue function and its queues.
#[derive(Debug)]
pub(super) struct Trigger {
    pub(super) function: QueueFunction,
    pub(super) queue: Queue,
    pub(super) poison: Queue,
    /// By binding name.
    pub(super) outputs: BTreeMap<String, Queue>,
}

/// The ids of an invocation.
#[derive(Debug, Clone, Copy)]
struct Ids {
    id: Uuid,
    trace: Option<Uuid>,
}

/// What happens to a message after its invocation.
#[derive(Debug, PartialEq, Eq)]
enum AfterInvocation {
    Delete,
    Show,
    Poison,
}

impl Runtime {
    /// Processes a received message and settles it.
    pub(super) async fn process(&self, trigger: &Trigger, message: Message) {
        let item = encoding::decode(&message.text, self.policy.encoding);
        let Some(item) = item.filter(|_| message.dequeue_count <= self.policy.max_dequeue_count) else {
            return self.poison(trigger, &message).await;
        };
        let (finished, until) = oneshot::channel();
        let hidden = keep_hidden(trigger.queue.clone(), message.clone(), self.invisibility, self.logs.clone(), until);
        let hidden = tokio::spawn(hidden);
        self.handler.settled().await;
        let result = self.invoke(trigger, &message, &item).await;
        drop(finished);
        let message = hidden.await.unwrap_or(message);
        match after_invocation(&result, message.dequeue_count, self.policy.max_dequeue_count) {
            AfterInvocation::Delete => self.report("delete", trigger.queue.delete(&message).await),
            AfterInvocation::Show => {
                self.report("show", trigger.queue.update(&message, self.policy.visibility_timeout).await.map(drop));
            }
            AfterInvocation::Poison => self.poison(trigger, &message).await,
        }
    }

    /// Runs `work` within the functions' time limit. `None` if it timed out: then the host kills and restarts the handler `pid`,
    /// unless the work ends shortly after.
    pub(super) async fn within_limit<T>(&self, pid: Option<u32>, work: impl Future<Output = T>) -> Option<T> {
        let Some(limit) = self.function_timeout else { return Some(work.await) };
        let mut work = std::pin::pin!(work);
        if let Ok(done) = timeout(limit, &mut work).await {
            return Some(done);
        }
        if timeout(TIMEOUT_GRACE, &mut work).await.is_err() {
            self.handler.restart(pid).await;
        }
        None
    }

    /// Logs how an invocation ended.
    pub(super) fn report_end(&self, record: &InvocationRecord) {
        let InvocationRecord { function, id, result, .. } = record;
        let (severity, outcome) = match result {
            InvocationResult::Succeeded => (Severity::Information, "Succeeded".to_owned()),
            InvocationResult::Failed(_) | InvocationResult::TimedOut => (Severity::Error, format!("{result:?}")),
        };
        if severity == Severity::Error || self.logs.prints() {
            let milliseconds = (record.ended - record.started).whole_milliseconds();
            let text = format!("Executed 'Functions.{function}' ({outcome}, Id={id}, Duration={milliseconds}ms)");
            self.logs.add(severity, Category::Invocation(*id), text);
        }
    }

    async fn invoke(&self, trigger: &Trigger, message: &Message, item: &Item) -> InvocationResult {
        let (running, started) = (self.invocations.begin(), OffsetDateTime::now_utc());
        let ids = Ids { id: Uuid::new_v4(), trace: self.traces.then(Uuid::new_v4) };
        let pid = self.handler.pid();
        let ended = self.within_limit(pid, self.call(trigger, message, item, ids)).await;
        let (result, outputs) = match ended {
            None => (InvocationResult::TimedOut, Vec::new()),
            Some(Ok(outputs)) => (InvocationResult::Succeeded, outputs),
            Some(Err(exception)) => (InvocationResult::Failed(exception), Vec::new()),
        };
        let record = InvocationRecord {
            function: trigger.function.name.clone(),
            id: ids.id,
            trace: ids.trace,
            message_id: Some(message.id.clone()),
            dequeue_count: message.dequeue_count,
            started,
            ended: OffsetDateTime::now_utc(),
            result: result.clone(),
            outputs,
        };
        self.report_end(&record);
        running.end(record);
        result
    }

    /// Returns the outputs written, or the exception text; never returns if the response does not complete the
    /// invocation.
    async fn call(
        &self,
        trigger: &Trigger,
        message: &Message,
        item: &Item,
        ids: Ids,
    ) -> Result<Vec<(String, String)>, String> {
        if let State::Down(why) = self.handler.settled().await {
            return Err(why);
        }
        let function = &trigger.function;
        let Item::Text(item) = item else {
            return Err(format!("Exception binding parameter '{}'", function.trigger.name));
        };
        let body = envelope(&function.name, &function.trigger.name, message, item, OffsetDateTime::now_utc());
        let request = request(&function.name, self.handler.wire().port(), ids, body);
        let response = self.handler.wire().send(&request).await;
        let response = response.map_err(|error| format!("An error occurred while sending the request. {error}"))?;
        let (logs, outputs) = match answer::read(&response) {
            Answer::Done { logs, outputs } => (logs, outputs),
            Answer::Failed(exception) => return Err(exception),
            Answer::Never => std::future::pending().await,
        };
        for line in logs {
            self.logs.add(Severity::Information, Category::Invocation(ids.id), line);
        }
        let outputs = output::bind(&outputs, &function.outputs, self.policy.encoding)?;
        write(trigger, &outputs).await.map_err(|error| error.to_string())?;
        Ok(outputs.into_iter().map(|output| (output.binding.name.clone(), output.text)).collect())
    }

    /// Copies the raw message and then deletes it; if the copy fails, the message is redelivered later.
    async fn poison(&self, trigger: &Trigger, message: &Message) {
        let text = format!("message {} goes to the queue '{}'", message.id, trigger.poison.name());
        self.logs.add(Severity::Warning, Category::Host, text);
        if let Err(error) = put(&trigger.poison, &message.text).await {
            return self.report("poison", Err(error));
        }
        self.invocations.poisoned();
        self.report("delete", trigger.queue.delete(message).await);
    }

    /// A failure is only logged: the message may have been redelivered to another receiver meanwhile.
    fn report(&self, action: &str, outcome: Result<(), crate::queue::Error>) {
        if let Err(error) = outcome {
            self.logs.add(Severity::Warning, Category::Host, format!("cannot {action} a message: {error}"));
        }
    }
}

fn after_invocation(result: &InvocationResult, dequeue_count: u32, max_dequeue_count: u32) -> AfterInvocation {
    match result {
        InvocationResult::Succeeded => AfterInvocation::Delete,
        InvocationResult::Failed(_) | InvocationResult::TimedOut if dequeue_count < max_dequeue_count => {
            AfterInvocation::Show
        }
        InvocationResult::Failed(_) | InvocationResult::TimedOut => AfterInvocation::Poison,
    }
}

/// Renews at half of the time until `finished` is dropped; returns the message with its last pop receipt. A pending
/// renewal is always awaited: its response has the receipt that the deletion needs.
async fn keep_hidden(
    queue: Queue,
    mut message: Message,
    invisibility: Duration,
    logs: Logs,
    mut finished: oneshot::Receiver<()>,
) -> Message {
    loop {
        tokio::select! {
            _ = &mut finished => return message,
            () = sleep(invisibility / 2) => {}
        }
        match queue.update(&message, invisibility).await {
            Ok(receipt) => message.pop_receipt = receipt,
            Err(error) => logs.add(Severity::Warning, Category::Host, format!("cannot renew a message: {error}")),
        }
    }
}

fn request(function: &str, port: u16, Ids { id, trace }: Ids, body: String) -> Request {
    let mut headers = vec![
        ("Host", format!("127.0.0.1:{port}")),
        ("X-Azure-Functions-HostVersion", HOST_VERSION.to_owned()),
        ("X-Azure-Functions-InvocationId", id.to_string()),
        ("User-Agent", USER_AGENT.to_owned()),
        ("Content-Type", "application/json; charset=utf-8".to_owned()),
    ];
    if let Some(trace) = trace {
        let span = Uuid::new_v4().simple().to_string();
        headers.push(("traceparent", format!("00-{}-{}-00", trace.simple(), &span[..16])));
    }
    Request {
        method: "POST".to_owned(),
        target: format!("/{function}"),
        headers: headers.into_iter().map(|(name, value)| (name.to_owned(), value.into_bytes())).collect(),
        body: body.into_bytes(),
        chunked: true,
    }
}

async fn write(trigger: &Trigger, outputs: &[Output<'_>]) -> Result<(), crate::queue::Error> {
    for output in outputs {
        let queue = trigger.outputs.get(&output.binding.name).expect("there is a queue for every output binding");
        put(queue, &output.raw).await?;
    }
    Ok(())
}

/// The host creates the queues that it writes to.
async fn put(queue: &Queue, raw: &str) -> Result<(), crate::queue::Error> {
    match queue.put(raw).await {
        Err(error) if error.is("QueueNotFound") => {
            queue.create_if_missing().await?;
            queue.put(raw).await.map(drop)
        }
        settled => settled.map(drop),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_success_deletes_the_message() {
        assert_eq!(after_invocation(&InvocationResult::Succeeded, 9, 5), AfterInvocation::Delete);
    }

    #[test]
    fn a_failure_shows_the_message_again_until_its_last_delivery() {
        for result in [InvocationResult::Failed("x".to_owned()), InvocationResult::TimedOut] {
            assert_eq!(after_invocation(&result, 4, 5), AfterInvocation::Show);
            assert_eq!(after_invocation(&result, 5, 5), AfterInvocation::Poison);
        }
    }

    #[test]
    fn a_request_names_the_invocation_the_host_and_the_trace_if_there_is_one() {
        let id = Uuid::new_v4();
        let untraced = request("SyncQueue", 7071, Ids { id, trace: None }, "{}".to_owned());
        assert!(untraced.headers.iter().all(|(name, _)| name != "traceparent"));
        let request = request("SyncQueue", 7071, Ids { id, trace: Some(Uuid::new_v4()) }, "{}".to_owned());
        let header = |wanted: &str| {
            let found = request.headers.iter().find(|(name, _)| name == wanted);
            String::from_utf8(found.expect("it is sent").1.clone()).expect("it is text")
        };
        assert_eq!((request.method.as_str(), request.target.as_str()), ("POST", "/SyncQueue"));
        assert_eq!(header("X-Azure-Functions-InvocationId"), id.to_string());
        assert_eq!(header("X-Azure-Functions-HostVersion"), HOST_VERSION);
        assert_eq!(header("traceparent").split('-').map(str::len).collect::<Vec<_>>(), [2, 32, 16, 2]);
        assert!(header("Content-Type").starts_with("application/json"));
    }
}
