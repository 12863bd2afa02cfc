//! Every reason, command and kind of exit, once: the answer of each reason is the contract's, and secrets and data that
//! must not leak (canaries) are in no output, at log level trace. Data may appear only in the outputs marked below, and
//! must appear there.
//!
//! | output | the key | column values | Dataverse's message | secrets |
//! |---|---|---|---|---|
//! | stdout, stderr, the host's log, `Logs`, reason phrases, names of lock blobs | no | no | no | no |
//! | traces and metrics | no | no | no | no |
//! | an answer over HTTP | as `key` | no | as `detail`, `dataverse.message`, unless only an operator can act on it | no |
//! | a dead letter; `dead-letters show` and `export` on stdout | yes | yes | yes | no |
//! | `dead-letters list`, `replay`, `drop`; `doctor` | no | no | no | no |

mod canary_host;
mod commands;
mod reasons;

use canary_host::{CanaryHost, Trigger};
use dataverse_sync::outcome::Reason;

/// A column's value.
const COLUMN: &str = "canary-of-a-column";

/// The prefix of every record's key value.
const KEY: &str = "canary-of-a-key";

/// Dataverse's message in a refusal.
const SAID: &str = "canary-of-dataverse";

#[tokio::test(flavor = "multi_thread")]
async fn every_reason_of_an_http_call_has_its_answer_and_shows_data_only_where_it_is_expected() {
    check(Trigger::Http).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_reason_of_a_queue_message_has_its_answer_and_shows_data_only_where_it_is_expected() {
    check(Trigger::Queue).await;
}

async fn check(trigger: Trigger) {
    let host = CanaryHost::start().await;
    for reason in Reason::ALL {
        host.provoke(reason, trigger).await;
        host.recovers().await;
    }
    host.check_logs_and_exports().await;
}
