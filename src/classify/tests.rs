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

fn answered(status: u16, code: Option<u32>, message: &str) -> Error {
    Error::Answered { status, code, message: Some(message.to_owned()), request_id: None, retry_after: None }
}

/// An answer whose body is not an error of Dataverse.
fn page(status: u16) -> Error {
    Error::Answered { status, code: None, message: None, request_id: None, retry_after: None }
}

fn first(kind: WriteKind) -> Attempt {
    Attempt { kind, binds: false, again: 0 }
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
        Error::Answered { status: 503, code: Some(0x8004_0265), message: None, request_id: None, retry_after: delay };
    assert_eq!(judge(&fault, first(Upsert)), Settle(Reason::InvalidData));
}

#[test]
fn a_delay_never_causes_a_retry() {
    for (status, code, reason) in [(400, None, Reason::InvalidData), (413, None, Reason::TooLarge)] {
        let fault = Error::Answered {
            status,
            code,
            message: Some(String::new()),
            request_id: None,
            retry_after: Some(Duration::from_secs(5)),
        };
        assert_eq!(judge(&fault, first(Upsert)), Settle(reason));
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
fn unknown_5xx_are_retried() {
    let fault = answered(500, Some(0x8004_FFFF), "");
    assert_eq!(judge(&fault, first(Upsert)), Settle(Reason::Unavailable));
}

#[test]
fn transport_failures_are_retried() {
    for sent in [true, false] {
        let fault = Error::NoAnswer { sent, problem: "no answer in time" };
        assert_eq!(judge(&fault, first(Upsert)), Settle(Reason::Unavailable));
    }
}

#[test]
fn unknown_4xx_are_rejected() {
    let fault = answered(418, Some(0x8004_FFFF), "");
    assert_eq!(judge(&fault, first(Upsert)), Settle(Reason::InvalidData));
}

#[test]
fn what_an_operator_can_fix_never_costs_a_message() {
    for (refused, reason) in [(true, Reason::Unauthorized), (false, Reason::Unavailable)] {
        let fault = Error::NoToken { refused, problem: "AADSTS7000222".to_owned() };
        assert_eq!(judge(&fault, first(Upsert)), Settle(reason));
        assert_eq!(reason.disposition(), Disposition::Retry);
    }
}

#[test]
fn a_key_that_no_url_can_hold_is_rejected() {
    let fault = Error::NotAddressable { column: "name".to_owned() };
    assert_eq!(judge(&fault, first(Upsert)), Settle(Reason::InvalidData));
}

#[test]
fn a_key_that_several_rows_have_is_rejected() {
    assert_eq!(judge(&Error::Ambiguous, first(Upsert)), Settle(Reason::KeyCollision));
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
        (409, [invalid; 8]),
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
        (Upsert, gone, parent),
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
            assert_eq!(judge(&fault, Attempt { kind, binds, again: 0 }), verdict, "{kind:?} binds: {binds}");
        }
    }
}

#[test]
fn retries_in_place_are_bounded() {
    for (status, code, text, most, then) in [
        (500, 0x8004_4150, DEADLOCK, MAX_DEADLOCK_RETRIES, Reason::Unavailable),
        (400, 0x8004_4150, DEADLOCK, MAX_DEADLOCK_RETRIES, Reason::Unavailable),
        // After two catch-all codes the status decides.
        (400, 0x8004_0216, "An unexpected error occurred.", 1, Reason::InvalidData),
        (500, 0x8004_0216, "An unexpected error occurred.", 1, Reason::Unavailable),
        (403, 0x8004_0216, "An unexpected error occurred.", 1, Reason::Unauthorized),
    ] {
        let judged = |again| judge(&answered(status, Some(code), text), Attempt { kind: Upsert, binds: false, again });
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

#[test]
fn each_code_is_listed_once_with_the_name_from_its_source() {
    let codes: HashSet<_> = codes::CODES.iter().map(|(code, ..)| code).collect();
    assert_eq!(codes.len(), codes::CODES.len());
    let named: Vec<_> = codes::CODES.iter().filter(|(_, name, ..)| !name.is_empty()).collect();
    assert_eq!(named.iter().map(|(_, name, ..)| name).collect::<HashSet<_>>().len(), named.len());
    for (code, name, _, source) in codes::CODES {
        let fits = match source {
            Source::Codes | Source::Statuses | Source::Limits => !name.is_empty(),
            Source::Reports => name.is_empty(),
            Source::Troubleshooting => true,
            Source::Rfc => false,
        };
        assert!(fits, "{code:#010x} {name} {source:?}");
    }
}

#[test]
fn a_lost_race_is_settled_by_policy_and_by_the_row() {
    use AfterRace::{Resend, Settle};
    use OnConflict::{Retry, Skip, Verify};
    use RowMatch::{Missing, NotProven, Same};
    for (policy, found, after) in [
        (Verify, Same, Settle(Reason::AlreadyWritten)),
        (Verify, NotProven, Resend),
        (Verify, Missing, Resend),
        (Skip, Same, Settle(Reason::WrittenElsewhere)),
        (Skip, NotProven, Settle(Reason::WrittenElsewhere)),
        (Skip, Missing, Resend),
        (Retry, Same, Resend),
        (Retry, NotProven, Resend),
        (Retry, Missing, Resend),
    ] {
        assert_eq!(race(policy, found), after, "{policy:?} {found:?}");
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
    for (found, delivered_before, after) in [
        (RowMatch::Same, false, Settle(Reason::Exists)),
        (RowMatch::Same, true, Settle(Reason::AlreadyWritten)),
        (RowMatch::NotProven, false, Settle(Reason::Exists)),
        (RowMatch::NotProven, true, Settle(Reason::Exists)),
        (RowMatch::Missing, false, Resend),
        (RowMatch::Missing, true, Resend),
    ] {
        assert_eq!(create_refused(found, delivered_before), after, "{found:?} delivered before: {delivered_before}");
    }
}

#[test]
fn a_failure_has_the_scope_that_it_is_evidence_for() {
    let no_token = |refused| Error::NoToken { refused, problem: String::new() };
    for (fault, reach_of_it) in [
        (no_token(true), FailureScope::Environment),
        (no_token(false), FailureScope::Environment),
        (answered(403, Some(0x8004_0220), ""), FailureScope::Table),
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
fn only_a_dropped_write_that_means_the_same_twice_may_be_repeated() {
    for kind in KINDS {
        let means_the_same_twice = matches!(kind, Upsert | Update | UpdateFound | Delete);
        assert_eq!(may_repeat(&Error::NoAnswer { sent: true, problem: "" }, kind), means_the_same_twice, "{kind:?}");
        assert!(!may_repeat(&Error::NoAnswer { sent: false, problem: "" }, kind), "{kind:?}");
        assert!(!may_repeat(&answered(504, None, ""), kind), "{kind:?}: a gateway's answer is an answer");
    }
}
