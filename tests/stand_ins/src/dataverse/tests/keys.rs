//! Addressing and reading over the wire: literals, forbidden characters, filters, lookups, metadata.

use reqwest::Method;
use serde_json::json;

use super::{Bench, EMPLOYEE};

#[tokio::test]
async fn a_key_may_hold_quotes_blanks_and_letters_of_any_kind() {
    let bench = Bench::quick().await;
    for (path, employee) in [("O''Brien", "O'Brien"), ("a%20b(c)", "a b(c)"), ("%C3%A4,%3D", "ä,=")] {
        let path = format!("contacts(employeeid='{path}')");
        assert_eq!(bench.patch(&path, &json!({})).await.status, 204, "{path}");
        assert!(bench.contact(employee).is_some(), "{employee}");
        assert_eq!(bench.get(&path).await.body["employeeid"], employee);
    }
}

#[tokio::test]
async fn a_key_with_a_forbidden_character_is_reached_by_filter_only() {
    let bench = Bench::quick().await;
    for data in ["a/b", "a<b", "a>b", "a*b", "a%b", "a&b", "a:b", "a\\b", "a?b", "a+b", "a#b"] {
        let encoded: String = url::form_urlencoded::byte_serialize(data.as_bytes()).collect();
        let path = format!("contacts(employeeid='{encoded}')");
        assert!([400, 404].contains(&bench.patch(&path, &json!({})).await.status), "{data}");
        let id = bench.dataverse.insert("contacts", &json!({ "employeeid": data }));
        assert!([400, 404].contains(&bench.get(&path).await.status), "{data}");
        let found = bench.get(&format!("contacts?$select=contactid&$filter=employeeid%20eq%20'{encoded}'")).await;
        assert_eq!(found.body["value"][0]["contactid"], id.as_str(), "{data}");
    }
}

#[tokio::test]
async fn numbers_and_lookups_are_addressed_without_quotes() {
    let bench = Bench::quick().await;
    let account = bench.dataverse.insert("accounts", &json!({ "accountnumber": "A" }));
    let composite = "new_orders(new_region='x',new_number=2)";
    assert_eq!(bench.patch(composite, &json!({ "new_name": "n" })).await.status, 204);
    assert_eq!(bench.get("new_orders(new_number=2,new_region='x')").await.body["new_name"], "n");
    assert_eq!(bench.patch("new_orders(new_number='2',new_region='x')", &json!({})).await.status, 400);
    let by_lookup = format!("new_orders(_new_accountid_value={},new_reference='r')", account.to_uppercase());
    assert_eq!(bench.patch(&by_lookup, &json!({})).await.status, 204);
    assert_eq!(bench.get(&by_lookup).await.body["_new_accountid_value"], account.as_str());
    let nowhere = "new_orders(_new_accountid_value=aaaaaaaa-0000-4000-8000-000000000001,new_reference='r')";
    assert_eq!(bench.patch(nowhere, &json!({})).await.verdict(), (404, "0x80040217"));
}

#[tokio::test]
async fn entity_sets_are_case_sensitive_and_paths_have_to_exist() {
    let bench = Bench::quick().await;
    assert_eq!(bench.patch("Contacts(employeeid='E1')", &json!({})).await.verdict(), (404, "0x80060888"));
    assert_eq!(bench.get("contact").await.verdict(), (404, "0x80060888"));
    assert_eq!(bench.patch("contacts(nickname='E1')", &json!({})).await.verdict(), (400, "0x80060888"));
    assert_eq!(bench.get("../v8.0/contacts").await.verdict(), (404, ""));
}

#[tokio::test]
async fn a_get_selects_and_is_spared_what_it_has() {
    let bench = Bench::quick().await;
    bench.dataverse.insert("contacts", &json!({ "employeeid": "E1", "firstname": "Ada" }));
    let answer = bench.get(&format!("{EMPLOYEE}?$select=firstname")).await;
    assert_eq!((answer.status, &answer.body["firstname"]), (200, &json!("Ada")));
    assert_eq!(answer.body.get("employeeid"), None);
    assert!(answer.body["contactid"].is_string());
    let again = bench.send(Method::GET, EMPLOYEE, &[("if-none-match", answer.header("etag"))], None).await;
    assert_eq!(again.status, 304);
    assert_eq!(bench.get(&format!("{EMPLOYEE}?$select=nosuch")).await.verdict(), (400, "0x80060888"));
    assert_eq!(
        bench.get("contacts?$filter=firstname%20eq%20'ada'%20and%20employeeid%20eq%20null").await.body["value"],
        json!([])
    );
}

#[tokio::test]
async fn a_bind_finds_its_target_or_fails() {
    let bench = Bench::quick().await;
    let account = bench.dataverse.insert("accounts", &json!({ "accountnumber": "A1" }));
    let bind = |target: &str| json!({ "parentcustomerid_account@odata.bind": target });
    let parent = || bench.contact("E1").map(|row| row["_parentcustomerid_value"].clone());
    assert_eq!(bench.patch(EMPLOYEE, &bind("/accounts(accountnumber='A2')")).await.verdict(), (404, "0x80060891"));
    assert_eq!(parent(), None, "nothing was created");
    assert_eq!(bench.patch(EMPLOYEE, &bind("/accounts(accountnumber='A1')")).await.status, 204);
    assert_eq!(parent(), Some(json!(account)));
    let missing = "/accounts(aaaaaaaa-0000-4000-8000-000000000001)";
    assert_eq!(bench.patch(EMPLOYEE, &bind(missing)).await.verdict(), (404, "0x80040217"));
    assert_eq!(bench.patch(EMPLOYEE, &bind("/Accounts(accountnumber='A1')")).await.verdict(), (404, "0x80060888"));
    assert_eq!(bench.patch(EMPLOYEE, &bind("/contacts(employeeid='E1')")).await.verdict(), (400, "0x80048d19"));
    assert_eq!(bench.patch(EMPLOYEE, &json!({ "parentcustomerid_account": null })).await.status, 204);
    assert_eq!(parent(), Some(json!(null)));
    let undeclared = json!({ "parentcustomerid@odata.bind": "/accounts(accountnumber='A1')" });
    assert_eq!(bench.patch(EMPLOYEE, &undeclared).await.verdict(), (400, "0x80048d19"));
    assert_eq!(
        bench.patch(EMPLOYEE, &json!({ "_parentcustomerid_value": account })).await.verdict(),
        (400, "0x80048d19")
    );
}
