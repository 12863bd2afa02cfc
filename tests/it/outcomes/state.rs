//! A new row gets the state that its record sets. Records without a state cost one request, as ever.

use serde_json::{Value, json};
use stand_ins::dataverse::StateOnCreate;

use crate::caller::{Caller, UPSERTED, contact};

const CREATED: (u16, &str, &str) = (201, "applied", "created");

/// State columns, the version, the requests that are sent where a state is refused or ignored, and the verdict.
type Case = (Value, Option<u32>, [usize; 2], (u16, &'static str, &'static str));

fn cases() -> [Case; 6] {
    let inactive = || json!({ "statecode": 1, "statuscode": 4 });
    [
        (inactive(), None, [3, 2], CREATED),
        (inactive(), Some(7), [2, 2], CREATED),
        (json!({ "statecode": 1 }), None, [2, 2], CREATED),
        (json!({ "statecode": 0, "statuscode": 3 }), None, [1, 1], CREATED),
        (json!({}), None, [1, 1], UPSERTED),
        (json!({}), Some(7), [1, 1], CREATED),
    ]
}

#[tokio::test]
async fn a_new_row_has_the_state_that_its_record_sets() {
    for (mode, state_on_create) in [StateOnCreate::Refused, StateOnCreate::Ignored].into_iter().enumerate() {
        let dataverse = stand_ins::dataverse::Options { state_on_create, ..Default::default() };
        let world = crate::world_with(sandbox::world::Options { dataverse, ..Default::default() }).await;
        let settings = [("SYNC_VERSION_COLUMN", "new_sourceversion")];
        let host = world.host("instance-1", &settings).await.expect("the host starts");
        let caller = Caller::of(&host);
        for (n, (state, version, requests, verdict)) in cases().into_iter().enumerate() {
            let (employee, mut columns) = (format!("S-{n}"), state.clone());
            columns["firstname"] = json!("Ada");
            let mut record = contact(&employee, &columns);
            if let Some(version) = version {
                record["version"] = json!(version);
            }
            let before = world.dataverse.journal().len();
            let answer = caller.post(&record).await;
            let row = world.dataverse.row("contacts", &[("employeeid", &employee)]).unwrap_or_default();
            for (column, value) in columns.as_object().expect("an object") {
                assert_eq!(row.get(column), Some(value), "{state_on_create:?} {record}: {answer:?}");
            }
            let stored = row.get("new_sourceversion").and_then(Value::as_u64);
            assert_eq!((answer.verdict(), stored), (verdict, version.map(u64::from)), "{record}");
            let sent = world.dataverse.journal().len() - before;
            assert_eq!(sent, requests[mode], "{state_on_create:?} {record}");
        }
    }
}
