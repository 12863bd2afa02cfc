//! What is sent, and what counts as an answer. Together with a server: `tests/it/client/batch.rs`.

use proptest::prelude::*;
use reqwest::Method;
use reqwest::header::{CONTENT_TYPE, IF_MATCH};

use super::*;

const CONTENT_TYPE_OF_ANSWER: &str = "multipart/mixed; boundary=batchresponse_1";

/// A request of a batch.
fn request(method: Method, path: &str, body: Option<&str>) -> Request {
    let url = format!("https://contoso.crm.dynamics.com/api/data/v9.2/{path}").parse().expect("a URL");
    let mut request = Request::new(method, url);
    *request.body_mut() = body.map(|body| Body::from(body.to_owned()));
    request
}

#[test]
fn requests_are_written_with_their_own_method_address_headers_and_body() {
    let mut patch =
        request(Method::PATCH, "contacts(employeeid='M%20%C3%BC')?$select=contactid", Some("{\"a\":\"ü\"}"));
    patch.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    patch.headers_mut().insert(IF_MATCH, HeaderValue::from_static("W/\"7\""));
    let (content_type, body) = write([&patch, &request(Method::DELETE, "contacts(employeeid='E2')", None)]);
    let content_type = content_type.to_str().expect("plain text");
    let boundary = content_type.strip_prefix("multipart/mixed; boundary=").expect("a boundary");
    let expected = [
        "--B",
        "Content-Type: application/http",
        "Content-Transfer-Encoding: binary",
        "Content-ID: 1",
        "",
        "PATCH /api/data/v9.2/contacts(employeeid='M%20%C3%BC')?$select=contactid HTTP/1.1",
        "content-type: application/json",
        "if-match: W/\"7\"",
        "Content-Length: 10",
        "",
        "{\"a\":\"ü\"}",
        "--B",
        "Content-Type: application/http",
        "Content-Transfer-Encoding: binary",
        "Content-ID: 2",
        "",
        "DELETE /api/data/v9.2/contacts(employeeid='E2') HTTP/1.1",
        "",
        "",
        "--B--",
        "",
    ];
    let body = std::str::from_utf8(&body).expect("it is text");
    assert_eq!(body.replace(boundary, "B").split("\r\n").collect::<Vec<_>>(), expected);
    assert!(boundary.len() >= 32, "{boundary}");
    assert_ne!(write([]).0, content_type, "a boundary is not used twice");
}

/// A part with these lines, which the line end before the next delimiter is added to.
fn part(lines: &[&str]) -> String {
    format!("--batchresponse_1\r\n{}\r\n", lines.join("\r\n"))
}

fn answer_with(id: &str, lines: &[&str]) -> String {
    let head = ["Content-Type: application/http", "Content-Transfer-Encoding: binary"];
    let id: &[&str] = if id.is_empty() { &[] } else { &[id] };
    part(&[&head, id, &[""], lines].concat())
}

/// An answer of Dataverse to a write.
fn no_content() -> String {
    answer_with("", &["HTTP/1.1 204 No Content", "OData-Version: 4.0", "", ""])
}

fn refused() -> String {
    let error = r#"{"error":{"code":"0x80040237","message":"A record with matching key values already exists."}}"#;
    answer_with("", &["HTTP/1.1 412 Precondition Failed", "REQ_ID: 5ecd", "OData-Version: 4.0", "", error])
}

fn closed(parts: &[String]) -> String {
    format!("{}--batchresponse_1--\r\n", parts.concat())
}

/// The statuses of the answers; 0: unknown.
fn statuses(text: &str, expected: usize) -> Vec<u16> {
    let answers = read(CONTENT_TYPE_OF_ANSWER, &Bytes::from(text.to_owned()), expected);
    answers.iter().map(|answer| answer.as_ref().map_or(0, |answer| answer.status().as_u16())).collect()
}

#[test]
fn answers_are_read_with_status_headers_and_body() {
    let body = closed(&[no_content(), refused(), answer_with("Content-ID: 3", &["HTTP/1.1 200 OK", "", "{", "}"])]);
    let answers = read(CONTENT_TYPE_OF_ANSWER, &body.into(), 3);
    let [Some(first), Some(second), Some(third)] = &answers[..] else { panic!("{answers:?}") };
    assert_eq!((first.status().as_u16(), first.body().len()), (204, 0));
    assert_eq!(first.headers()["odata-version"], "4.0");
    assert_eq!((second.status().as_u16(), &second.headers()["req_id"]), (412, &HeaderValue::from_static("5ecd")));
    assert!(second.body().starts_with(b"{\"error\":") && second.body().ends_with(b"exists.\"}}"));
    assert_eq!((third.status().as_u16(), third.body().as_ref()), (200, b"{\r\n}".as_slice()));
}

#[test]
fn an_answer_may_have_the_forms_that_are_known() {
    for (name, body) in [
        (
            "without an empty line after the last header",
            closed(&[answer_with("", &["HTTP/1.1 204 No Content", "A: b"])]),
        ),
        ("the same with one line end", closed(&[answer_with("", &["HTTP/1.1 204 No Content", "A: b", ""])])),
        ("before and after the parts", format!("before\r\n\r\n{}after", closed(&[no_content()]))),
        ("no line end at the end", closed(&[no_content()]).trim_end().to_owned()),
        ("blanks after the boundary", closed(&[no_content()]).replace("response_1\r\n", "response_1 \t\r\n")),
        ("another case", closed(&[no_content().replace("application/http", "Application/HTTP; msgtype=response")])),
        (
            "a length",
            closed(&[answer_with("content-id: 1", &["HTTP/1.1 204 No Content", "Content-Length: 0", "", ""])]),
        ),
    ] {
        assert_eq!(statuses(&body, 1), [204], "{name}");
    }
    let one = Bytes::from(closed(&[no_content()]));
    for (content_type, is_read) in [
        (r#"multipart/mixed; boundary="batchresponse_1""#, true),
        ("Multipart/Mixed;charset=utf-8;Boundary=batchresponse_1", true),
        ("multipart/mixed; boundary=batchresponse", false),
        ("multipart/mixed; boundary=", false),
        ("multipart/mixed", false),
        ("multipart/form-data; boundary=batchresponse_1", false),
        ("application/json", false),
        ("", false),
    ] {
        assert_eq!(read(content_type, &one, 1)[0].is_some(), is_read, "{content_type}");
    }
}

#[test]
fn a_part_in_doubt_is_unknown_and_the_others_keep_their_places() {
    let status = |lines: &[&str]| answer_with("", lines);
    for (name, doubtful) in [
        ("no status", status(&[""])),
        ("nothing", part(&[])),
        ("no headers of the part", part(&["", "HTTP/1.1 204 No Content", "", ""])),
        ("only an HTTP answer", part(&["HTTP/1.1 204 No Content", "", ""])),
        ("not an HTTP answer", no_content().replace("application/http", "application/json")),
        ("answers within the answer", no_content().replace("application/http", "multipart/mixed; boundary=b")),
        ("another encoding", no_content().replace("binary", "base64")),
        ("a status that is not one", status(&["HTTP/1.1 2040 No Content", "", ""])),
        ("a provisional status", status(&["HTTP/1.1 100 Continue", "", ""])),
        ("a status out of range", status(&["HTTP/1.1 600 What", "", ""])),
        ("another protocol", status(&["ICY 200 OK", "", ""])),
        ("other line ends", status(&["HTTP/1.1 200 OK\nContent-Type: application/json\n\n{}", ""])),
        ("a header that is not one", status(&["HTTP/1.1 204 No Content", "no header", "", ""])),
        ("shorter than its length", status(&["HTTP/1.1 200 OK", "Content-Length: 9", "", "{}"])),
        ("longer than its length", status(&["HTTP/1.1 200 OK", "Content-Length: 1", "", "{}"])),
        ("two lengths", status(&["HTTP/1.1 200 OK", "Content-Length: 2", "Content-Length: 2", "", "{}"])),
        ("chunks", status(&["HTTP/1.1 200 OK", "Transfer-Encoding: chunked", "", "2", "{}", "0"])),
        ("many headers", status(&[["HTTP/1.1 204 No Content"].as_slice(), &["A: b"; 65], &["", ""]].concat())),
        ("a long header", status(&["HTTP/1.1 204 No Content", &format!("A: {}", "b".repeat(MAX_HEAD_BYTES)), "", ""])),
    ] {
        let body = closed(&[no_content(), doubtful, refused()]);
        assert_eq!(statuses(&body, 3), [204, 0, 412], "{name}");
    }
}

#[test]
fn all_outcomes_are_unknown_where_the_positions_are_in_doubt() {
    let named = |id: &str| answer_with(&format!("Content-ID: {id}"), &["HTTP/1.1 204 No Content", "", ""]);
    let inside = answer_with("", &["HTTP/1.1 204 No Content", "Content-ID: 1", "", ""]);
    for (name, parts, known) in [
        ("all at their places", vec![named("1"), no_content(), named("3")], [204; 3]),
        ("another order", vec![named("3"), named("2"), named("1")], [0; 3]),
        ("an id twice", vec![named("1"), named("1"), named("3")], [0; 3]),
        ("an id of another kind", vec![named("1"), named("02"), named("3")], [0; 3]),
        ("an id in the answer's headers", vec![no_content(), inside, no_content()], [0; 3]),
        ("an id where no answer is", vec![no_content(), named("3").replace("HTTP/1.1", "X"), no_content()], [0; 3]),
        ("more than were asked for", vec![no_content(), no_content(), no_content(), refused()], [0; 3]),
        ("fewer", vec![no_content(), no_content()], [0; 3]),
        ("fewer, and the last is an error", vec![no_content(), refused()], [204, 412, 0]),
        ("fewer, and the last is no answer", vec![no_content(), part(&[])], [0; 3]),
        ("none", vec![], [0; 3]),
    ] {
        assert_eq!(statuses(&closed(&parts), 3), known, "{name}");
    }
}

#[test]
fn of_an_answer_that_breaks_off_the_complete_parts_are_known() {
    let sized = answer_with("Content-ID: 2", &["HTTP/1.1 200 OK", "Content-Length: 2", "", "{}"]);
    let parts = [no_content(), sized, refused(), no_content()];
    let text = closed(&parts);
    let end = |count: usize| parts[..count].concat().len();
    // A delimiter completes the part before it; a length completes its part as soon as the bytes are there.
    let delimiter = "--batchresponse_1\r\n".len();
    let complete = [end(1) + delimiter, end(2) - 2, end(3) + delimiter, end(4) + delimiter];
    for cut in 0..text.len() {
        let known = statuses(&text[..cut], 4).iter().filter(|status| **status != 0).count();
        assert_eq!(known, complete.iter().filter(|end| **end <= cut).count(), "{:?}", &text[..cut]);
    }
    assert_eq!(statuses(&text, 4), [204, 200, 412, 204]);
}

proptest! {
    #[test]
    fn no_damage_makes_a_success_of_an_error(
        at in 0..2_000_usize,
        // A digit could make another status.
        with in prop::collection::vec(any::<u8>().prop_filter("no digits", |byte| !byte.is_ascii_digit()), 0..40),
        removed in 0..99_usize,
    ) {
        let text = closed(&[no_content(), refused(), answer_with("Content-ID: 3", &["HTTP/1.1 200 OK", "", "{}"])]);
        let mut damaged = text.into_bytes();
        let at = at % damaged.len();
        damaged.splice(at..(at + removed).min(damaged.len()), with);
        let answers = read(CONTENT_TYPE_OF_ANSWER, &damaged.into(), 3);
        prop_assert_eq!(answers.len(), 3);
        let succeeded = answers[1].as_ref().is_some_and(|answer| answer.status().is_success());
        prop_assert!(!succeeded, "{:?}", answers);
    }
}
