//! First writes that race without a lock, over processes, with values that Dataverse returns in another form than they
//! were sent in. Which values can be compared is tested beside `dataverse::verify`.

use std::time::Duration;

use futures::future::join_all;
use serde_json::{Value, json};

use crate::caller::{Answer, Caller, UPSERTED, contact};

/// Long enough for both writes of a pair to be looked up before either is committed.
const WINDOW: Duration = Duration::from_millis(1_500);

const ALREADY_WRITTEN: (u16, &str, &str) = (200, "skipped", "already_written");

/// How the second write of a pair ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Second {
    /// Skipped: the row proves that its values were written.
    Proven,
    /// Sent again.
    SentAgain,
}

/// Pairs of columns; `account` is an account's primary key.
fn pairs(account: &str) -> Vec<(Value, Value, Second)> {
    let bind = |address: String| json!({ "parentcustomerid_account@odata.bind": address });
    let (by_id, by_key) = (bind(format!("/accounts({})", account.to_uppercase())), bind(by_number("7")));
    let time = json!({ "lastonholdtime": "2024-03-01T10:00:00+02:00" });
    let id = json!({ "new_externalid": "{AAAAAAAA-0000-4000-8000-000000000001}" });
    let plain = json!({ "firstname": "Ada", "new_topics": "1,9", "creditlimit": 1.5, "birthdate": "1990-02-03" });
    let null = json!({ "firstname": null });
    let proven = [time.clone(), id, by_id, plain, null.clone()].map(|value| (value.clone(), value, Second::Proven));
    let latitude = json!({ "address1_latitude": 47.639_583 });
    let unproven = [json!({ "new_topics": "1, 9" }), latitude, by_key.clone()];
    let unproven = unproven.map(|value| (value.clone(), value, Second::SentAgain));
    let other = [
        (time, json!({ "lastonholdtime": "2024-03-01T10:00:01+02:00" }), Second::SentAgain),
        (by_key, bind(by_number("8")), Second::SentAgain),
        (null, json!({ "firstname": "Ada" }), Second::SentAgain),
    ];
    proven.into_iter().chain(unproven).chain(other).collect()
}

fn by_number(number: &str) -> String {
    format!("/accounts(accountnumber='{number}')")
}

/// The verdicts, sorted.
fn verdicts(answers: &[Answer; 2]) -> [(u16, &str, &str); 2] {
    let mut verdicts = answers.each_ref().map(Answer::verdict);
    verdicts.sort_unstable();
    verdicts
}

#[tokio::test]
async fn the_second_of_two_racing_first_writes_is_skipped_only_if_the_row_proves_its_values() {
    // All pairs run concurrently after the first answer.
    let dataverse = stand_ins::dataverse::Options { dop_hint: 52, ..Default::default() };
    let world = crate::world_with(sandbox::world::Options { dataverse, ..Default::default() }).await;
    // The parts of a batch do not race.
    let settings = [("LOCK_MODE", "off"), ("SYNC_BATCH", "off")];
    let host = world.host("instance-1", &settings).await.expect("the host starts");
    let caller = Caller::of(&host);
    let [account, _] = ["7", "8"].map(|number| world.dataverse.insert("accounts", &json!({ "accountnumber": number })));
    // Gets the handler's token before the races begin.
    assert_eq!(caller.post(&contact("C0", &json!({ "firstname": "Ada" }))).await.verdict(), UPSERTED);
    world.dataverse.set_race_window(WINDOW);
    let pairs = pairs(&account);
    let races = pairs.iter().enumerate().map(async |(n, (one, other, _))| {
        let [one, other] = [one, other].map(|columns| contact(&format!("P-{n}"), columns));
        <[Answer; 2]>::from(tokio::join!(caller.post(&one), caller.post(&other)))
    });
    for (n, answers) in join_all(races).await.iter().enumerate() {
        let (second, requests) = match pairs[n].2 {
            Second::Proven => (ALREADY_WRITTEN, 2),
            Second::SentAgain => (UPSERTED, 3),
        };
        assert_eq!(verdicts(answers), [UPSERTED, second], "{:?}", pairs[n]);
        let key = format!("employeeid='P-{n}'");
        let journal = world.dataverse.journal();
        let sent = journal.iter().filter(|entry| entry.method == "PATCH" && entry.key == key).count();
        assert_eq!(sent, requests, "{:?}", pairs[n]);
    }
    // One row for each pair, and the table, its columns and its lookups once, for the null.
    assert_eq!(world.dataverse.requests().of("GET", 200), pairs.len() + 3);
}
