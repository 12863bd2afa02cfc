//! A CSV file, the queue, the handler, and rows.

use std::fmt::Write as _;

use sandbox::world::World;
use serde_json::{Map, Value, json};
use tokio::process::Command;

use crate::command::{CommandOutput, command};
use crate::trust::Folder;
use crate::waiting::wait_until;

const EMPLOYEES: u32 = 48;

/// A lookup that the table has.
const GOOD_LOOKUP: &str = "parentcustomerid_contact=/contacts(employeeid={creditlimit})";

/// Each manager comes later in the file than the one who is managed; every fourth employee has none.
fn manager(number: u32) -> Option<u32> {
    (number % 4 != 3).then_some(number + 1)
}

/// As Excel writes it in some countries.
fn file() -> String {
    let mut text =
        "\u{feff}employeeid;lastname;jobtitle;birthdate;creditlimit;donotemail;numberofchildren;manager;changed\r\n"
            .to_owned();
    for number in 0..EMPLOYEES {
        let title = if number.is_multiple_of(5) { "" } else { "\"Head; \"\"R&D\"\"\"" };
        let manager = manager(number).map(|manager| format!("Ä{manager}")).unwrap_or_default();
        let (day, is_odd) = (number % 28 + 1, number % 2 == 1);
        write!(
            text,
            "Ä{number};Müller {number};{title};1980-02-{day:02};{number}.50;{is_odd};{};{manager};{number}\r\n",
            number % 3
        )
        .expect("writing to a string cannot fail");
    }
    text
}

fn send(world: &World, folder: &Folder, table: &str, key: &str, arguments: &[&str]) -> Command {
    let mut command =
        command(&[&["send", "a.csv", "--table", table, "--key", key], arguments].concat(), &world.settings);
    command.current_dir(folder.path(""));
    command
}

fn is_right(world: &World, number: u32) -> bool {
    let row = |number: u32| world.dataverse.row("contacts", &[("employeeid", &format!("Ä{number}"))]);
    let Some(row_of) = row(number) else { return false };
    let id = |row: Map<String, Value>| row["contactid"].clone();
    let manager = manager(number).map_or(Some(Value::Null), |manager| row(manager).map(id));
    let is = |column: &str, value: Value| row_of.get(column).cloned().unwrap_or_default() == value;
    is("lastname", json!(format!("Müller {number}")))
        && is("jobtitle", if number.is_multiple_of(5) { Value::Null } else { json!("Head; \"R&D\"") })
        && is("birthdate", json!(format!("1980-02-{:02}", number % 28 + 1)))
        && is("creditlimit", json!(f64::from(number) + 0.5))
        && is("donotemail", json!(number % 2 == 1))
        && is("numberofchildren", json!(number % 3))
        && is("new_sourceversion", json!(number))
        && manager.is_some_and(|manager| is("_parentcustomerid_value", manager))
}

#[tokio::test]
async fn a_csv_file_becomes_rows_with_types_from_the_definition_and_managers_that_come_later() {
    let (world, folder) = (crate::world().await, Folder::new());
    let host = world.host("one", &[]).await.expect("the handler starts");
    folder.write("a.csv", file());
    let options = [
        "--lookup",
        "parentcustomerid_contact=/contacts(employeeid={manager})",
        "--version",
        "changed",
        "--version-column",
        "new_sourceversion",
        "--source",
        "hr",
    ];
    let output = CommandOutput::of(send(&world, &folder, "contacts", "employeeid", &options)).await;
    assert_eq!(output.code, Some(0), "{output:?}");
    wait_until("all rows are right", async || (0..EMPLOYEES).all(|number| is_right(&world, number))).await;
    wait_until("an empty queue", async || world.waiting().await.expect("the queue answers") == 0).await;
    host.stop().await;
}

#[tokio::test]
async fn the_definition_refuses_columns_keys_and_lookups_that_the_table_does_not_have() {
    let (world, folder) = (crate::world().await, Folder::new());
    for (header, problem) in [
        (
            "employeeid,surname",
            "the table has no column surname; rename it, use it in --lookup or --version, or --types",
        ),
        ("employeeid,parentcustomerid", "parentcustomerid is a lookup, which --lookup"),
    ] {
        folder.write("a.csv", format!("{header}\nE1,x\n"));
        let output = CommandOutput::of(send(&world, &folder, "contacts", "employeeid", &["--dry-run"])).await;
        assert_eq!(output.code, Some(2), "{output:?}");
        assert!(output.stderr.contains(problem), "{output:?}");
    }
    folder.write("a.csv", "employeeid,creditlimit\nE1,much\n");
    let output = CommandOutput::of(send(&world, &folder, "contacts", "employeeid", &["--dry-run"])).await;
    assert_eq!(output.code, Some(1), "{output:?}");
    assert!(output.stdout.contains("line 2: column creditlimit is not a number such as 1234.56"), "{output:?}");
    for (table, key, lookup, problem) in [
        ("kontacts", "employeeid", GOOD_LOOKUP, "--table: there is no table with the entity set name kontacts"),
        (
            "contacts",
            "creditlimit",
            GOOD_LOOKUP,
            "--key: the table has no alternate key of creditlimit; it has (employeeid), (emailaddress1) (the primary key is contactid); \
             in Power Apps",
        ),
        (
            "contacts",
            "employeeid",
            "parentcustomerid=/contacts(employeeid={creditlimit})",
            "--lookup parentcustomerid: the table has no navigation property of that name; did you mean \
             parentcustomerid_contact?",
        ),
        (
            "contacts",
            "employeeid",
            "parentcustomerid_contact=/kontacts(employeeid={creditlimit})",
            "--lookup parentcustomerid_contact: there is no table with the entity set name kontacts",
        ),
        (
            "contacts",
            "employeeid",
            "parentcustomerid_contact=/contacts(number={creditlimit})",
            "--lookup parentcustomerid_contact: the table has no alternate key of number; it has (employeeid)",
        ),
    ] {
        let output = CommandOutput::of(send(&world, &folder, table, key, &["--dry-run", "--lookup", lookup])).await;
        assert_eq!(output.code, Some(2), "{output:?}");
        assert!(output.stderr.contains(problem), "{output:?}");
    }
    for key in ["contactid", "employeeid"] {
        folder.write("a.csv", format!("{key}\n9b2e0c3a-1111-4222-8333-444455556666\n"));
        let output = CommandOutput::of(send(&world, &folder, "contacts", key, &["--dry-run"])).await;
        assert_eq!(output.code, Some(0), "{output:?}");
    }
}
