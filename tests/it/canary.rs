//! Canaries: secrets and data that must not be told, put through every reason, every command and every way to end, with all that
//! can be logged being logged. Where data is the wanted output it is asserted to be there, and nowhere else.
//!
//! | output | the key | column values | Dataverse's words | secrets |
//! |---|---|---|---|---|
//! | stdout, stderr, the host's log, `Logs`, reason phrases, names of lock blobs | no | no | no | no |
//! | an answer over HTTP | as `key` | no | as `detail`, `dataverse.message` | no |
//! | a dead letter; `dead-letters show` and `export` on stdout | yes | yes | yes | no |
//! | `dead-letters list`, `replay`, `drop`; `doctor` | no | no | no | no |

mod commands;
mod reasons;
mod scene;

use dataverse_sync::outcome::Reason;
use scene::{Door, Scene};

/// A column's value.
const COLUMN: &str = "canary-of-a-column";

/// A key's value; each record has one that begins so.
const KEY: &str = "canary-of-a-key";

/// What Dataverse says when it refuses.
const SAID: &str = "canary-of-dataverse";

#[tokio::test(flavor = "multi_thread")]
async fn every_reason_over_both_doors_tells_data_only_where_data_belongs() {
    let scene = Scene::start().await;
    for door in [Door::Http, Door::Queue] {
        for reason in Reason::ALL {
            scene.provoke(reason, door).await;
            scene.recovers().await;
        }
    }
    scene.ends_well().await;
}
