//! From the bytes of a body to the verdict: both shapes, every notation of a code, HTML pages, empty and truncated
//! bodies.

use super::super::*;
use super::refusals::{NO_CODE, refusals};
use super::{KINDS, answered, first, page};
use crate::dataverse::error_body::{self, ServiceError};

fn judged(status: u16, body: &[u8], kind: WriteKind) -> Verdict {
    let ServiceError { code, message } = error_body::read(body);
    judge(&Error::answered(status, code, message.as_deref()), first(kind))
}

/// The refusal's body in the odata shape; `code` is JSON.
fn odata(code: &str, text: &str) -> String {
    format!(r#"{{"error":{{"code":{code},"message":{}}}}}"#, serde_json::json!(text))
}

/// The refusal's body in the other shape.
fn other(code: &str, text: &str) -> String {
    let text = serde_json::json!(text);
    format!(r#"{{"Message":"An error has occurred.","ExceptionMessage":{text},"ErrorCode":{code}}}"#)
}

/// A code in all its notations.
fn notations(code: u32) -> Vec<String> {
    if code == NO_CODE {
        return [r#""""#, r#""0x0""#, "0", "null"].map(str::to_owned).to_vec();
    }
    let signed = code.cast_signed();
    vec![format!(r#""{code:#010x}""#), format!(r#""0x{code:X}""#), format!(r#""{signed}""#), signed.to_string()]
}

#[test]
fn both_shapes_and_every_notation_of_a_code_lead_to_the_verdict_of_the_table() {
    for (status, code, text, kind, verdict) in refusals() {
        for notation in notations(code) {
            let body = odata(&notation, text);
            assert_eq!(judged(status, body.as_bytes(), kind), verdict, "{status} {body} {kind:?}");
            // In this shape an empty text is replaced by a general one, so the verdict may differ.
            if !text.is_empty() {
                let body = other(&notation, text);
                assert_eq!(judged(status, body.as_bytes(), kind), verdict, "{status} {body} {kind:?}");
            }
        }
    }
}

#[test]
fn a_body_that_is_not_an_error_of_dataverse_comes_from_a_gateway() {
    let html = "<!DOCTYPE html><html><head><title>502</title></head><body>0x80040333 Does Not Exist</body></html>";
    for status in 100..=599 {
        for kind in KINDS {
            let alone = judge(&page(status), first(kind));
            for body in ["", html, "Bad Gateway", "{}", "null", "[]", r#"{"error":"invalid_token"}"#] {
                assert_eq!(judged(status, body.as_bytes(), kind), alone, "{status} {body} {kind:?}");
            }
        }
    }
}

#[test]
fn a_truncated_body_leads_to_the_verdict_of_its_complete_members() {
    for (status, code, text, kind, verdict) in refusals() {
        let known = (code != NO_CODE).then_some(code);
        let parts = [(known, ""), (None, text), (None, "")];
        let mut fits: Vec<_> = parts.map(|(code, text)| judge(&answered(status, code, text), first(kind))).to_vec();
        fits.extend([verdict, judge(&page(status), first(kind))]);
        for body in notations(code).iter().flat_map(|notation| [odata(notation, text), other(notation, text)]) {
            for end in 0..body.len() {
                let found = judged(status, &body.as_bytes()[..end], kind);
                assert!(fits.contains(&found), "{status} {} {kind:?}: {found:?}", &body[..end]);
            }
        }
    }
}

#[test]
fn a_complete_code_counts_although_the_rest_was_lost() {
    // By status alone, the first would be rejected and the second retried in vain.
    for (status, code, verdict) in [
        (400, "0x80044151", Verdict::Settle(Reason::Unavailable)),
        (500, "0x80040265", Verdict::Settle(Reason::InvalidData)),
        (412, "0x80040333", Verdict::Settle(Reason::DuplicateDetected)),
    ] {
        let body = format!(r#"{{"error":{{"code":"{code}","message":"A transac"#);
        assert_eq!(judged(status, body.as_bytes(), WriteKind::Upsert), verdict, "{body}");
    }
}

#[test]
fn the_client_reads_exactly_the_codes_of_a_missing_row_as_no_row_and_sees_through_the_wrappers() {
    use codes::Meaning::{ByStatus, ProviderRowMissing, RowMissing};
    let with = |meanings: &[codes::Meaning]| -> Vec<u32> {
        codes::CODES.iter().filter(|(_, _, meaning, _)| meanings.contains(meaning)).map(|(code, ..)| *code).collect()
    };
    assert_eq!(with(&[RowMissing, ProviderRowMissing]), error_body::MISSING_ROW);
    let wrappers = with(&[ByStatus]);
    assert!(error_body::WRAPPERS.iter().all(|code| wrappers.contains(code)), "{wrappers:x?}");
}
