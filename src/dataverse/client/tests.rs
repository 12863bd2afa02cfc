use super::*;
use crate::identity::Choice;
use crate::record::decode;

const SETTINGS: [&str; 3] = ["AZURE_TENANT_ID", "AZURE_CLIENT_ID", "AZURE_CLIENT_SECRET"];

/// A client whose settings add this header to every request.
fn client(name: HeaderName, value: &'static str) -> Client {
    crate::http::install_tls();
    let choice = Choice::from_settings(&|name| SETTINGS.contains(&name).then(|| "app".to_owned()));
    let http = Http::new().expect("TLS can be set up");
    let identity = Identity::open(choice.expect("there is a secret"), &http).expect("the settings are valid");
    let headers = HeaderMap::from_iter([(name, HeaderValue::from_static(value))]);
    let url = "https://contoso.example/".parse().expect("an address");
    Client::new(&Environment { url, api_version: "v9.2".to_owned(), headers }, Arc::new(identity), &http)
}

fn write(client: &Client, write: Write<'_>) -> Result<Request, Error> {
    let message =
        Bytes::from_static(br#"{"table":"contacts","key":{"employeeid":"E1"},"columns":{"firstname":"Ada"}}"#);
    let record = decode(&message).expect("a record");
    client.write_request(&Change { record: &record, columns: &record.columns, id: None, write, version: None }, &[])
}

#[test]
fn a_requests_own_header_overrides_one_of_the_settings() {
    let client = client(IF_MATCH, "\"7\"");
    for (kind, expected) in [(Write::Update, "*"), (Write::Upsert, "\"7\"")] {
        let request = write(&client, kind).expect("it can be sent");
        assert_eq!(request.headers().get_all(IF_MATCH).iter().collect::<Vec<_>>(), [expected], "{kind:?}");
    }
}

#[test]
fn a_header_that_cannot_be_sent_is_not_sent() {
    let request = write(&client(PREFER, "return=minimal"), Write::UpdateUnchanged("W/\"1\n\""));
    assert!(matches!(request, Err(Error::NoAnswer { sent: false, .. })), "{request:?}");
}
