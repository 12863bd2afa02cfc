//! The demo that `cargo sandbox` runs, as a test.

use sandbox::demo;
use sandbox::world::{Options, StorageKind};

/// Two for each key, which race.
const MESSAGES: usize = 200;

async fn every_claim_holds(storage: StorageKind) {
    let options = Options { handler: super::handler(), storage, ..Options::default() };
    assert!(demo::run(options, 3, MESSAGES).await.expect("the demo runs"), "a claim does not hold, see above");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_claim_of_the_demo_holds_on_the_embedded_storage() {
    every_claim_holds(StorageKind::Embedded).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_claim_of_the_demo_holds_on_azurite() {
    every_claim_holds(StorageKind::Azurite).await;
}
