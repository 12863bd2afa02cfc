use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

const DUPLICATE: Option<u32> = Some(0x8004_0237);

fn parsed(body: &str) -> (Option<u32>, Option<String>) {
    let ServiceError { code, message } = read(body.as_bytes());
    (code, message)
}

fn check(cases: &[(&str, Option<u32>, Option<&str>)]) {
    for (body, code, message) in cases {
        assert_eq!(parsed(body), (*code, message.map(str::to_owned)), "{body}");
    }
}

#[test]
fn reads_both_shapes_and_every_notation_of_a_code() {
    check(&[
        (r#"{"error":{"code":"0x80040237","message":"m"}}"#, DUPLICATE, Some("m")),
        (r#"{"error":{"code":"0X80040237","message":"m","innererror":{"code":7}}}"#, DUPLICATE, Some("m")),
        (r#"{"error":{"message":"m","@any":[1,{"code":"0x1"}],"code":" -2147220937 "}}"#, DUPLICATE, Some("m")),
        (r#"{"Message":"x","ExceptionMessage":"m","ErrorCode":"0x80040237"}"#, DUPLICATE, Some("m")),
        (r#"{"Message":"m","ErrorCode":-2147220937}"#, DUPLICATE, Some("m")),
        (r#"{"ErrorCode":2147746359,"Message":"m"}"#, DUPLICATE, Some("m")),
    ]);
}

#[test]
fn an_empty_code_and_zero_are_absent() {
    for code in
        [r#""""#, r#""  ""#, r#""0x0""#, r#""0x00000000""#, r#""0""#, "0", "null", r#""Forbidden""#, "[]", "1.5"]
    {
        check(&[
            (&format!(r#"{{"error":{{"code":{code},"message":"m"}}}}"#), None, Some("m")),
            (&format!(r#"{{"ErrorCode":{code},"ExceptionMessage":"","Message":"m"}}"#), None, Some("m")),
        ]);
    }
    check(&[(r#"{"error":{"code":"0x0","message":""}}"#, None, Some(""))]);
}

#[test]
fn a_number_out_of_range_is_not_a_code() {
    for code in ["4294967296", "-2147483649", r#""0x180040237""#, r#""99999999999999999999""#, "8e9"] {
        check(&[(&format!(r#"{{"error":{{"code":{code},"message":"m"}}}}"#), None, Some("m"))]);
    }
}

#[test]
fn a_message_that_is_not_text_is_empty() {
    check(&[
        (r#"{"error":{"code":"0x80040237","message":{"lang":"en","value":"m"}}}"#, DUPLICATE, Some("")),
        (r#"{"error":{"code":"0x80040237","message":null}}"#, DUPLICATE, Some("")),
        (r#"{"error":{"code":"0x80040237","message":"\ud800"}}"#, DUPLICATE, None),
    ]);
}

#[test]
fn a_body_that_is_not_from_dataverse_has_neither_code_nor_message() {
    for body in
        ["", " ", "<html><body>Bad gateway 0x80040237</body></html>", "[]", "null", "7", r#""0x80040237""#, "{}"]
    {
        check(&[(body, None, None)]);
    }
    check(&[(r#"{"error":"invalid_grant","error_description":"m"}"#, None, None), (r#"{"error":null}"#, None, None)]);
    assert_eq!(read(b"\xff\xfe{\x00}"), ServiceError::default());
}

#[test]
fn a_truncated_body_gives_its_complete_members() {
    check(&[
        (r#"{"error":{"code":"0x80040237","message":"m"}"#, DUPLICATE, Some("m")),
        (r#"{"error":{"code":"0x80040237","message":"a record wi"#, DUPLICATE, None),
        (r#"{"error":{"code":"0x80040237""#, DUPLICATE, None),
        (r#"{"error":{"code":"0x80040237"#, None, None),
        (r#"{"error":{"code":"0x8004"#, None, None),
        (r#"{"error":{"message":"m","code":"0x8004"#, None, Some("m")),
        (r#"{"Message":"m","ErrorCode":-2147220937,"#, DUPLICATE, Some("m")),
        // The number may be truncated.
        (r#"{"Message":"m","ErrorCode":-2147220937"#, None, Some("m")),
        (r#"{"Message":"m","ErrorCode":-214"#, None, Some("m")),
    ]);
    let mut broken = br#"{"error":{"code":"0x80040237","message":""#.to_vec();
    broken.push(0xC3);
    assert_eq!(read(&broken), ServiceError { code: DUPLICATE, message: None }, "half a character");
}

#[test]
fn a_duplicate_member_is_ignored() {
    check(&[
        (r#"{"error":{"code":"0x80040237","code":"0x80040333","message":"m"}}"#, None, None),
        (r#"{"error":{"code":"0x80040237"},"ErrorCode":"0x80040333"}"#, None, None),
        (r#"{"error":{"message":"m","message":"n","code":"0x80040237"}}"#, None, None),
    ]);
}

#[test]
fn a_message_is_cut_at_its_cap() {
    let body = format!(r#"{{"error":{{"code":"0x80040237","message":"{}"}}}}"#, "ä".repeat(MESSAGE_CAP + 1));
    assert_eq!(parsed(&body), (DUPLICATE, Some("ä".repeat(MESSAGE_CAP))));
}

#[test]
fn a_long_message_keeps_the_sql_error_that_it_quotes() {
    for (gap, words) in
        [(2_000, "Sql Number: 1205"), (MESSAGE_CAP - 4, "Error Number:40613"), (9_000, "Deadlock Victim")]
    {
        let text = format!("ä plug-in failed: {}{words}, and more{}", "x".repeat(gap), "y".repeat(3_000));
        let (_, message) = parsed(&format!(r#"{{"error":{{"code":"0x80040265","message":"{text}"}}}}"#));
        let message = message.expect("a text");
        assert!(message.starts_with("ä plug-in failed: xx") && message.contains(words), "{message}");
        assert!(message.chars().count() <= MESSAGE_CAP, "{}", message.chars().count());
    }
}

/// Complete bodies with a code and a text.
fn bodies() -> impl Strategy<Value = String> {
    let code = prop_oneof![
        any::<i32>().prop_map(|code| code.to_string()),
        any::<u32>().prop_map(|code| format!("\"{code:#010x}\"")),
        Just(r#""""#.to_owned()),
        "[-0-9a-fx\"]{0,8}",
    ];
    let text = any::<String>().prop_map(|text| serde_json::json!(text).to_string());
    (code, text, any::<[bool; 2]>()).prop_map(|(code, text, [is_odata, code_first])| {
        let (code_name, text_name) = if is_odata { ("code", "message") } else { ("ErrorCode", "ExceptionMessage") };
        let (code, text) = (format!("\"{code_name}\":{code}"), format!("\"{text_name}\":{text}"));
        let members = if code_first { format!("{code},{text}") } else { format!("{text},{code}") };
        if is_odata { format!(r#"{{"error":{{{members}}}}}"#) } else { format!("{{{members}}}") }
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(1_000) })]

    #[test]
    fn any_bytes_give_a_bounded_message(body in vec(any::<u8>(), 0..300)) {
        let ServiceError { code, message } = read(&body);
        prop_assert!(code != Some(0) && message.is_none_or(|text| text.chars().count() <= MESSAGE_CAP));
    }

    #[test]
    fn no_prefix_of_a_body_gives_what_the_whole_does_not(body in bodies()) {
        let whole = read(body.as_bytes());
        for end in 0..body.len() {
            let ServiceError { code, message } = read(&body.as_bytes()[..end]);
            prop_assert!(code.is_none() || code == whole.code, "{}", &body[..body.floor_char_boundary(end)]);
            prop_assert!(message.is_none() || message == whole.message, "{}", &body[..body.floor_char_boundary(end)]);
        }
    }
}
