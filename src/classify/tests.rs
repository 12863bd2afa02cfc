use std::time::Duration;

use super::*;

const FORMS: [Form; 7] =
    [Form::Upsert, Form::Create, Form::Update, Form::UpdateUnchanged, Form::Delete, Form::DeleteUnchanged, Form::Read];

fn answered(status: u16, code: u32, message: &str) -> Fault {
    Fault::Answered {
        status,
        code: (code != 0).then_some(code),
        message: (!message.is_empty()).then(|| message.to_owned()),
        request_id: None,
        retry_after: None,
    }
}

fn once(form: Form) -> Attempt {
    Attempt { form, binds: false, again: 0 }
}

fn verdict(status: u16, code: u32, form: Form) -> Verdict {
    judge(&answered(status, code, ""), once(form))
}

use Form::{Create, Delete, DeleteUnchanged, Read, Update, UpdateUnchanged, Upsert};
use Reason as R;
use Verdict::{Again, LostRace, Moved, Settle};

const EXISTS: &str = "A record with matching key values already exists.";
const KEY_VIOLATED: &str = "Entity Key E violated. A record with the same value for Id already exists.";
const STALE: &str = "The version of the existing record doesn't match the RowVersion property provided.";
const DUPLICATE: &str = "A record was not created or updated because a duplicate of the current record already exists.";
const DEADLOCK: &str = "Sql error: Generic SQL error. Sql ErrorCode: -2146232060 Sql Number: 1205";
const GONE: &str = "contact With Id = 9b2e0c3a-1111-4222-8333-444455556666 Does Not Exist";
const NO_PROPERTY: &str = "The property 'shoesize' does not exist on type 'Microsoft.Dynamics.CRM.contact'.";

/// Status, code (0: none), text, form of the request, verdict.
const TABLE: [(u16, u32, &str, Form, Verdict); 91] = [
    // 412: which key, which condition.
    (412, 0x8004_0237, EXISTS, Upsert, LostRace),
    (412, 0x8004_0237, EXISTS, Create, LostRace),
    (412, 0x8004_0237, EXISTS, Update, Settle(R::KeyCollision)),
    (412, 0x8004_0237, EXISTS, UpdateUnchanged, Settle(R::KeyCollision)),
    (412, 0x8006_0892, KEY_VIOLATED, Upsert, LostRace),
    (412, 0x8006_0892, KEY_VIOLATED, Create, LostRace),
    (412, 0x8006_0892, KEY_VIOLATED, Update, Settle(R::KeyCollision)),
    (412, 0x8007_3002, "", Upsert, LostRace),
    (412, 0x8004_3239, "", Upsert, Settle(R::KeyCollision)),
    (412, 0x8006_0882, STALE, UpdateUnchanged, Moved),
    (412, 0x8006_0882, STALE, DeleteUnchanged, Moved),
    (412, 0x8004_0333, DUPLICATE, Upsert, Settle(R::DuplicateDetected)),
    (500, 0x8004_0333, DUPLICATE, Create, Settle(R::DuplicateDetected)),
    (412, 0x8006_088D, "", UpdateUnchanged, Settle(R::InvalidData)),
    (412, 0x8006_0883, "", Update, Settle(R::InvalidData)),
    // 412 without a code: the text, then what the request can have failed on.
    (412, 0, EXISTS, Upsert, LostRace),
    (412, 0, KEY_VIOLATED, Create, LostRace),
    (412, 0, STALE, UpdateUnchanged, Moved),
    (412, 0, DUPLICATE, Upsert, Settle(R::DuplicateDetected)),
    (412, 0, "", Upsert, LostRace),
    (412, 0, "", Create, LostRace),
    (412, 0, "", Update, Settle(R::KeyCollision)),
    (412, 0, "", UpdateUnchanged, Moved),
    (412, 0, "", DeleteUnchanged, Moved),
    (412, 0, "", Read, Settle(R::InvalidData)),
    // Throttled.
    (429, 0x8007_2322, "", Upsert, Settle(R::Throttled)),
    (429, 0x8007_2321, "", Delete, Settle(R::Throttled)),
    (429, 0x8007_2326, "", Read, Settle(R::Throttled)),
    (429, 0, "", Upsert, Settle(R::Throttled)),
    // Passing trouble.
    (408, 0, "", Upsert, Settle(R::Unavailable)),
    (500, 0, "", Upsert, Settle(R::Unavailable)),
    (502, 0, "", Upsert, Settle(R::Unavailable)),
    (503, 0, "", Upsert, Settle(R::Unavailable)),
    (504, 0, "", Upsert, Settle(R::Unavailable)),
    (500, 0x8004_4150, DEADLOCK, Upsert, Again),
    (500, 0x8004_4150, "Sql Number: 547", Upsert, Settle(R::Unavailable)),
    (500, 0, DEADLOCK, Upsert, Again),
    (500, 0x8004_4151, "", Upsert, Settle(R::Unavailable)),
    (500, 0x8004_0255, "", Upsert, Settle(R::Unavailable)),
    (500, 0x8004_4339, "", Upsert, Settle(R::Unavailable)),
    (503, 0x8004_A001, "", Upsert, Settle(R::Unavailable)),
    (400, 0x8007_3000, "", Upsert, Settle(R::Unavailable)),
    (400, 0x8004_8551, "", Upsert, Settle(R::Unavailable)),
    (400, 0x8004_8559, "", Upsert, Settle(R::Unavailable)),
    (400, 0x8004_8561, "", Upsert, Settle(R::Unavailable)),
    (400, 0x8004_8562, "", Upsert, Settle(R::Unavailable)),
    (400, 0x8004_8563, "", Upsert, Settle(R::Unavailable)),
    (400, 0x8004_8544, "", Upsert, Settle(R::Unavailable)),
    (400, 0x8005_0544, "", Upsert, Settle(R::Unavailable)),
    // Trouble that lasts.
    (400, 0x8004_8543, "", Upsert, Settle(R::Unavailable)),
    (400, 0x8004_8553, "", Upsert, Settle(R::Unavailable)),
    (400, 0x8004_F061, "", Upsert, Settle(R::Unavailable)),
    (400, 0x8004_F067, "", Upsert, Settle(R::Unavailable)),
    (400, 0x8007_1154, "", Upsert, Settle(R::Unavailable)),
    (400, 0x8007_1151, "", Upsert, Settle(R::Unavailable)),
    (403, 0x8004_A113, "", Upsert, Settle(R::Unavailable)),
    // The row, or another one, is missing.
    (404, 0x8004_0217, GONE, Upsert, Settle(R::NotFound)),
    (404, 0x8006_0891, "", Update, Settle(R::NotFound)),
    (404, 0x8006_0891, "", UpdateUnchanged, Moved),
    (404, 0x8004_0217, GONE, Delete, Settle(R::AlreadyAbsent)),
    (404, 0x8006_0891, "", Delete, Settle(R::AlreadyAbsent)),
    (404, 0x8006_0891, "", DeleteUnchanged, Moved),
    (404, 0, GONE, Delete, Settle(R::AlreadyAbsent)),
    (404, 0, GONE, Update, Settle(R::NotFound)),
    // No such table: never taken for a row that is gone.
    (404, 0x8006_088A, "", Upsert, Settle(R::NotFound)),
    (404, 0x8006_088A, "", Delete, Settle(R::NotFound)),
    (404, 0, "", Upsert, Settle(R::NotFound)),
    (404, 0, "", Delete, Settle(R::NotFound)),
    // The data.
    (400, 0, NO_PROPERTY, Upsert, Settle(R::InvalidData)),
    (400, 0, NO_PROPERTY, Delete, Settle(R::InvalidData)),
    (400, 0x8004_8D19, "", Upsert, Settle(R::InvalidData)),
    (400, 0x8004_4331, "", Upsert, Settle(R::InvalidData)),
    (400, 0x8004_4330, "", Upsert, Settle(R::InvalidData)),
    (400, 0x8004_431A, "", Upsert, Settle(R::InvalidData)),
    (400, 0x8004_0239, "", Upsert, Settle(R::InvalidData)),
    (400, 0x8004_0278, "", Upsert, Settle(R::InvalidData)),
    (400, 0x8004_0203, "", Upsert, Settle(R::InvalidData)),
    (400, 0x8004_0265, "", Upsert, Settle(R::InvalidData)),
    (400, 0x8006_0890, "", Upsert, Settle(R::InvalidData)),
    (400, 0x8004_0216, "", Upsert, Again),
    (405, 0, "", Upsert, Settle(R::InvalidData)),
    (413, 0, "", Upsert, Settle(R::TooLarge)),
    // Ours to mend: never the message's fault.
    (401, 0, "", Upsert, Settle(R::Unauthorized)),
    (401, 0x8004_A101, "", Upsert, Settle(R::Unauthorized)),
    (401, 0x8004_0277, "", Upsert, Settle(R::Unauthorized)),
    (403, 0, "", Upsert, Settle(R::Unauthorized)),
    (403, 0x8004_0220, "", Upsert, Settle(R::Unauthorized)),
    (403, 0x8004_2F09, "", Delete, Settle(R::Unauthorized)),
    (403, 0x8004_8306, "", Read, Settle(R::Unauthorized)),
    (400, 0x8007_2560, "", Upsert, Settle(R::Unauthorized)),
    // An answer that is none of Dataverse's.
    (302, 0, "", Upsert, Settle(R::Unavailable)),
];

#[test]
fn every_row_of_the_table_is_judged_as_it_says() {
    for (status, code, message, form, expected) in TABLE {
        let found = judge(&answered(status, code, message), once(form));
        assert_eq!(found, expected, "{status} {code:#010x} {message:?} on {form:?}");
    }
}

#[test]
fn law_1_the_services_code_beats_the_status() {
    assert_eq!(verdict(503, 0x8004_4331, Upsert), Settle(R::InvalidData));
    assert_eq!(verdict(400, 0x8007_2322, Upsert), Settle(R::Throttled));
    assert_eq!(verdict(200, 0x8004_0333, Upsert), Settle(R::DuplicateDetected));
}

#[test]
fn law_2_a_delay_never_causes_a_retry() {
    let delayed = |status, code| Fault::Answered {
        status,
        code,
        message: None,
        request_id: None,
        retry_after: Some(Duration::from_secs(7)),
    };
    assert_eq!(judge(&delayed(400, None), once(Upsert)), Settle(R::InvalidData));
    assert_eq!(judge(&delayed(412, Some(0x8004_0333)), once(Upsert)), Settle(R::DuplicateDetected));
}

#[test]
fn law_3_unknown_5xx_and_silence_are_retried_and_unknown_4xx_rejected() {
    assert_eq!(verdict(599, 0xDEAD_BEEF, Upsert), Settle(R::Unavailable));
    assert_eq!(verdict(418, 0xDEAD_BEEF, Upsert), Settle(R::InvalidData));
    let silence = Fault::NoAnswer { sent: true, problem: "the connection broke" };
    assert_eq!(judge(&silence, once(Upsert)), Settle(R::Unavailable));
}

#[test]
fn law_4_what_an_operator_can_mend_never_costs_a_message() {
    let token = |refused| Fault::NoToken { refused, problem: String::new() };
    assert_eq!(judge(&token(true), once(Upsert)), Settle(R::Unauthorized));
    assert_eq!(judge(&token(false), once(Upsert)), Settle(R::Unavailable));
    for error in [
        lock::Error::Refused { status: 403, code: String::new() },
        lock::Error::Service { status: 500, code: String::new() },
        lock::Error::Unreachable { problem: String::new() },
        lock::Error::Token { problem: String::new() },
    ] {
        assert_eq!(judge_locks(&error), R::StorageUnavailable);
    }
}

#[test]
fn every_code_of_the_table_is_there_once_and_means_something_everywhere() {
    let mut codes: Vec<u32> = codes::CODES.iter().map(|(code, _)| *code).collect();
    codes.sort_unstable();
    codes.dedup();
    assert_eq!(codes.len(), codes::CODES.len());
}

#[test]
fn whatever_comes_there_is_a_verdict_and_nothing_passing_is_rejected() {
    let known = codes::CODES.iter().map(|(code, _)| *code);
    let codes: Vec<u32> = known.chain([0, 1, 0xDEAD_BEEF, 0x8004_4150]).collect();
    for status in 100..=599 {
        for form in FORMS {
            for code in &codes {
                let found = verdict(status, *code, form);
                let unknown = *code == 0 || *code == 0xDEAD_BEEF;
                let passing = status >= 500 || [401, 403, 408, 429].contains(&status);
                if let (Settle(reason), true, true) = (found, unknown, passing) {
                    assert_eq!(reason.disposition(), crate::outcome::Disposition::Retry, "{status} on {form:?}");
                }
            }
        }
    }
}

#[test]
fn a_missing_row_under_a_bind_may_be_the_parent() {
    let bound = |form| judge(&answered(404, 0x8006_0891, ""), Attempt { form, binds: true, again: 0 });
    assert_eq!(bound(Upsert), Settle(R::ParentMissing));
    assert_eq!(bound(Create), Settle(R::ParentMissing));
    assert_eq!(bound(Update), Verdict::RowOrParent);
    assert_eq!(bound(UpdateUnchanged), Verdict::RowOrParent);
    assert_eq!(bound(Delete), Settle(R::AlreadyAbsent));
    let by_id = Attempt { form: Upsert, binds: true, again: 0 };
    assert_eq!(judge(&answered(400, 0x8004_0217, GONE), by_id), Settle(R::ParentMissing));
}

#[test]
fn a_deadlock_is_sent_again_three_times_and_the_catch_all_once() {
    let deadlock = |again| judge(&answered(500, 0x8004_4150, DEADLOCK), Attempt { form: Upsert, binds: false, again });
    assert_eq!((0..5).map(deadlock).filter(|verdict| *verdict == Again).count(), 3);
    assert_eq!(deadlock(MOST_DEADLOCKS), Settle(R::Unavailable));
    let unclear = |again| judge(&answered(400, 0x8004_0216, ""), Attempt { form: Upsert, binds: false, again });
    assert_eq!((unclear(0), unclear(1)), (Again, Settle(R::InvalidData)));
}

#[test]
fn a_key_that_cannot_be_addressed_is_refused_as_data() {
    let fault = Fault::NotAddressable { column: "name".to_owned() };
    assert_eq!(judge(&fault, once(Upsert)), Settle(R::InvalidData));
}

#[test]
fn a_lost_race_ends_as_the_policy_says() {
    use AfterRace::{Resend, Settle as End};
    use Found::{Nothing, Other, Same};
    use OnConflict::{Retry, Skip, Verify};
    for (policy, found, seen, resends, expected) in [
        (Verify, Same, false, 0, End(R::AlreadyWritten)),
        (Verify, Same, true, 3, End(R::AlreadyWritten)),
        (Verify, Other, false, 0, Resend),
        (Verify, Other, true, 1, End(R::KeyCollision)),
        (Verify, Nothing, false, 0, Resend),
        (Verify, Nothing, false, 2, Resend),
        (Verify, Nothing, false, 3, End(R::KeyCollision)),
        (Skip, Same, false, 0, End(R::WrittenElsewhere)),
        (Skip, Other, false, 0, End(R::WrittenElsewhere)),
        (Skip, Nothing, false, 0, Resend),
        (Skip, Nothing, false, 3, End(R::KeyCollision)),
        (Retry, Other, false, 0, Resend),
        (Retry, Other, true, 2, Resend),
        (Retry, Other, true, 3, End(R::Conflict)),
        (Retry, Nothing, false, 3, End(R::Conflict)),
    ] {
        assert_eq!(race(policy, found, seen, resends), expected, "{policy:?} {found:?} {seen} {resends}");
    }
}

#[test]
fn a_create_on_a_present_row_is_told_apart_from_its_own_first_delivery() {
    for (found, delivered_before, expected) in [
        (Found::Nothing, false, R::KeyCollision),
        (Found::Nothing, true, R::KeyCollision),
        (Found::Same, false, R::Exists),
        (Found::Same, true, R::AlreadyWritten),
        (Found::Other, true, R::Exists),
    ] {
        assert_eq!(create_refused(found, delivered_before), expected);
    }
}
