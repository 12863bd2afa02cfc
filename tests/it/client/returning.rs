//! A write that asks for columns of the row as it is then.

use dataverse_sync::dataverse::{Change, Error, Store as _, Write, Written};

use super::{Act, Answered, Fixture, answer, record, refusal, unanswered};

const JSON: &str = "Content-Type: application/json; odata.metadata=minimal\r\n";
const ROW: &str = r#"{"@odata.context":"x","@odata.etag":"W/\"7\"","contactid":"1","statecode":0,"statuscode":1}"#;

fn columns() -> [String; 2] {
    ["statecode", "statuscode"].map(str::to_owned)
}

/// The result of a write, with the ETag of the row that came back.
async fn write(fixture: &Fixture, write: Write<'_>) -> Result<(Written, Option<String>), Error> {
    let record = record("upsert");
    let change = Change { record: &record, columns: &record.columns, id: None, write, version: None };
    let (written, row) = fixture.client.write_returning(&change, &columns()).await?;
    Ok((written, row.and_then(|row| row.etag())))
}

#[tokio::test]
async fn the_row_is_asked_for_in_the_same_request() {
    for (kind, status, written) in [
        (Write::Upsert, "201 Created", Written::Created),
        (Write::Upsert, "200 OK", Written::Updated),
        (Write::Create, "201 Created", Written::Created),
    ] {
        let fixture = Fixture::with(Act::Send(answer(status, JSON, ROW))).await;
        assert_eq!(write(&fixture, kind).await.expect("a success"), (written, Some("W/\"7\"".to_owned())), "{status}");
        let seen = fixture.seen();
        let [request] = &seen.requests[..] else { panic!("one request: {seen:?}") };
        let line = "PATCH /api/data/v9.2/contacts(employeeid='E1')?$select=statecode,statuscode HTTP/1.1\r\n";
        assert!(request.starts_with(line), "{request}");
        assert!(request.contains("\r\nprefer: return=representation\r\n"), "{request}");
    }
    let fixture = Fixture::with(Act::Send(answer("204 No Content", "OData-Version: 4.0\r\n", ""))).await;
    fixture.upsert().await.expect("a success");
    let request = fixture.seen().requests.pop().expect("it was sent");
    assert!(!request.contains("$select") && !request.contains("prefer:"), "only where it is asked for: {request}");
}

#[tokio::test]
async fn a_change_counts_although_the_row_in_its_answer_is_unreadable() {
    let broken = answer("201 Created", JSON, ROW);
    for (act, written) in [
        (Act::Send(answer("204 No Content", "OData-Version: 4.0\r\n", "")), Written::Upserted),
        (Act::Send(answer("201 Created", JSON, "[]")), Written::Created),
        (Act::SendAndClose(broken[..broken.len() - 3].to_vec()), Written::Created),
    ] {
        let fixture = Fixture::with(act.clone()).await;
        assert_eq!(write(&fixture, Write::Upsert).await.expect("a success"), (written, None), "{act:?}");
    }
}

#[tokio::test]
async fn a_refusal_or_no_answer_is_what_it_is_for_every_write() {
    let act = Act::Send(refusal("400 Bad Request", "", "0x80048408", "2 is not a valid status code"));
    let found = Answered::of(write(&Fixture::with(act).await, Write::Create).await);
    assert_eq!((found.status, found.code), (400, Some(0x8004_8408)));
    let page = Act::Send(answer("200 OK", "Content-Type: text/html\r\n", "<html>"));
    for act in [Act::Reset, page] {
        assert!(unanswered(write(&Fixture::with(act).await, Write::Create).await).0);
    }
}
