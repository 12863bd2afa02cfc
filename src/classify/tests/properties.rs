//! The laws as properties: for any status, code, text and request.

use proptest::prelude::*;
use proptest::sample::select;

use super::super::*;
use super::{KINDS, answered, ends};
use crate::outcome::Disposition;

fn config() -> ProptestConfig {
    ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(500) }
}

fn statuses() -> impl Strategy<Value = u16> {
    prop_oneof![100..600_u16, select(codes::STATUSES.to_vec()).prop_map(|(status, ..)| status), Just(412)]
}

fn known_codes() -> impl Strategy<Value = u32> {
    select(codes::CODES.to_vec()).prop_map(|(code, ..)| code)
}

fn unknown_codes() -> impl Strategy<Value = u32> {
    prop_oneof![any::<u32>(), 0x8004_0000..0x8007_FFFF_u32].prop_filter("the table has it", |code| !is_known(*code))
}

/// Arbitrary text, and the service's texts within arbitrary text.
fn texts() -> impl Strategy<Value = String> {
    let said = select(codes::TEXTS.to_vec()).prop_map(|(text, _)| text);
    let quoted = (any::<String>(), prop_oneof![said, Just("Does Not Exist")], any::<String>());
    prop_oneof![any::<String>(), Just(String::new()), quoted.prop_map(|(a, b, c)| format!("{a}{b}{c}"))]
}

fn attempts() -> impl Strategy<Value = Attempt> {
    let again = prop_oneof![0..5_u32, any::<u32>()];
    (select(&KINDS[..]), any::<[bool; 2]>(), again).prop_map(|(kind, [binds, impersonates], again)| Attempt {
        kind,
        binds,
        impersonates,
        again,
    })
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn any_answer_gets_a_verdict_that_no_delay_changes_and_never_a_success(
        status in prop_oneof![any::<u16>(), statuses()],
        code in prop_oneof![Just(None), unknown_codes().prop_map(Some), known_codes().prop_map(Some)],
        text in texts(),
        attempt in attempts(),
        delay in any::<u32>(),
    ) {
        let verdict = judge(&answered(status, code, &text), attempt);
        prop_assert_ne!(ends(verdict), Some(Disposition::Applied));
        let delay = Some(std::time::Duration::from_secs(delay.into()));
        let delayed = Error::Answered { status, code, message: Some(text), request_id: None, retry_after: delay, sent_at: None };
        prop_assert_eq!(judge(&delayed, attempt), verdict);
    }

    #[test]
    fn retries_in_place_end(
        status in statuses(),
        code in prop_oneof![Just(None), known_codes().prop_map(Some)],
        text in texts(),
        attempt in attempts(),
    ) {
        let late = Attempt { again: attempt.again.max(MAX_AGAIN), ..attempt };
        prop_assert_ne!(judge(&answered(status, code, &text), late), Verdict::Again);
    }

    #[test]
    fn a_refusal_of_our_identity_never_costs_a_message(
        status in select(vec![401_u16, 403, 407]),
        code in prop_oneof![Just(None), unknown_codes().prop_map(Some)],
        text in texts(),
        attempt in attempts(),
    ) {
        let verdict = judge(&answered(status, code, &text), attempt);
        prop_assert_eq!(verdict, Verdict::Settle(Reason::Unauthorized));
    }

    #[test]
    fn a_code_about_our_identity_says_so_under_any_status(
        status in any::<u16>(),
        code in known_codes().prop_filter("of our identity", |code| {
            matches!(codes::meaning_of_code(*code, ""), Some(codes::Meaning::Unauthorized(_)))
        }),
        text in texts(),
        attempt in attempts(),
    ) {
        let verdict = judge(&answered(status, Some(code), &text), attempt);
        prop_assert_eq!(verdict, Verdict::Settle(Reason::Unauthorized));
    }

    #[test]
    fn unknown_4xx_are_rejected_for_every_request(
        status in (400..500_u16).prop_filter("it has a meaning of its own", |status| {
            !matches!(status, 401 | 403 | 407 | 408 | 409 | 412 | 421 | 423 | 425 | 429 | 431 | 499)
        }),
        code in unknown_codes(),
        text in texts(),
        attempt in attempts(),
    ) {
        prop_assert_eq!(ends(judge(&answered(status, Some(code), &text), attempt)), Some(Disposition::Rejected));
    }

    #[test]
    fn unknown_5xx_and_statuses_that_are_not_errors_are_retried(
        status in prop_oneof![Just(500_u16), 502..=u16::MAX, 0..400_u16],
        code in unknown_codes(),
        text in texts(),
        attempt in attempts(),
    ) {
        let verdict = judge(&answered(status, Some(code), &text), attempt);
        prop_assert_eq!(verdict, Verdict::Settle(Reason::Unavailable));
    }

    #[test]
    fn no_answer_and_no_token_never_cost_a_message(
        flag in any::<bool>(),
        problem in any::<String>(),
        attempt in attempts(),
    ) {
        for fault in [Error::NoAnswer { sent: flag, problem: "" }, Error::NoToken { refused: flag, problem }] {
            prop_assert_eq!(ends(judge(&fault, attempt)), Some(Disposition::Retry));
        }
    }
}
