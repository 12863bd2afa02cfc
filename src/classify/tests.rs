mod bodies;
mod properties;
mod refusals;

use std::collections::HashSet;
use std::time::Duration;

use Verdict::{Again, LostRace, Moved, RowOrParent, Settle};
use WriteKind::{Create, Delete, DeleteUnchanged, Read, Update, UpdateFound, UpdateUnchanged, Upsert};

use super::*;
use crate::dataverse::error_body::INVALID_URL;
use crate::outcome::Disposition;
use codes::Source;
use refusals::DEADLOCK;

const KINDS: [WriteKind; 8] = [Upsert, Create, Update, UpdateFound, UpdateUnchanged, Delete, DeleteUnchanged, Read];

fn answered(status: u16, code: Option<u32>, text: &str) -> Error {
    Error::answered(status, code, Some(text))
}

/// An answer whose body is not an error of Dataverse.
fn page(status: u16) -> Error {
    Error::answered(status, None, None)
}

fn first(kind: WriteKind) -> Attempt {
    Attempt { kind, binds: false, impersonates: false, again: 0 }
}

fn ends(verdict: Verdict) -> Option<Disposition> {
    match verdict {
        Settle(reason) => Some(reason.disposition()),
        LostRace | Moved | RowOrParent | Again => None,
    }
}

#[test]
fn a_code_beats_the_status_a_final_verdict_a_retry_and_a_delay_nothing() {
    for (status, code, reason) in [
        (500, Some(0x8004_4331), Reason::InvalidData),
        (503, Some(0x8004_0265), Reason::InvalidData),
        (400, None, Reason::InvalidData),
        (413, None, Reason::TooLarge),
    ] {
        for retry_after in [None, Some(Duration::from_secs(5))] {
            let (message, request_id, sent_at) = (Some(String::new()), None, None);
            let fault = Error::Answered { status, code, message, request_id, retry_after, sent_at };
            assert_eq!(judge(&fault, first(Upsert)), Settle(reason), "{status} {code:x?} {retry_after:?}");
        }
    }
}

#[test]
fn the_code_names_the_limit_and_without_one_it_is_the_rate() {
    for (code, wanted) in [
        (Some(0x8007_2326), LimitKind::Concurrency),
        (Some(0x8007_2322), LimitKind::Rate),
        (Some(0x8007_2321), LimitKind::Rate),
        (None, LimitKind::Rate),
    ] {
        assert_eq!(limit_kind(Some(&answered(429, code, ""))), wanted, "{code:?}");
    }
    assert_eq!(limit_kind(None), LimitKind::Rate);
}

#[test]
fn what_is_unknown_or_an_operator_can_fix_is_retried_and_a_bad_request_is_rejected() {
    let no_answer = |sent| Error::NoAnswer { sent, problem: "no answer in time" };
    let no_token = |refused| Error::NoToken { refused, problem: "AADSTS7000222".to_owned() };
    for (fault, reason) in [
        (answered(500, Some(0x8004_FFFF), ""), Reason::Unavailable),
        (answered(418, Some(0x8004_FFFF), ""), Reason::InvalidData),
        (no_answer(true), Reason::Unavailable),
        (no_answer(false), Reason::Unavailable),
        (no_token(true), Reason::Unauthorized),
        (no_token(false), Reason::Unavailable),
        (Error::NotAddressable { column: "name".to_owned() }, Reason::InvalidData),
        (Error::Ambiguous, Reason::KeyCollision),
        (Error::Withheld, Reason::Throttled),
    ] {
        assert_eq!(judge(&fault, first(Upsert)), Settle(reason), "{fault}");
    }
}

#[test]
fn without_a_code_or_a_text_the_status_decides() {
    let unauthorized = [Settle(Reason::Unauthorized); 8];
    let (invalid, unavailable) = (Settle(Reason::InvalidData), Settle(Reason::Unavailable));
    let collision = Settle(Reason::KeyCollision);
    for (status, verdicts) in [
        (302, [unavailable; 8]),
        (400, [invalid; 8]),
        (401, unauthorized),
        (403, unauthorized),
        (404, [Settle(Reason::NotFound); 8]),
        (405, [invalid; 8]),
        (407, unauthorized),
        (408, [unavailable; 8]),
        (409, [LostRace, LostRace, collision, collision, Moved, Again, Moved, Again]),
        (412, [LostRace, LostRace, collision, collision, Moved, invalid, Moved, invalid]),
        (413, [Settle(Reason::TooLarge); 8]),
        (429, [Settle(Reason::Throttled); 8]),
        (500, [unavailable; 8]),
        (502, [unavailable; 8]),
        (503, [unavailable; 8]),
        (504, [unavailable; 8]),
        (599, [unavailable; 8]),
    ] {
        for (kind, verdict) in KINDS.into_iter().zip(verdicts) {
            assert_eq!(judge(&answered(status, None, ""), first(kind)), verdict, "{status} {kind:?}");
        }
    }
}

#[test]
fn a_page_of_a_gateway_costs_no_message_unless_the_message_is_too_large() {
    for status in 100..=599 {
        for kind in KINDS {
            let verdict = judge(&page(status), first(kind));
            let expected = match status {
                401 | 403 | 407 | 431 => Settle(Reason::Unauthorized),
                413 | 414 => Settle(Reason::TooLarge),
                429 => Settle(Reason::Throttled),
                _ => Settle(Reason::Unavailable),
            };
            assert_eq!(verdict, expected, "{status} {kind:?}");
        }
    }
    assert_eq!(judge(&answered(400, None, INVALID_URL), first(Upsert)), Settle(Reason::TooLarge), "a long key");
}

#[test]
fn a_missing_row_is_the_records_own_or_a_parent_depending_on_the_request() {
    let (gone, parent) = (Settle(Reason::NotFound), Settle(Reason::ParentMissing));
    for (kind, alone, binding) in [
        (Upsert, Again, parent),
        (Create, gone, parent),
        (Update, gone, RowOrParent),
        (UpdateFound, Moved, RowOrParent),
        (UpdateUnchanged, Moved, RowOrParent),
        (Delete, Settle(Reason::AlreadyAbsent), Settle(Reason::AlreadyAbsent)),
        (DeleteUnchanged, Moved, Moved),
        (Read, gone, gone),
    ] {
        let fault = answered(404, Some(0x8004_0217), "");
        for (binds, verdict) in [(false, alone), (true, binding)] {
            assert_eq!(judge(&fault, Attempt { binds, ..first(kind) }), verdict, "{kind:?} binds: {binds}");
        }
    }
}

#[test]
fn retries_in_place_are_bounded() {
    for (status, code, text, most, then) in [
        (500, 0x8004_4150, DEADLOCK, MAX_AGAIN, Reason::Unavailable),
        (400, 0x8004_4150, DEADLOCK, MAX_AGAIN, Reason::Unavailable),
        (400, 0x8004_0255, "", MAX_AGAIN, Reason::Unavailable),
        (500, 0x8004_4339, "", MAX_AGAIN, Reason::Unavailable),
        (400, 0x8004_8105, "", MAX_AGAIN, Reason::Unavailable),
        (400, 0x8006_089D, "", MAX_AGAIN, Reason::KeyCollision),
        (500, 0x8009_000C, "", 1, Reason::InvalidData),
        (404, 0x8004_0217, "", 1, Reason::NotFound),
        // After two catch-all codes the status decides.
        (400, 0x8004_0224, "", 1, Reason::InvalidData),
        (500, 0x8004_0224, "", 1, Reason::Unavailable),
        (400, 0x8004_0251, "", 1, Reason::InvalidData),
        (400, 0x8004_0216, "An unexpected error occurred.", 1, Reason::InvalidData),
        (500, 0x8004_0216, "An unexpected error occurred.", 1, Reason::Unavailable),
        (403, 0x8004_0216, "An unexpected error occurred.", 1, Reason::Unauthorized),
    ] {
        let judged = |again| judge(&answered(status, Some(code), text), Attempt { again, ..first(Upsert) });
        assert!((0..most).all(|again| judged(again) == Again), "{status} {text}");
        assert_eq!(judged(most), Settle(then), "{status} {text}");
    }
}

#[test]
fn every_answer_gets_a_verdict_and_the_laws_hold_for_each() {
    let known = codes::CODES.iter().map(|(code, ..)| Some(*code));
    let codes: Vec<_> = [None, Some(0), Some(0x8123_4567), Some(u32::MAX)].into_iter().chain(known).collect();
    for status in 100..=599 {
        for (kind, code) in KINDS.into_iter().flat_map(|kind| codes.iter().map(move |code| (kind, *code))) {
            let verdict = judge(&answered(status, code, ""), first(kind));
            let known = code.is_some_and(is_known);
            let mendable = status >= 500 && status != 501 || matches!(status, 401 | 403 | 407 | 429);
            if mendable && !known {
                assert_eq!(ends(verdict), Some(Disposition::Retry), "{status} {code:x?} {kind:?}");
            }
            assert_ne!(ends(verdict), Some(Disposition::Applied), "{status} {code:x?} {kind:?}");
        }
    }
}

/// `cargo test --lib each_code_is_listed_once -- --nocapture` prints the table.
#[test]
fn each_code_is_listed_once_with_its_name_and_source() {
    let codes: HashSet<_> = codes::CODES.iter().map(|(code, ..)| code).collect();
    assert_eq!(codes.len(), codes::CODES.len());
    let named: Vec<_> = codes::CODES.iter().filter(|(_, name, ..)| !name.is_empty()).collect();
    assert_eq!(named.iter().map(|(_, name, ..)| name).collect::<HashSet<_>>().len(), named.len());
    println!("| code | name | meaning | source |\n|---|---|---|---|");
    for (code, name, meaning, source) in codes::CODES {
        println!("| {code:#010x} | {name} | {meaning:?} | {source:?} |");
        let fits = match source {
            Source::Codes | Source::Statuses | Source::Limits => !name.is_empty(),
            Source::Reports | Source::Troubleshooting => true,
            Source::Rfc => false,
        };
        assert!(fits, "{code:#010x} {name} {source:?}");
    }
    println!("{} codes, {} with a name", codes::CODES.len(), named.len());
}

#[test]
fn a_lost_race_is_settled_by_policy_and_by_the_row() {
    use AfterRace::{Resend, Settle};
    use OnConflict::{Retry, Skip, Verify};
    use RowMatch::{Differs, Missing, NotProven, Same};
    for (policy, found, after, after_created_later) in [
        (Verify, Same, Settle(Reason::AlreadyWritten), Settle(Reason::AlreadyWritten)),
        (Verify, NotProven, Resend, Resend),
        (Verify, Differs, Resend, Resend),
        (Verify, Missing, Resend, Resend),
        (Skip, Same, Settle(Reason::AlreadyWritten), Settle(Reason::AlreadyWritten)),
        (Skip, NotProven, Resend, Settle(Reason::WrittenElsewhere)),
        (Skip, Differs, Resend, Settle(Reason::WrittenElsewhere)),
        (Skip, Missing, Resend, Resend),
        (Retry, Same, Resend, Resend),
        (Retry, NotProven, Resend, Resend),
        (Retry, Differs, Resend, Resend),
        (Retry, Missing, Resend, Resend),
    ] {
        assert_eq!(race(policy, found, false), after, "{policy:?} {found:?}");
        assert_eq!(race(policy, found, true), after_created_later, "{policy:?} {found:?} created later");
    }
}

#[test]
fn a_second_412_is_a_collision_if_the_row_was_read_and_is_retried_by_the_host_otherwise() {
    use AfterRace::{Resend, Settle};
    for policy in [OnConflict::Verify, OnConflict::Skip] {
        assert_eq!(race_again(policy, 1), Settle(Reason::KeyCollision), "{policy:?}");
    }
    let judged: Vec<_> = (1..=MAX_RESENDS).map(|resends| race_again(OnConflict::Retry, resends)).collect();
    assert_eq!(judged, [Resend, Resend, Settle(Reason::Conflict)]);
}

#[test]
fn a_refused_create_is_settled_by_the_row() {
    use AfterRace::{Resend, Settle};
    let (exists, ours) = (Settle(Reason::Exists), Settle(Reason::AlreadyWritten));
    for (found, delivered_before, is_ours, after) in [
        (RowMatch::Same, false, true, exists),
        (RowMatch::Same, true, false, ours),
        (RowMatch::NotProven, false, true, exists),
        (RowMatch::NotProven, true, false, exists),
        (RowMatch::NotProven, true, true, ours),
        (RowMatch::Differs, true, true, exists),
        (RowMatch::Missing, false, false, Resend),
        (RowMatch::Missing, true, true, Resend),
    ] {
        let judged = create_refused(found, delivered_before, is_ours);
        assert_eq!(judged, after, "{found:?} delivered before: {delivered_before}, ours: {is_ours}");
    }
}

#[test]
fn a_failure_has_the_scope_that_it_is_evidence_for() {
    let no_token = |refused| Error::NoToken { refused, problem: String::new() };
    for (fault, reach_of_it) in [
        (no_token(true), FailureScope::Environment),
        (no_token(false), FailureScope::Environment),
        (answered(401, Some(0x8004_A101), ""), FailureScope::Environment),
        (answered(403, Some(0x8007_2560), ""), FailureScope::Environment),
        (answered(403, Some(0x8009_5FFE), "blocked"), FailureScope::Environment),
        (answered(403, Some(0x8004_0220), ""), FailureScope::Table),
        (answered(400, Some(0x8004_0220), ""), FailureScope::Table),
        (answered(403, None, ""), FailureScope::Table),
        (answered(403, Some(0x8004_0299), ""), FailureScope::Row),
        (answered(400, Some(0x8004_022B), ""), FailureScope::Row),
        (page(403), FailureScope::Row),
        (answered(401, None, ""), FailureScope::Row),
        (answered(503, None, ""), FailureScope::Row),
        (answered(500, Some(0x8004_4151), ""), FailureScope::Row),
        (Error::NoAnswer { sent: true, problem: "" }, FailureScope::Row),
    ] {
        assert_eq!(failure_scope(&fault), reach_of_it, "{fault}");
    }
}

#[test]
fn a_refused_key_is_the_one_of_the_table_that_is_named() {
    let message = r#"{"table":"contacts","key":{"employeeid":"E1"},"columns":{
        "a@odata.bind":"/accounts(accountnumber='7')","m@odata.bind":"/contacts(mail='x')",
        "c@odata.bind":"/opportunities(code='7')"}}"#;
    let record = crate::record::decode(&message.into()).expect("a record");
    let keys = record.addressed_keys();
    let named = |code, text: &str| refused_key(&answered(400, code, text), &keys).map(|at| keys[at].to_string());
    let today = |table: &str| {
        format!("The key in the request URI is not valid for resource 'Microsoft.Dynamics.CRM.{table}'. Ensure")
    };
    for (table, key) in
        [("account", "accounts(accountnumber)"), ("opportunity", "opportunities(code)"), ("contact", "contacts(mail)")]
    {
        assert_eq!(named(Some(0x8006_0888), &today(table)).as_deref(), Some(key), "{table}");
        let old = format!("The specified key attributes are not a defined key for the {table} entity");
        assert_eq!(named(Some(0x8006_0890), &old).as_deref(), Some(key), "{table}");
    }
    assert_eq!(named(Some(0x8006_0888), "Bad Request"), None);
    assert_eq!(refused_key(&answered(400, Some(0x8006_0890), ""), &[]), None);
}

#[test]
fn a_user_on_whose_behalf_a_request_is_made_may_not_exist() {
    let user = answered(404, Some(0x8004_0217), "Entity 'SystemUser' With Id = 9b2e Does Not Exist");
    let contact = answered(404, Some(0x8004_0217), "contact With Id = 9b2e Does Not Exist");
    for kind in [Upsert, Create, Update, Delete] {
        let (on_behalf, own) = (Attempt { impersonates: true, ..first(kind) }, first(kind));
        assert_eq!(judge(&user, on_behalf), Settle(Reason::Unauthorized), "{kind:?}");
        assert_eq!(judge(&user, own), judge(&contact, own), "{kind:?}");
        assert_eq!(judge(&contact, on_behalf), judge(&contact, own), "{kind:?}");
    }
}

#[test]
fn a_foreign_key_is_a_missing_parent_where_a_lookup_is_bound() {
    let fault = answered(400, Some(0x8004_8D21), "The INSERT statement conflicted with the FOREIGN KEY constraint");
    let (parent, invalid) = (Settle(Reason::ParentMissing), Settle(Reason::InvalidData));
    for (kind, verdict) in
        [(Create, parent), (Upsert, parent), (Update, parent), (Delete, invalid), (DeleteUnchanged, invalid)]
    {
        assert_eq!(judge(&fault, Attempt { binds: true, ..first(kind) }), verdict, "{kind:?}");
        assert_eq!(judge(&fault, first(kind)), invalid, "{kind:?}");
    }
}

#[test]
fn a_read_has_no_data_that_a_catch_all_could_refuse() {
    for code in [0x8004_0216, 0x8004_0224, 0x8004_0251] {
        let second = Attempt { again: 1, ..first(Read) };
        assert_eq!(judge(&answered(400, Some(code), ""), second), Settle(Reason::Unavailable), "{code:#x}");
        assert_eq!(judge(&answered(403, Some(code), ""), second), Settle(Reason::Unauthorized), "{code:#x}");
    }
}

#[test]
fn only_a_dropped_write_that_means_the_same_twice_may_be_repeated() {
    for kind in KINDS {
        let means_the_same_twice = matches!(kind, Upsert | Update | UpdateFound | Delete);
        assert_eq!(may_repeat(&Error::NoAnswer { sent: true, problem: "" }, kind), means_the_same_twice, "{kind:?}");
        assert!(!may_repeat(&Error::NoAnswer { sent: false, problem: "" }, kind), "{kind:?}");
        assert!(!may_repeat(&answered(504, None, ""), kind), "{kind:?}: a gateway's answer is an answer");
    }
}
