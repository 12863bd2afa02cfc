//! Writes of rows: the cases of the Web API's upsert, the race, conditions, bulk.

use reqwest::Method;
use serde_json::{Value, json};

use super::super::{Change, DuplicateCode, Effect, Fault, Operation, Options, Table};
use super::{Bench, EMPLOYEE, WIDE};

const REPRESENTATION: (&str, &str) = ("prefer", "return=representation");

#[tokio::test]
async fn an_upsert_creates_and_then_updates() {
    let bench = Bench::quick().await;
    let created = bench.patch(EMPLOYEE, &json!({ "firstname": "Ada" })).await;
    assert_eq!(created.status, 204);
    assert!(created.header("odata-entityid").ends_with("/api/data/v9.2/contacts(employeeid='E1')"));
    assert_eq!(bench.patch(EMPLOYEE, &json!({ "lastname": "L" })).await.status, 204);
    let row = bench.contact("E1").expect("created");
    assert_eq!((&row["firstname"], &row["lastname"]), (&json!("Ada"), &json!("L")));
    let changes: Vec<_> = bench.dataverse.journal().iter().map(|entry| entry.change).collect();
    assert_eq!(changes, [Some(Change::Created), Some(Change::Updated)]);
}

#[tokio::test]
async fn a_row_names_who_created_it_and_for_whom() {
    let bench = Bench::quick().await;
    let us = bench.get("WhoAmI").await.body["UserId"].clone();
    let other = "0c7b3f3e-1111-4222-8333-444455550000";
    let impersonated = [("callerobjectid", other)];
    let them = bench.send(Method::GET, "WhoAmI", &impersonated, None).await.body["UserId"].clone();
    assert!(them.is_string() && them != us);
    for (key, headers, by, on_behalf_by) in
        [("E1", [].as_slice(), us.clone(), Value::Null), ("E2", impersonated.as_slice(), them, us)]
    {
        bench.send(Method::PATCH, &format!("contacts(employeeid='{key}')"), headers, Some(&json!({}))).await;
        let row = bench.contact(key).expect("created");
        assert_eq!((&row["_createdby_value"], &row["_createdonbehalfby_value"]), (&by, &on_behalf_by));
        assert!(row["createdon"].as_str().is_some_and(|time| time.ends_with('Z')), "{row:?}");
    }
}

#[tokio::test]
async fn a_representation_tells_created_from_updated() {
    let bench = Bench::quick().await;
    let body = json!({ "firstname": "Ada" });
    let path = format!("{EMPLOYEE}?$select=contactid");
    let created = bench.send(Method::PATCH, &path, &[REPRESENTATION], Some(&body)).await;
    assert_eq!((created.status, created.body.get("firstname")), (201, None));
    assert_eq!(created.header("preference-applied"), "return=representation");
    let updated = bench.send(Method::PATCH, EMPLOYEE, &[REPRESENTATION], Some(&body)).await;
    assert_eq!((updated.status, &updated.body["firstname"]), (200, &json!("Ada")));
    assert_eq!(updated.body["contactid"], created.body["contactid"]);
    assert_ne!(updated.body["@odata.etag"], created.body["@odata.etag"]);
}

#[tokio::test]
async fn conditions_choose_between_create_and_update() {
    let bench = Bench::quick().await;
    let body = json!({ "firstname": "Ada" });
    let send = async |header: (&'static str, &'static str), path: &'static str| {
        let answer = bench.send(Method::PATCH, path, &[header], Some(&body)).await;
        (answer.status, answer.verdict().1.to_owned())
    };
    let by_id = "contacts(aaaaaaaa-0000-4000-8000-000000000001)";
    assert_eq!(send(("if-match", "*"), EMPLOYEE).await, (404, "0x80060891".to_owned()));
    assert_eq!(send(("if-match", "*"), by_id).await, (404, "0x80040217".to_owned()));
    assert_eq!(send(("if-match", "W/\"1\""), EMPLOYEE).await.0, 404);
    assert_eq!(send(("if-none-match", "*"), EMPLOYEE).await.0, 204);
    assert_eq!(send(("if-none-match", "*"), EMPLOYEE).await, (412, "0x80040237".to_owned()));
    assert_eq!(send(("if-match", "*"), EMPLOYEE).await.0, 204);
    assert_eq!(send(("if-match", "what"), EMPLOYEE).await.0, 400);
    let both = [("if-match", "*"), ("if-none-match", "*")];
    assert_eq!(bench.send(Method::PATCH, EMPLOYEE, &both, Some(&body)).await.status, 400);
    let asked: Vec<_> = bench.dataverse.journal().iter().map(|entry| entry.operation).take(4).collect();
    assert_eq!(asked, [Operation::Update, Operation::Update, Operation::Update, Operation::Create]);
}

#[tokio::test]
async fn a_stale_etag_is_refused_and_a_fresh_one_is_not() {
    let bench = Bench::quick().await;
    bench.patch(EMPLOYEE, &json!({ "firstname": "Ada" })).await;
    let etag = bench.get(EMPLOYEE).await.header("etag").to_owned();
    let body = json!({ "firstname": "Eve" });
    assert_eq!(bench.send(Method::PATCH, EMPLOYEE, &[("if-match", &etag)], Some(&body)).await.status, 204);
    let stale = bench.send(Method::PATCH, EMPLOYEE, &[("if-match", &etag)], Some(&body)).await;
    assert_eq!(stale.verdict(), (412, "0x80060882"));
    bench.dataverse.define(Table::new("plains", "plain", "plainid").text("code", 9).key(&["code"]));
    bench.dataverse.insert("plains", &json!({ "code": "1" }));
    let without = bench.send(Method::PATCH, "plains(code='1')", &[("if-match", &etag)], Some(&json!({}))).await;
    assert_eq!(without.verdict(), (412, "0x8006088D"));
}

#[tokio::test]
async fn of_two_first_upserts_in_the_window_one_loses() {
    let codes =
        [(DuplicateCode::Record, "0x80040237"), (DuplicateCode::EntityKey, "0x80060892"), (DuplicateCode::Empty, "")];
    for (duplicate_code, code) in codes {
        let bench = Bench::start(Options { race_window: WIDE, duplicate_code, ..Options::default() }).await;
        let (a, b) = (json!({ "firstname": "A" }), json!({ "firstname": "B" }));
        let (a, b) = tokio::join!(bench.patch(EMPLOYEE, &a), bench.patch(EMPLOYEE, &b));
        let mut verdicts = [a.verdict(), b.verdict()];
        verdicts.sort_unstable();
        assert_eq!(verdicts, [(204, ""), (412, code)]);
        assert_eq!(bench.dataverse.rows("contacts").len(), 1);
        assert_eq!(bench.dataverse.overlaps().len(), 1);
        assert_eq!(bench.dataverse.requests().of("PATCH", 412), 1);
        assert_eq!(bench.patch(EMPLOYEE, &json!({ "firstname": "B" })).await.status, 204, "sent again, it updates");
    }
}

#[tokio::test]
async fn two_updates_in_the_window_both_win() {
    let bench = Bench::start(Options { race_window: WIDE, ..Options::default() }).await;
    bench.dataverse.insert("contacts", &json!({ "employeeid": "E1" }));
    let body = json!({ "firstname": "A" });
    let (a, b) = tokio::join!(bench.patch(EMPLOYEE, &body), bench.patch(EMPLOYEE, &body));
    assert_eq!((a.status, b.status), (204, 204));
}

#[tokio::test]
async fn another_unique_key_and_the_recycle_bin_collide_for_ever() {
    let bench = Bench::quick().await;
    bench.dataverse.insert("contacts", &json!({ "employeeid": "E2", "emailaddress1": "a@b.example" }));
    let taken = json!({ "emailaddress1": "A@B.example" });
    for _ in 0..2 {
        assert_eq!(bench.patch(EMPLOYEE, &taken).await.verdict(), (412, "0x80040237"));
        assert_eq!(bench.get(EMPLOYEE).await.verdict(), (404, "0x80060891"));
    }
    bench.dataverse.insert("contacts", &json!({ "employeeid": "E1" }));
    assert_eq!(bench.patch(EMPLOYEE, &taken).await.status, 412, "an update collides as well");
    assert!(bench.dataverse.recycle("contacts", &[("employeeid", "E1")]));
    assert_eq!(bench.patch(EMPLOYEE, &json!({})).await.status, 412);
    assert_eq!(bench.get(EMPLOYEE).await.status, 404);
}

#[tokio::test]
async fn a_bare_constraint_has_its_own_code() {
    let bench = Bench::quick().await;
    let table = Table::new("things", "thing", "thingid").text("code", 9).text("serial", 9);
    bench.dataverse.define(table.key(&["code"]).unique(&["serial"]));
    assert_eq!(bench.patch("things(code='1')", &json!({ "serial": "s" })).await.status, 204);
    assert_eq!(bench.patch("things(code='2')", &json!({ "serial": "s" })).await.verdict(), (412, "0x80073002"));
    assert_eq!(bench.patch("things(serial='s')", &json!({})).await.verdict(), (400, "0x80060888"));
}

#[tokio::test]
async fn a_key_column_in_the_body_wins_on_create() {
    let bench = Bench::quick().await;
    assert_eq!(bench.patch(EMPLOYEE, &json!({ "employeeid": "E9" })).await.status, 204);
    assert!(bench.contact("E1").is_none());
    assert!(bench.contact("E9").is_some());
}

#[tokio::test]
async fn a_delete_deletes_once() {
    let bench = Bench::quick().await;
    let id = bench.dataverse.insert("contacts", &json!({ "employeeid": "E1" }));
    assert_eq!(bench.send(Method::DELETE, EMPLOYEE, &[], None).await.status, 204);
    assert_eq!(bench.send(Method::DELETE, EMPLOYEE, &[], None).await.verdict(), (404, "0x80060891"));
    let by_id = bench.send(Method::DELETE, &format!("contacts({id})"), &[], None).await;
    assert_eq!(by_id.verdict(), (404, "0x80040217"));
}

#[tokio::test]
async fn a_post_creates_under_a_new_id() {
    let bench = Bench::quick().await;
    let body = json!({ "employeeid": "a/b" });
    let created = bench.send(Method::POST, "contacts", &[], Some(&body)).await;
    let id = bench.contact("a/b").expect("created")["contactid"].as_str().expect("a GUID").to_owned();
    assert_eq!((created.status, created.header("odata-entityid").ends_with(&format!("contacts({id})"))), (204, true));
    assert_eq!(bench.send(Method::POST, "contacts", &[], Some(&body)).await.status, 412);
    assert_eq!(bench.patch("contacts", &body).await.status, 405);
}

#[tokio::test]
async fn upsert_multiple_is_all_or_nothing() {
    let bench = Bench::quick().await;
    let path = "contacts/Microsoft.Dynamics.CRM.UpsertMultiple";
    let target = |id: &str, first: serde_json::Value| {
        let id = format!("contacts(employeeid='{id}')");
        json!({ "@odata.type": "Microsoft.Dynamics.CRM.contact", "@odata.id": id, "firstname": first })
    };
    let good = json!({ "Targets": [target("1", json!("a")), target("2", json!("b"))] });
    assert_eq!(bench.send(Method::POST, path, &[], Some(&good)).await.status, 204);
    assert_eq!(bench.dataverse.rows("contacts").len(), 2);
    let mut taken = target("4", json!("d"));
    taken["contactid"] = bench.contact("1").expect("created")["contactid"].clone();
    let half = json!({ "Targets": [target("2", json!("changed")), target("3", json!("c")), taken] });
    assert_eq!(bench.send(Method::POST, path, &[], Some(&half)).await.status, 412);
    assert_eq!(bench.contact("2").expect("there before")["firstname"], "b");
    assert_eq!(bench.dataverse.rows("contacts").len(), 2);
    let twice = json!({ "Targets": [target("5", json!("e")), target("5", json!("e"))] });
    assert_eq!(bench.send(Method::POST, path, &[], Some(&twice)).await.verdict(), (400, "0x80040216"));
    let mut repeated = target("6", json!("f"));
    repeated["employeeid"] = json!("6");
    let repeated = json!({ "Targets": [repeated] });
    assert_eq!(bench.send(Method::POST, path, &[], Some(&repeated)).await.verdict(), (400, "0x80040216"));
}

#[tokio::test]
async fn of_two_deletes_in_the_window_one_loses() {
    let bench = Bench::start(Options { race_window: WIDE, ..Options::default() }).await;
    bench.dataverse.insert("contacts", &json!({ "employeeid": "E1" }));
    let delete = || bench.send(Method::DELETE, EMPLOYEE, &[], None);
    let (a, b) = tokio::join!(delete(), delete());
    let mut verdicts = [a.verdict(), b.verdict()];
    verdicts.sort_unstable();
    assert_eq!(verdicts, [(204, ""), (400, "0x80048105")]);
    assert_eq!(delete().await.verdict(), (404, "0x80060891"), "sent again, it finds nothing");
}

#[tokio::test]
async fn an_upsert_whose_row_is_deleted_after_its_lookup_finds_none() {
    let bench = Bench::quick().await;
    let id = bench.dataverse.insert("contacts", &json!({ "employeeid": "E1" }));
    bench.dataverse.fault(Fault::new(Effect::DeletedMeanwhile));
    let lost = bench.patch(EMPLOYEE, &json!({})).await;
    assert_eq!(lost.verdict(), (404, "0x80040217"));
    assert_eq!(lost.body["error"]["message"], format!("contact With Id = {id} Does Not Exist"));
    assert_eq!(bench.patch(EMPLOYEE, &json!({})).await.status, 204);
    let change = bench.dataverse.journal().last().and_then(|entry| entry.change);
    assert_eq!(change, Some(Change::Created), "sent again, it creates");
}

#[tokio::test]
async fn an_owner_is_a_user_or_a_team() {
    let bench = Bench::quick().await;
    bench.dataverse.define(Table::new("systemusers", "systemuser", "systemuserid").text("domainname", 99));
    bench.dataverse.define(Table::new("teams", "team", "teamid").text("name", 99).key(&["name"]));
    bench.dataverse.define(Table::new("tasks", "task", "activityid").text("code", 9).key(&["code"]).owned());
    let user = bench.dataverse.insert("systemusers", &json!({ "domainname": "u" }));
    let team = bench.dataverse.insert("teams", &json!({ "name": "t" }));
    let own = async |owner: &str| bench.patch("tasks(code='1')", &json!({ "ownerid@odata.bind": owner })).await;
    let annotation = "_ownerid_value@Microsoft.Dynamics.CRM.lookuplogicalname";
    let wanted = [("prefer", "odata.include-annotations=\"Microsoft.Dynamics.CRM.lookuplogicalname\"")];
    for (bind, id, table) in
        [(format!("/systemusers({user})"), &user, "systemuser"), ("/teams(name='t')".to_owned(), &team, "team")]
    {
        assert_eq!(own(&bind).await.status, 204, "{bind}");
        let row = bench.send(Method::GET, "tasks(code='1')", &wanted, None).await.body;
        assert_eq!((&row["_ownerid_value"], &row[annotation]), (&json!(id), &json!(table)));
    }
    assert_eq!(own(&format!("/teams({user})")).await.verdict(), (404, "0x80040217"));
    assert_eq!(own(&format!("/contacts({user})")).await.verdict(), (400, "0x80048d19"));
    let relationships = bench.get("EntityDefinitions(LogicalName='task')/ManyToOneRelationships").await.body;
    let [owner] = &relationships["value"].as_array().expect("a list")[..] else { panic!("{relationships}") };
    assert_eq!(
        (&owner["ReferencingEntityNavigationPropertyName"], &owner["ReferencedEntity"]),
        (&json!("ownerid"), &json!("owner"))
    );
}

#[tokio::test]
async fn values_for_columns_that_are_not_valid_for_a_write_are_ignored() {
    let bench = Bench::quick().await;
    let table = Table::new("things", "thing", "thingid").text("code", 9).text("total", 9).key(&["code"]);
    bench.dataverse.define(table.read_only("total"));
    let long_ago = "2001-01-01T00:00:00Z";
    for _ in 0..2 {
        let sent = json!({ "total": "sent", "createdon": long_ago });
        assert_eq!(bench.patch("things(code='1')", &sent).await.status, 204);
        let row = bench.dataverse.row("things", &[("code", "1")]).expect("written");
        assert_eq!(row.get("total"), None);
        assert_ne!(row["createdon"], long_ago);
    }
    let direct = json!({ "_createdby_value": "aaaaaaaa-0000-4000-8000-000000000001" });
    assert_eq!(bench.patch("things(code='1')", &direct).await.verdict(), (400, "0x80048d19"), "as any lookup's value");
}
