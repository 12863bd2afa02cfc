//! Verification before a skip: pairs of first writes by one source that race without a lock, with values that Dataverse
//! returns in another form than they were sent in. The stand-in's journal counts the requests.

use std::time::Duration;

use futures::future::join_all;
use sandbox::world::{Options, World};
use serde_json::{Value, json};
use stand_ins::dataverse::{Effect, Fault, Status};
use stand_ins::host::Host;

use crate::caller::{Answer, Caller, contact};
use crate::one_contact::UPSERTED;

/// Long enough for both writes of a pair to be looked up before either is committed.
const WINDOW: Duration = Duration::from_millis(1_500);

const ALREADY_WRITTEN: (u16, &str, &str) = (200, "skipped", "already_written");

/// The two GETs of one metadata read: the table and its columns.
const METADATA_READS: usize = 2;

/// A host without locks, and two accounts to bind to.
struct Scene {
    world: World,
    caller: Caller,
    /// Their primary keys.
    accounts: [String; 2],
    _host: Host,
}

impl Scene {
    async fn start() -> Self {
        // All pairs run concurrently after the first answer.
        let dataverse = stand_ins::dataverse::Options { dop_hint: 52, ..Default::default() };
        let world = crate::world_with(Options { dataverse, ..Options::default() }).await;
        let host = world.host("instance-1", &[("LOCK_MODE", "off")]).await.expect("the host starts");
        let insert = |number| world.dataverse.insert("accounts", &json!({ "accountnumber": number }));
        let accounts = ["7", "8"].map(insert);
        let scene = Self { caller: Caller::of(&host), world, accounts, _host: host };
        // Gets the handler's token before the races begin.
        assert_eq!(scene.caller.post(&contact("C0", &json!({ "firstname": "Ada" }))).await.verdict(), UPSERTED);
        scene.world.dataverse.set_race_window(WINDOW);
        scene
    }

    /// Refuses all metadata reads.
    fn forbid_metadata(&self) {
        let forbidden = Status::new(403, "0x80040220", "Principal user is missing prvReadEntity privilege.");
        let fault = Fault::new(Effect::Status(forbidden)).method("GET").set("EntityDefinitions").until_cleared();
        self.world.dataverse.fault(fault);
    }

    /// Posts the pairs concurrently, each with its own key, and returns the answers per pair.
    async fn race(&self, pairs: &[[Value; 2]]) -> Vec<Vec<Answer>> {
        join_all(pairs.iter().enumerate().map(async |(n, [one, other])| {
            let (one, other) = (contact(&key(n), one), contact(&key(n), other));
            let (one, other) = tokio::join!(self.caller.post(&one), self.caller.post(&other));
            vec![one, other]
        }))
        .await
    }

    /// The number of PATCH requests for the pair.
    fn patches(&self, pair: usize) -> usize {
        let journal = self.world.dataverse.journal();
        let key = format!("employeeid='{}'", key(pair));
        journal.iter().filter(|entry| entry.method == "PATCH" && entry.key == key).count()
    }

    fn reads(&self, status: u16) -> usize {
        self.world.dataverse.requests().of("GET", status)
    }
}

fn key(pair: usize) -> String {
    format!("C-{pair}")
}

/// The verdicts, sorted.
fn verdicts(answers: &[Answer]) -> Vec<(u16, &str, &str)> {
    let mut verdicts: Vec<_> = answers.iter().map(Answer::verdict).collect();
    verdicts.sort_unstable();
    verdicts
}

/// Pairs whose values Dataverse returns in another form and that can be verified without metadata.
fn provable(scene: &Scene) -> Vec<[Value; 2]> {
    let [one, other] = scene.accounts.each_ref().map(|id| {
        let address = format!("/accounts({})", id.to_uppercase());
        json!({ "parentcustomerid_account@odata.bind": address })
    });
    vec![
        [
            json!({ "lastonholdtime": "2024-03-01T10:00:00+02:00" }),
            json!({ "lastonholdtime": "2024-03-01T10:00:01+02:00" }),
        ],
        [
            json!({ "new_externalid": "{AAAAAAAA-0000-4000-8000-000000000001}" }),
            json!({ "new_externalid": "{AAAAAAAA-0000-4000-8000-000000000002}" }),
        ],
        [one, other],
    ]
}

/// Null, which can be verified if the metadata shows that the column is readable.
fn null() -> [Value; 2] {
    [json!({ "firstname": null }), json!({ "firstname": "Ada" })]
}

/// Pairs whose values Dataverse returns in another form and that can never be verified.
fn unprovable() -> [[Value; 2]; 3] {
    let bind = |number: &str| {
        let address = format!("/accounts(accountnumber='{number}')");
        json!({ "parentcustomerid_account@odata.bind": address })
    };
    [
        [json!({ "new_topics": "1, 9" }), json!({ "new_topics": "1, 8" })],
        [json!({ "address1_latitude": 47.639_583 }), json!({ "address1_latitude": 47.639_593 })],
        [bind("7"), bind("8")],
    ]
}

/// Pairs of identical writes.
fn twice(pairs: impl IntoIterator<Item = [Value; 2]>) -> Vec<[Value; 2]> {
    pairs.into_iter().map(|[value, _]| [value.clone(), value]).collect()
}

#[tokio::test]
async fn identical_first_writes_are_sent_once_each_where_their_values_are_proven() {
    let scene = Scene::start().await;
    let pairs = twice(provable(&scene).into_iter().chain([null()]));
    for (n, answers) in scene.race(&pairs).await.iter().enumerate() {
        assert_eq!(verdicts(answers), [UPSERTED, ALREADY_WRITTEN], "{}", pairs[n][0]);
        assert_eq!(scene.patches(n), 2, "{}", pairs[n][0]);
    }
    assert_eq!(scene.reads(200), pairs.len() + METADATA_READS, "a row for each pair, and one look for the null");
}

#[tokio::test]
async fn without_metadata_a_null_is_sent_again_and_everything_else_is_proven() {
    let scene = Scene::start().await;
    scene.forbid_metadata();
    let pairs = twice([null(), null()].into_iter().chain(provable(&scene)));
    for (n, answers) in scene.race(&pairs).await.iter().enumerate() {
        let (second, patches) = if n < 2 { (UPSERTED, 3) } else { (ALREADY_WRITTEN, 2) };
        assert_eq!(verdicts(answers), [UPSERTED, second], "{}", pairs[n][0]);
        assert_eq!(scene.patches(n), patches, "{}", pairs[n][0]);
    }
    assert_eq!(scene.reads(403), 1, "the refusal is remembered");
}

#[tokio::test]
async fn identical_first_writes_are_sent_again_where_a_value_is_not_proven() {
    let scene = Scene::start().await;
    let pairs = twice(unprovable());
    for (n, answers) in scene.race(&pairs).await.iter().enumerate() {
        assert_eq!(verdicts(answers), [UPSERTED, UPSERTED], "{}", pairs[n][0]);
        assert_eq!(scene.patches(n), 3, "{}", pairs[n][0]);
    }
    assert_eq!(scene.reads(200), pairs.len(), "no metadata");
}

#[tokio::test]
async fn values_that_differ_are_sent_again_in_whatever_form() {
    let scene = Scene::start().await;
    let pairs: Vec<_> = provable(&scene).into_iter().chain(unprovable()).chain([null()]).collect();
    for (n, answers) in scene.race(&pairs).await.iter().enumerate() {
        assert_eq!(verdicts(answers), [UPSERTED, UPSERTED], "{:?}", pairs[n]);
        assert_eq!(scene.patches(n), 3, "{:?}", pairs[n]);
    }
}

#[tokio::test]
async fn where_every_value_comes_back_as_it_was_sent_no_metadata_is_read() {
    let scene = Scene::start().await;
    let same = json!({ "firstname": "Ada", "new_topics": "1,9", "creditlimit": 1.5, "birthdate": "1990-02-03" });
    let pairs = [[same.clone(), same], [json!({ "firstname": "Ada" }), json!({ "firstname": "Eve" })]];
    let answers = scene.race(&pairs).await;
    assert_eq!(verdicts(&answers[0]), [UPSERTED, ALREADY_WRITTEN]);
    assert_eq!(verdicts(&answers[1]), [UPSERTED, UPSERTED]);
    assert_eq!(scene.reads(200), 2, "one row for each loser");
}

#[tokio::test]
async fn a_write_whose_answer_is_lost_is_settled_by_a_row_in_another_form() {
    let scene = Scene::start().await;
    for (n, [columns, _]) in provable(&scene).into_iter().chain([null()]).enumerate() {
        // The first dropped connection is retried.
        scene.world.dataverse.fault(Fault::new(Effect::DropAfterCommit).method("PATCH").key(&key(n)).times(2));
        let answer = scene.caller.post(&contact(&key(n), &columns)).await;
        assert_eq!(answer.verdict(), UPSERTED, "{columns}: {}", answer.text);
        assert_eq!(scene.patches(n), 2, "{columns}");
    }
}
