use std::collections::HashSet;

use super::*;

#[test]
fn every_reason_has_a_code_of_its_own_in_snake_case() {
    let codes: HashSet<_> = Reason::ALL.iter().map(|reason| reason.code()).collect();
    assert_eq!(codes.len(), Reason::ALL.len());
    assert!(codes.iter().all(|code| code.chars().all(|c| c.is_ascii_lowercase() || c == '_')));
    assert!(Reason::ALL.iter().all(|reason| serde_json::json!(reason) == reason.code()), "JSON has the codes");
}

#[test]
fn only_retries_ask_the_caller_to_wait() {
    for reason in Reason::ALL {
        let waits = reason.default_retry_after().is_some();
        assert_eq!(waits, reason.disposition() == Disposition::Retry, "{}", reason.code());
    }
}

#[test]
fn the_status_class_fits_the_disposition() {
    for reason in Reason::ALL {
        let status = reason.http_status();
        let fits = match reason.disposition() {
            Disposition::Applied | Disposition::Skipped => status < 300,
            Disposition::Retry => status == 503 || status == 429,
            Disposition::Rejected => (400..500).contains(&status) && status != 429,
        };
        assert!(fits, "{} answers {status}", reason.code());
    }
}

#[test]
fn fields_without_a_value_are_left_out() {
    let json = serde_json::to_string(&Outcome::new(Reason::Upserted)).expect("an outcome is plain data");
    assert_eq!(json, r#"{"outcome":"applied","reason":"upserted"}"#);
}

#[test]
fn an_http_caller_gets_no_detail_that_is_for_operators_and_all_others() {
    for reason in Reason::ALL {
        let said = |text: &str| Some(text.to_owned());
        let (status, code, request_id) = (Some(403), said("0x80040220"), said("r-1"));
        let message = said("Principal user is missing prvCreateContact privilege.");
        let dataverse = Some(ServiceAnswer { status, code, message, request_id });
        let shown = Outcome { dataverse, ..Outcome::new(reason).detail("AADSTS7000215") }.for_caller();
        let answer = shown.dataverse.expect("the answer stays");
        let (has_text, kept) =
            (answer.message.is_some(), (answer.status, answer.code.as_deref(), answer.request_id.as_deref()));
        assert_eq!(kept, (Some(403), Some("0x80040220"), Some("r-1")), "{}", reason.code());
        let operators = [Reason::Unavailable, Reason::Unauthorized, Reason::StorageUnavailable].contains(&reason);
        assert_eq!(
            (has_text, shown.detail.as_deref() == Some("AADSTS7000215")),
            (!operators, !operators),
            "{}",
            reason.code()
        );
    }
}
