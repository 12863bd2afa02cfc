use std::collections::HashSet;
use std::time::Duration;

use Form::{Create, Delete, DeleteUnchanged, Read, Update, UpdateUnchanged, Upsert};
use Verdict::{Again, LostRace, Moved, RowOrParent, Settle};

use super::*;
use crate::outcome::Disposition;

const FORMS: [Form; 7] = [Upsert, Create, Update, UpdateUnchanged, Delete, DeleteUnchanged, Read];

/// One refusal: status, code, text; what was asked; what it means.
type Refusal = (u16, Option<u32>, &'static str, Form, Verdict);

fn answered(status: u16, code: Option<u32>, message: &str) -> Fault {
    let message = Some(message.to_owned()).filter(|text| !text.is_empty());
    Fault::Answered { status, code, message, request_id: None, retry_after: None }
}

fn first(form: Form) -> Attempt {
    Attempt { form, binds: false, again: 0 }
}

fn ends(verdict: Verdict) -> Option<Disposition> {
    match verdict {
        Settle(reason) => Some(reason.disposition()),
        LostRace | Moved | RowOrParent | Again => None,
    }
}

#[test]
fn a_code_beats_the_status() {
    let fault = answered(500, Some(0x8004_4331), "too long");
    assert_eq!(judge(&fault, first(Upsert)), Settle(Reason::InvalidData));
}

#[test]
fn a_final_verdict_beats_a_retry_whatever_delay_is_named() {
    let delay = Some(Duration::from_secs(5));
    let fault =
        Fault::Answered { status: 503, code: Some(0x8004_0265), message: None, request_id: None, retry_after: delay };
    assert_eq!(judge(&fault, first(Upsert)), Settle(Reason::InvalidData));
}

#[test]
fn unknown_5xx_are_retried() {
    let fault = answered(500, Some(0x8004_FFFF), "");
    assert_eq!(judge(&fault, first(Upsert)), Settle(Reason::Unavailable));
}

#[test]
fn transport_failures_are_retried() {
    for sent in [true, false] {
        let fault = Fault::NoAnswer { sent, problem: "no answer in time" };
        assert_eq!(judge(&fault, first(Upsert)), Settle(Reason::Unavailable));
    }
}

#[test]
fn unknown_4xx_are_rejected() {
    let fault = answered(418, Some(0x8004_FFFF), "");
    assert_eq!(judge(&fault, first(Upsert)), Settle(Reason::InvalidData));
}

#[test]
fn what_an_operator_can_mend_never_costs_a_message() {
    for (refused, reason) in [(true, Reason::Unauthorized), (false, Reason::Unavailable)] {
        let fault = Fault::NoToken { refused, problem: "AADSTS7000222".to_owned() };
        assert_eq!(judge(&fault, first(Upsert)), Settle(reason));
        assert_eq!(reason.disposition(), Disposition::Retry);
    }
}

#[test]
fn a_key_that_no_address_can_hold_is_rejected() {
    let fault = Fault::NotAddressable { column: "name".to_owned() };
    assert_eq!(judge(&fault, first(Upsert)), Settle(Reason::InvalidData));
}

const DUPLICATE: &str = "A record with matching key values already exists.";
const DUPLICATE_KEY: &str = "Entity Key Email Key violated. A record with the same value for Email already exists.";
const STALE: &str = "The version of the existing record doesn't match the RowVersion property provided.";
const DETECTED: &str = "A record was not created or updated because a duplicate of the current record already exists.";
const DEADLOCK: &str =
    "Sql error: 'Transaction was deadlocked on lock resources' CRM ErrorCode: -2147204784 Sql Number: 1205";

const PRECONDITIONS: [Refusal; 21] = [
    (412, Some(0x8004_0237), DUPLICATE, Upsert, LostRace),
    (412, Some(0x8004_0237), DUPLICATE, Create, LostRace),
    (412, Some(0x8004_0237), DUPLICATE, Update, Settle(Reason::KeyCollision)),
    (412, Some(0x8004_0237), DUPLICATE, UpdateUnchanged, Settle(Reason::KeyCollision)),
    (412, Some(0x8006_0892), DUPLICATE_KEY, Upsert, LostRace),
    (412, Some(0x8006_0892), DUPLICATE_KEY, Create, LostRace),
    (412, Some(0x8006_0892), DUPLICATE_KEY, Update, Settle(Reason::KeyCollision)),
    (412, Some(0x8007_3002), "", Upsert, LostRace),
    (412, Some(0x8004_3239), "", Upsert, Settle(Reason::KeyCollision)),
    (412, Some(0x8006_0882), STALE, UpdateUnchanged, Moved),
    (412, Some(0x8006_0882), STALE, DeleteUnchanged, Moved),
    (412, Some(0x8004_0333), DETECTED, Upsert, Settle(Reason::DuplicateDetected)),
    (500, Some(0x8004_0333), DETECTED, Create, Settle(Reason::DuplicateDetected)),
    (412, Some(0x8006_0883), "", UpdateUnchanged, Settle(Reason::InvalidData)),
    (412, Some(0x8006_088D), "", UpdateUnchanged, Settle(Reason::InvalidData)),
    // No code, so the text speaks.
    (412, None, DUPLICATE, Upsert, LostRace),
    (412, None, DUPLICATE_KEY, Create, LostRace),
    (412, None, DUPLICATE, UpdateUnchanged, Settle(Reason::KeyCollision)),
    (412, None, STALE, UpdateUnchanged, Moved),
    (412, None, DETECTED, Upsert, Settle(Reason::DuplicateDetected)),
    (500, None, DETECTED, Update, Settle(Reason::DuplicateDetected)),
];

const TRANSIENT: [Refusal; 29] = [
    (500, Some(0x8004_4150), DEADLOCK, Upsert, Again),
    (500, None, DEADLOCK, Delete, Again),
    (500, Some(0x8004_4150), "Generic SQL error. Sql Number: 8152", Upsert, Settle(Reason::Unavailable)),
    (500, Some(0x8004_4150), "", Upsert, Settle(Reason::Unavailable)),
    (500, Some(0x8004_4151), "", Upsert, Settle(Reason::Unavailable)),
    (400, Some(0x8004_0255), "", Upsert, Settle(Reason::Unavailable)),
    (400, Some(0x8004_4339), "", Upsert, Settle(Reason::Unavailable)),
    (503, Some(0x8004_A001), "", Upsert, Settle(Reason::Unavailable)),
    (400, Some(0x8007_3000), "", Upsert, Settle(Reason::Unavailable)),
    (400, Some(0x8004_8551), "", Upsert, Settle(Reason::Unavailable)),
    (400, Some(0x8004_8559), "", Upsert, Settle(Reason::Unavailable)),
    (400, Some(0x8004_8561), "", Upsert, Settle(Reason::Unavailable)),
    (400, Some(0x8004_8562), "", Upsert, Settle(Reason::Unavailable)),
    (400, Some(0x8004_8563), "", Upsert, Settle(Reason::Unavailable)),
    (400, Some(0x8004_8544), "", Upsert, Settle(Reason::Unavailable)),
    (400, Some(0x8005_0544), "", Upsert, Settle(Reason::Unavailable)),
    // Upgrades, solution imports, administration mode.
    (400, Some(0x8004_8543), "", Upsert, Settle(Reason::Unavailable)),
    (400, Some(0x8004_8553), "", Upsert, Settle(Reason::Unavailable)),
    (400, Some(0x8004_F061), "", Upsert, Settle(Reason::Unavailable)),
    (400, Some(0x8004_F062), "", Upsert, Settle(Reason::Unavailable)),
    (400, Some(0x8004_F063), "", Upsert, Settle(Reason::Unavailable)),
    (400, Some(0x8004_F064), "", Upsert, Settle(Reason::Unavailable)),
    (400, Some(0x8004_F065), "", Upsert, Settle(Reason::Unavailable)),
    (400, Some(0x8004_F066), "", Upsert, Settle(Reason::Unavailable)),
    (400, Some(0x8004_F067), "", Upsert, Settle(Reason::Unavailable)),
    (400, Some(0x8007_1154), "", Upsert, Settle(Reason::Unavailable)),
    (400, Some(0x8007_1151), "", Upsert, Settle(Reason::Unavailable)),
    (403, Some(0x8004_A113), "", Upsert, Settle(Reason::Unavailable)),
    // A proxy's page quotes nothing.
    (502, None, "<html>Bad gateway</html>", Upsert, Settle(Reason::Unavailable)),
];

const LIMITS: [Refusal; 5] = [
    (429, Some(0x8007_2322), "Number of requests exceeded the limit of 6000", Upsert, Settle(Reason::Throttled)),
    (429, Some(0x8007_2321), "Combined execution time of incoming requests", Read, Settle(Reason::Throttled)),
    (429, Some(0x8007_2326), "Number of concurrent requests exceeded", Create, Settle(Reason::Throttled)),
    (503, Some(0x8007_2322), "", Upsert, Settle(Reason::Throttled)),
    (429, None, DUPLICATE, Update, Settle(Reason::Throttled)),
];

const PERMANENT: [Refusal; 25] = [
    (404, Some(0x8004_0217), "contact With Id = 7 Does Not Exist", Update, Settle(Reason::NotFound)),
    (404, Some(0x8004_0217), "contact With Id = 7 Does Not Exist", Delete, Settle(Reason::AlreadyAbsent)),
    (404, Some(0x8006_0891), "A record with the specified key values does not exist", Update, Settle(Reason::NotFound)),
    (400, Some(0x8006_0891), "A record with the specified key values does not exist", DeleteUnchanged, Moved),
    (404, None, "A record with the specified key values does not exist in contact entity", UpdateUnchanged, Moved),
    (404, None, "A record with the specified key values does not exist", Delete, Settle(Reason::AlreadyAbsent)),
    (404, Some(0x8006_088A), "Resource not found for the segment 'Contacts'.", Delete, Settle(Reason::NotFound)),
    (404, None, "Resource not found for the segment 'contact'.", Delete, Settle(Reason::NotFound)),
    (400, None, "An undeclared property 'nme' … does not exist on type 'contact'", Upsert, Settle(Reason::InvalidData)),
    (400, Some(0x8004_8D19), "", Upsert, Settle(Reason::InvalidData)),
    (400, Some(0x8004_4331), "", Upsert, Settle(Reason::InvalidData)),
    (400, Some(0x8004_4330), "", Upsert, Settle(Reason::InvalidData)),
    (400, Some(0x8004_431A), "", Upsert, Settle(Reason::InvalidData)),
    (400, Some(0x8004_0239), "", Upsert, Settle(Reason::InvalidData)),
    (400, Some(0x8004_0278), "", Upsert, Settle(Reason::InvalidData)),
    (400, Some(0x8004_0203), "", Upsert, Settle(Reason::InvalidData)),
    (400, Some(0x8004_0265), "", Upsert, Settle(Reason::InvalidData)),
    (400, Some(0x8006_0890), "", Upsert, Settle(Reason::InvalidData)),
    (400, Some(0x8004_0216), "An unexpected error occurred.", Upsert, Again),
    (405, None, "", Upsert, Settle(Reason::InvalidData)),
    (413, None, "", Upsert, Settle(Reason::TooLarge)),
    // An unknown code says no more than the status.
    (400, Some(0x8123_4567), DUPLICATE, Upsert, Settle(Reason::InvalidData)),
    (404, Some(0x8123_4567), "does not exist", Update, Settle(Reason::NotFound)),
    (412, Some(0x8123_4567), "", Upsert, LostRace),
    (412, Some(0x8123_4567), "", UpdateUnchanged, Moved),
];

const OPERATOR: [Refusal; 11] = [
    (401, Some(0x8004_A101), "", Upsert, Settle(Reason::Unauthorized)),
    (401, Some(0x8004_0277), "", Upsert, Settle(Reason::Unauthorized)),
    (401, None, "", Read, Settle(Reason::Unauthorized)),
    (403, Some(0x8004_0220), "Principal user is missing prvWriteContact", Upsert, Settle(Reason::Unauthorized)),
    (403, Some(0x8004_2F09), "", Create, Settle(Reason::Unauthorized)),
    (403, Some(0x8004_8306), "", Delete, Settle(Reason::Unauthorized)),
    (403, Some(0x8007_2560), "The user is not a member of the organization.", Upsert, Settle(Reason::Unauthorized)),
    (400, Some(0x8009_5FFC), "", Upsert, Settle(Reason::Unauthorized)),
    (400, Some(0x8004_A112), "", Upsert, Settle(Reason::Unauthorized)),
    (403, None, "", Update, Settle(Reason::Unauthorized)),
    (403, None, DUPLICATE, Update, Settle(Reason::Unauthorized)),
];

fn refusals() -> impl Iterator<Item = Refusal> {
    PRECONDITIONS.into_iter().chain(TRANSIENT).chain(LIMITS).chain(PERMANENT).chain(OPERATOR)
}

#[test]
fn every_documented_refusal_means_what_the_tables_say() {
    for (status, code, message, form, verdict) in refusals() {
        let found = judge(&answered(status, code, message), first(form));
        assert_eq!(found, verdict, "{status} {code:x?} {message:?} {form:?}");
    }
}

#[test]
fn every_known_code_stands_in_the_tables_and_none_is_known_twice() {
    let tested: HashSet<_> = refusals().filter_map(|(_, code, ..)| code).collect();
    let known: HashSet<_> = codes::CODES.iter().map(|(code, _)| *code).collect();
    assert_eq!(known.difference(&tested).count(), 0, "{:x?}", known.difference(&tested));
    assert_eq!(known.len(), codes::CODES.len());
}

#[test]
fn without_a_code_or_a_text_the_status_speaks() {
    let unauthorized = [Settle(Reason::Unauthorized); 7];
    let (invalid, unavailable) = (Settle(Reason::InvalidData), Settle(Reason::Unavailable));
    for (status, verdicts) in [
        (302, [unavailable; 7]),
        (400, [invalid; 7]),
        (401, unauthorized),
        (403, unauthorized),
        (404, [Settle(Reason::NotFound); 7]),
        (405, [invalid; 7]),
        (408, [unavailable; 7]),
        (409, [invalid; 7]),
        (412, [LostRace, LostRace, Settle(Reason::KeyCollision), Moved, invalid, Moved, invalid]),
        (413, [Settle(Reason::TooLarge); 7]),
        (429, [Settle(Reason::Throttled); 7]),
        (500, [unavailable; 7]),
        (502, [unavailable; 7]),
        (503, [unavailable; 7]),
        (504, [unavailable; 7]),
        (599, [unavailable; 7]),
    ] {
        for (form, verdict) in FORMS.into_iter().zip(verdicts) {
            assert_eq!(judge(&answered(status, None, ""), first(form)), verdict, "{status} {form:?}");
        }
    }
}

#[test]
fn a_missing_row_is_ours_or_a_parent_by_what_was_asked() {
    let (gone, parent) = (Settle(Reason::NotFound), Settle(Reason::ParentMissing));
    for (form, alone, binding) in [
        (Upsert, gone, parent),
        (Create, gone, parent),
        (Update, gone, RowOrParent),
        (UpdateUnchanged, Moved, RowOrParent),
        (Delete, Settle(Reason::AlreadyAbsent), Settle(Reason::AlreadyAbsent)),
        (DeleteUnchanged, Moved, Moved),
        (Read, gone, gone),
    ] {
        let fault = answered(404, Some(0x8004_0217), "");
        for (binds, verdict) in [(false, alone), (true, binding)] {
            assert_eq!(judge(&fault, Attempt { form, binds, again: 0 }), verdict, "{form:?} binds: {binds}");
        }
    }
}

#[test]
fn what_is_sent_again_in_place_is_bounded() {
    for (code, text, most, then) in [
        (0x8004_4150, DEADLOCK, MOST_DEADLOCKS, Reason::Unavailable),
        (0x8004_0216, "An unexpected error occurred.", 1, Reason::InvalidData),
    ] {
        let judged = |again| judge(&answered(500, Some(code), text), Attempt { form: Upsert, binds: false, again });
        assert!((0..most).all(|again| judged(again) == Again), "{text}");
        assert_eq!(judged(most), Settle(then), "{text}");
    }
}

#[test]
fn every_answer_gets_a_verdict_and_the_laws_hold_for_each() {
    let known = codes::CODES.iter().map(|(code, _)| Some(*code));
    let codes: Vec<_> = [None, Some(0), Some(0x8123_4567), Some(u32::MAX)].into_iter().chain(known).collect();
    for status in 100..=599 {
        for (form, code) in FORMS.into_iter().flat_map(|form| codes.iter().map(move |code| (form, *code))) {
            let verdict = judge(&answered(status, code, ""), first(form));
            let known = code.is_some_and(|code| codes::meaning_of_code(code, "").is_some());
            let mendable = status >= 500 || matches!(status, 401 | 403 | 429);
            if mendable && !known {
                assert_eq!(ends(verdict), Some(Disposition::Retry), "{status} {code:x?} {form:?}");
            }
            assert_ne!(ends(verdict), Some(Disposition::Applied), "{status} {code:x?} {form:?}");
        }
    }
}

#[test]
fn a_lost_race_is_settled_by_policy_and_by_what_the_read_found() {
    use AfterRace::{Resend, Settle};
    use Found::{Nothing, Other, Same};
    use OnConflict::{Retry, Skip, Verify};
    let collision = Settle(Reason::KeyCollision);
    for (policy, found, seen, with_tries_left, with_none) in [
        (Verify, Same, false, Settle(Reason::AlreadyWritten), Settle(Reason::AlreadyWritten)),
        (Verify, Same, true, Settle(Reason::AlreadyWritten), Settle(Reason::AlreadyWritten)),
        (Verify, Other, false, Resend, collision),
        (Verify, Other, true, collision, collision),
        (Verify, Nothing, false, Resend, collision),
        (Verify, Nothing, true, Resend, collision),
        (Skip, Same, false, Settle(Reason::WrittenElsewhere), Settle(Reason::WrittenElsewhere)),
        (Skip, Same, true, Settle(Reason::WrittenElsewhere), Settle(Reason::WrittenElsewhere)),
        (Skip, Other, false, Settle(Reason::WrittenElsewhere), Settle(Reason::WrittenElsewhere)),
        (Skip, Other, true, Settle(Reason::WrittenElsewhere), Settle(Reason::WrittenElsewhere)),
        (Skip, Nothing, false, Resend, collision),
        (Skip, Nothing, true, Resend, collision),
        (Retry, Same, false, Resend, Settle(Reason::Conflict)),
        (Retry, Same, true, Resend, Settle(Reason::Conflict)),
        (Retry, Other, false, Resend, Settle(Reason::Conflict)),
        (Retry, Other, true, Resend, Settle(Reason::Conflict)),
        (Retry, Nothing, false, Resend, Settle(Reason::Conflict)),
        (Retry, Nothing, true, Resend, Settle(Reason::Conflict)),
    ] {
        let case = format!("{policy:?} {found:?} seen before: {seen}");
        assert!((0..MOST_RESENDS).all(|resends| race(policy, found, seen, resends) == with_tries_left), "{case}");
        assert_eq!(race(policy, found, seen, MOST_RESENDS), with_none, "{case}");
    }
}

#[test]
fn a_refused_create_is_settled_by_what_the_read_found() {
    use AfterRace::{Resend, Settle};
    for (found, delivered_before, with_tries_left, with_none) in [
        (Found::Same, false, Settle(Reason::Exists), Settle(Reason::Exists)),
        (Found::Same, true, Settle(Reason::AlreadyWritten), Settle(Reason::AlreadyWritten)),
        (Found::Other, false, Settle(Reason::Exists), Settle(Reason::Exists)),
        (Found::Other, true, Settle(Reason::Exists), Settle(Reason::Exists)),
        (Found::Nothing, false, Resend, Settle(Reason::KeyCollision)),
        (Found::Nothing, true, Resend, Settle(Reason::KeyCollision)),
    ] {
        let case = format!("{found:?} delivered before: {delivered_before}");
        let judged = |resends| create_refused(found, delivered_before, resends);
        assert!((0..MOST_RESENDS).all(|resends| judged(resends) == with_tries_left), "{case}");
        assert_eq!(judged(MOST_RESENDS), with_none, "{case}");
    }
}

#[test]
fn lock_storage_that_fails_costs_no_message() {
    let (status, code, problem) = (500, "InternalError".to_owned(), "no connection".to_owned());
    for error in [
        lock::Error::Refused { status: 403, code: code.clone() },
        lock::Error::Service { status, code },
        lock::Error::Unreachable { problem: problem.clone() },
        lock::Error::Token { problem },
    ] {
        assert_eq!(judge_locks(&error), Reason::StorageUnavailable);
    }
}

#[test]
fn a_message_waits_in_place_for_what_time_or_an_operator_mends_and_never_for_a_final_verdict() {
    for reason in Reason::ALL {
        let waits = matches!(news(reason), News::TooMuch | News::Fails);
        let worth_it = ["throttled", "unavailable", "unauthorized", "storage_unavailable"].contains(&reason.code());
        assert_eq!(waits, worth_it, "{}", reason.code());
        assert!(!waits || reason.disposition() == Disposition::Retry, "{}", reason.code());
    }
}

#[test]
fn a_failure_reaches_as_far_as_it_tells() {
    let no_token = |refused| Fault::NoToken { refused, problem: String::new() };
    for (fault, reach_of_it) in [
        (no_token(true), Reach::Everything),
        (no_token(false), Reach::Everything),
        (answered(403, Some(0x8004_0220), ""), Reach::Table),
        (answered(401, None, ""), Reach::Row),
        (answered(503, None, ""), Reach::Row),
        (answered(500, Some(0x8004_4151), ""), Reach::Row),
        (Fault::NoAnswer { sent: true, problem: "" }, Reach::Row),
    ] {
        assert_eq!(reach(&fault), reach_of_it, "{fault}");
    }
}

#[test]
fn only_a_dropped_write_that_means_the_same_twice_is_repeated() {
    for form in FORMS {
        let unconditional = matches!(form, Upsert | Update | Delete);
        assert_eq!(may_repeat(&Fault::NoAnswer { sent: true, problem: "" }, form), unconditional, "{form:?}");
        assert!(!may_repeat(&Fault::NoAnswer { sent: false, problem: "" }, form), "{form:?}");
        assert!(!may_repeat(&answered(504, None, ""), form), "{form:?}: a gateway's word is an answer");
    }
}
