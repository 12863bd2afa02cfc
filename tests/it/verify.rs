//! Proof before a skip: pairs of first writes by one source that race without a lock, with values that come back in another form
//! than they were sent in. The stand-in's journal counts what was sent.

use std::time::Duration;

use futures::future::join_all;
use sandbox::dataverse::{Effect, Fault, Status};
use sandbox::host::Host;
use sandbox::world::{Options, World};
use serde_json::{Value, json};

use crate::caller::{Answer, Caller, contact};
use crate::one_contact::UPSERTED;

/// Wide enough for both writes of a pair to be looked up before either is committed.
const WINDOW: Duration = Duration::from_millis(1_500);

const ALREADY_WRITTEN: (u16, &str, &str) = (200, "skipped", "already_written");

/// What is read to put the definition of contacts together: the table, its columns, four casts, its lookups.
const DEFINITION_READS: usize = 7;

/// A host without locks, and two accounts to be bound.
struct Scene {
    world: World,
    caller: Caller,
    _host: Host,
}

impl Scene {
    async fn start() -> Self {
        // All pairs are under way at once from the first answer on.
        let dataverse = sandbox::dataverse::Options { dop_hint: 52, ..Default::default() };
        let world = crate::world_with(Options { dataverse, ..Options::default() }).await;
        let host = world.host("instance-1", &[("LOCK_MODE", "off")]).await.expect("the host starts");
        for number in ["O'Neil (7)", "8"] {
            world.dataverse.insert("accounts", &json!({ "accountnumber": number }));
        }
        let scene = Self { caller: Caller::of(&host), world, _host: host };
        // The handler gets its token before the races begin.
        assert_eq!(scene.caller.post(&contact("C0", &json!({ "firstname": "Ada" }))).await.told(), UPSERTED);
        scene.world.dataverse.set_race_window(WINDOW);
        scene
    }

    /// Metadata may not be read.
    fn forbid_metadata(&self) {
        let forbidden = Status::new(403, "0x80040220", "Principal user is missing prvReadEntity privilege.");
        let fault = Fault::new(Effect::Status(forbidden)).method("GET").set("EntityDefinitions").until_cleared();
        self.world.dataverse.fault(fault);
    }

    /// Posts the pairs all at once, each under a key of its own, and gives the answers pair by pair.
    async fn race(&self, pairs: &[[Value; 2]]) -> Vec<Vec<Answer>> {
        join_all(pairs.iter().enumerate().map(async |(n, [one, other])| {
            let (one, other) = (contact(&key(n), one), contact(&key(n), other));
            let (one, other) = tokio::join!(self.caller.post(&one), self.caller.post(&other));
            vec![one, other]
        }))
        .await
    }

    /// How many PATCHes the pair took.
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

/// Outcome and reason of both, in order of their names.
fn told(answers: &[Answer]) -> Vec<(u16, &str, &str)> {
    let mut told: Vec<_> = answers.iter().map(Answer::told).collect();
    told.sort_unstable();
    told
}

/// One value of each kind that comes back in another form, and another value that no rounding makes equal.
fn forms() -> [[Value; 2]; 5] {
    let bind = |number: &str| {
        let address = format!("/accounts(accountnumber='{number}')");
        json!({ "parentcustomerid_account@odata.bind": address })
    };
    [
        [json!({ "new_topics": "1, 9" }), json!({ "new_topics": "1, 8" })],
        [json!({ "address1_latitude": 47.639_583 }), json!({ "address1_latitude": 47.639_593 })],
        [
            json!({ "lastonholdtime": "2024-03-01T10:00:00+02:00" }),
            json!({ "lastonholdtime": "2024-03-01T10:00:01+02:00" }),
        ],
        [
            json!({ "new_externalid": "{AAAAAAAA-0000-4000-8000-000000000001}" }),
            json!({ "new_externalid": "{AAAAAAAA-0000-4000-8000-000000000002}" }),
        ],
        [bind("O''Neil%20(7)"), bind("8")],
    ]
}

#[tokio::test]
async fn identical_first_writes_are_sent_once_each_whatever_form_their_values_come_back_in() {
    let scene = Scene::start().await;
    let pairs = forms().map(|[value, _]| [value.clone(), value]);
    for (n, answers) in scene.race(&pairs).await.iter().enumerate() {
        assert_eq!(told(answers), [UPSERTED, ALREADY_WRITTEN], "{}", pairs[n][0]);
        assert_eq!(scene.patches(n), 2, "{}", pairs[n][0]);
    }
    // The row for each pair, and the account that one of them binds; the definition once for all of them.
    assert_eq!(scene.reads(200), pairs.len() + 1 + DEFINITION_READS);
}

#[tokio::test]
async fn without_metadata_nothing_is_lost_for_the_loser_is_sent_again() {
    let scene = Scene::start().await;
    scene.forbid_metadata();
    let pairs = forms().map(|[value, _]| [value.clone(), value]);
    for (n, answers) in scene.race(&pairs).await.iter().enumerate() {
        assert_eq!(told(answers), [UPSERTED, UPSERTED], "{}", pairs[n][0]);
        assert_eq!(scene.patches(n), 3, "{}", pairs[n][0]);
    }
    assert_eq!(scene.reads(403), 1, "the refusal is remembered");
}

#[tokio::test]
async fn values_that_differ_are_sent_again_in_whatever_form() {
    let scene = Scene::start().await;
    let spelt =
        [json!({ "description": "2024-03-01T10:00:00+02:00" }), json!({ "description": "2024-03-01T08:00:00Z" })];
    let pairs: Vec<_> = forms().into_iter().chain([spelt]).collect();
    for (n, answers) in scene.race(&pairs).await.iter().enumerate() {
        assert_eq!(told(answers), [UPSERTED, UPSERTED], "{:?}", pairs[n]);
        assert_eq!(scene.patches(n), 3, "{:?}", pairs[n]);
    }
}

#[tokio::test]
async fn where_every_value_comes_back_as_it_was_sent_no_metadata_is_read() {
    let scene = Scene::start().await;
    let same = json!({ "firstname": "Ada", "new_topics": "1,9", "creditlimit": 1.5, "birthdate": "1990-02-03" });
    let pairs = [[same.clone(), same], [json!({ "firstname": "Ada" }), json!({ "firstname": "Eve" })]];
    let answers = scene.race(&pairs).await;
    assert_eq!(told(&answers[0]), [UPSERTED, ALREADY_WRITTEN]);
    assert_eq!(told(&answers[1]), [UPSERTED, UPSERTED]);
    assert_eq!(scene.reads(200), 2, "one row for each loser");
}

#[tokio::test]
async fn a_write_whose_answer_is_lost_is_settled_by_a_row_in_another_form() {
    let scene = Scene::start().await;
    for (n, [columns, _]) in forms().iter().enumerate() {
        // A first dropped connection is tried again.
        scene.world.dataverse.fault(Fault::new(Effect::DropAfterCommit).method("PATCH").key(&key(n)).times(2));
        let answer = scene.caller.post(&contact(&key(n), columns)).await;
        assert_eq!(answer.told(), UPSERTED, "{columns}: {}", answer.text);
        assert_eq!(scene.patches(n), 2, "{columns}");
    }
}
