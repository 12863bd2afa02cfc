//! `handler send`: the real executable puts files on the queue of the embedded storage and of Azurite. What a line becomes is tested
//! beside `send`.

mod full_circle;
mod interrupted;
mod sender;

use std::time::Duration;

use serde_json::json;
use stand_ins::azurite::{Azurite, AzuriteOptions};
use stand_ins::storage::{Effect, Fault, Op};

use sender::{EMPLOYEES, Sender, employee, numbered};

/// The note when column types are unknown.
const AS_TEXT: &str = "DATAVERSE_URL is not set, so columns that --types does not name are sent as text.\n";

#[tokio::test]
async fn the_rows_of_a_csv_file_are_put_as_records_on_a_queue_that_was_missing() {
    let sender = Sender::new().await;
    sender.folder.write("a.csv", "employeeid,lastname,jobtitle\r\nE1,Müller,\r\nE2,\"O'Neil, \"\"Bob\"\"\",CTO\r\n");
    let output = sender.run(&[&["a.csv", "--source", "hr"], &EMPLOYEES[..]].concat()).await;
    assert_eq!(output.code, Some(0), "{output:?}");
    assert!(output.stderr.contains("sync-records of AzureWebJobsStorage (127.0.0.1) did not exist; it was created."));
    assert!(output.stdout.starts_with("2 messages put on sync-records of AzureWebJobsStorage"), "{output:?}");
    let record = |line: u32, key: &str, columns| {
        json!({
            "table": "contacts", "key": { "employeeid": key }, "source": "hr", "messageId": format!("a.csv:{line}"),
            "columns": columns,
        })
    };
    let expected = [
        record(2, "E1", json!({ "lastname": "Müller" })),
        record(3, "E2", json!({ "lastname": "O'Neil, \"Bob\"", "jobtitle": "CTO" })),
    ];
    assert_eq!(sender.records(), expected);
    assert_eq!(sender.folder_names(), ["a.csv"], "no state stays");
}

#[tokio::test]
async fn every_line_is_checked_before_anything_is_put() {
    let sender = Sender::new().await;
    let huge = "x".repeat(50_000);
    let rows = format!("employeeid,birthdate\nE1,2026-01-31\n,2026-01-31\nE3,31.01.2026\nE4\n,2026-01-31\nE6,{huge}\n");
    sender.folder.write("a.csv", rows);
    let types = ["a.csv", "--types", "birthdate=date"];
    let problems = "line 3: column employeeid is empty; the key needs a value (and 1 more line)\n\
                    line 4: column birthdate is not a date such as 2026-01-31 (and 1 more line)\n\
                    line 5: the number of fields is 1, and 2 in the header\n";
    let dry = sender.dry_run(&[&types[..], &EMPLOYEES].concat()).await;
    assert_eq!((dry.code, dry.stderr.as_str()), (Some(1), AS_TEXT), "{dry:?}");
    let summary = "a.csv: 6 records read; 1 can be sent, 5 cannot. Dry run: nothing was put.\n";
    assert_eq!(dry.stdout, format!("{problems}{summary}"));
    let sent = sender.run(&[&types[..], &EMPLOYEES].concat()).await;
    assert_eq!((sent.code, sent.stdout.as_str()), (Some(1), ""), "{sent:?}");
    assert_eq!(sent.stderr, format!("{AS_TEXT}{problems}error: 5 of 6 records cannot be sent; nothing was put\n"));
    let large = sender.dry_run(&[&["a.csv", "--types", "birthdate=text"], &EMPLOYEES[..]].concat()).await;
    assert!(large.stdout.contains("line 7: the message has more than the queue's 64 KiB (48 in base64)"), "{large:?}");
    assert_eq!((sender.storage.counts().put_message, sender.folder_names()), (0, vec!["a.csv".to_owned()]));
}

#[tokio::test]
async fn a_file_without_a_problem_passes_a_dry_run_without_any_setting() {
    let sender = Sender::new().await;
    sender.folder.write("a.ndjson", "{\"employeeid\":\"E1\"}\n\n{\"columns\":{\"employeeid\":\"E2\"}}\n");
    let output = sender.dry_run(&[&["a.ndjson"], &EMPLOYEES[..]].concat()).await;
    assert_eq!(output.code, Some(0), "{output:?}");
    assert_eq!(output.stdout, "a.ndjson: 2 records read; 2 can be sent, 0 cannot. Dry run: nothing was put.\n");
}

#[tokio::test]
async fn delimiters_and_encodings_of_excel_are_read() {
    let sender = Sender::new().await;
    let text = "employeeid;lastname\r\nE1;Müller €\r\n";
    let utf_16 = |text: &str| text.encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<_>>();
    let windows = b"employeeid;lastname\r\nE1;M\xfcller \x80\r\n";
    for (bytes, options) in [
        (format!("\u{feff}{text}").into_bytes(), &[][..]),
        (utf_16(&format!("\u{feff}{text}")), &[]),
        (utf_16(text), &["--encoding", "utf-16"]),
        (windows.to_vec(), &["--encoding", "windows-1252"]),
        (text.replace(';', "\t").into_bytes(), &[]),
        (text.replace(';', "|").into_bytes(), &["--delimiter", "|"]),
    ] {
        sender.folder.write("a.csv", bytes);
        let output = sender.run(&[&["a.csv"], options, &EMPLOYEES].concat()).await;
        assert_eq!(output.code, Some(0), "{options:?}: {output:?}");
        assert_eq!(sender.take_records().await[0]["columns"], json!({ "lastname": "Müller €" }), "{options:?}");
    }
    sender.folder.write("a.csv", windows);
    let output = sender.run(&[&["a.csv"], &EMPLOYEES[..]].concat()).await;
    assert!(output.stderr.contains("line 2: column lastname is not UTF-8; name the file's --encoding"), "{output:?}");
}

#[tokio::test]
async fn standard_input_is_put_as_it_comes_up_to_the_first_line_that_is_wrong() {
    let sender = Sender::new().await;
    let lines = [employee(1), employee(2), "{}".to_owned(), employee(3)].join("\n");
    let arguments = [&["-", "--format", "ndjson"], &EMPLOYEES[..]].concat();
    let output = sender.run_with_input(&arguments, lines.as_bytes()).await;
    assert_eq!(output.code, Some(1), "{output:?}");
    assert!(output.stderr.contains("error: line 3: column employeeid is missing"), "{output:?}");
    assert!(output.stdout.starts_with("The first 2 records are put; send the input again from the one after them."));
    assert_eq!(numbered(&sender.take_records().await), [1, 2]);
    let output =
        sender.run_with_input(&[&["-", "--format", "csv"], &EMPLOYEES[..]].concat(), b"employeeid\nE1\nE2\n").await;
    assert_eq!((output.code, numbered(&sender.records())), (Some(0), vec![1, 2]), "{output:?}");
    let output = sender.run(&["-"]).await;
    assert_eq!(output.code, Some(2), "{output:?}");
    assert!(output.stderr.contains("add --format csv or --format ndjson"), "{output:?}");
}

#[tokio::test]
async fn messages_are_written_as_the_host_reads_them() {
    let sender = Sender::new().await;
    sender.folder.write("a.ndjson", employee(1));
    let arguments = [&["a.ndjson"], &EMPLOYEES[..]].concat();
    assert_eq!(sender.run(&arguments).await.code, Some(0));
    assert!(!sender.texts()[0].starts_with('{'), "base64 is the host's default");
    sender.folder.write("host.json", r#"{"version":"2.0","extensions":{"queues":{"messageEncoding":"none"}}}"#);
    assert_eq!(sender.run(&arguments).await.code, Some(0));
    assert!(sender.texts()[1].starts_with('{'));
}

#[tokio::test]
async fn records_of_one_key_are_put_in_the_order_of_the_file() {
    let sender = Sender::new().await;
    let lines: Vec<_> = (0..60)
        .map(|n| json!({ "employeeid": format!("E{}", n % 3), "jobtitle": n.to_string() }).to_string())
        .collect();
    sender.folder.write("a.ndjson", lines.join("\n"));
    // Some requests take longer than those after them.
    for number in 0..20 {
        let time = if number % 3 == 0 { 80 } else { 0 };
        sender.storage.fault(Fault::once(Op::PutMessage, Effect::Slow(Duration::from_millis(time))));
    }
    let output = sender.run(&[&["a.ndjson"], &EMPLOYEES[..]].concat()).await;
    assert_eq!(output.code, Some(0), "{output:?}");
    for key in ["E0", "E1", "E2"] {
        let records = sender.records();
        let titles = records
            .iter()
            .filter(|record| record["key"]["employeeid"] == key)
            .map(|record| &record["columns"]["jobtitle"]);
        let numbers: Vec<u32> =
            titles.map(|title| title.as_str().and_then(|text| text.parse().ok()).expect("a number")).collect();
        assert_eq!(numbers.len(), 20);
        assert!(numbers.is_sorted(), "{key}: {numbers:?}");
    }
}

#[tokio::test]
async fn parents_are_put_before_the_records_whose_lookups_name_them() {
    let sender = Sender::new().await;
    // Each manager comes after all of their employees.
    let manager = |number: u32| if number < 5 { String::new() } else { format!("e{}", number / 5) };
    let mut rows = vec!["employeeid,manager,changed".to_owned()];
    rows.extend((0..100).rev().map(|number| format!("E{number},{},1", manager(number))));
    rows.extend(["A,B,1", "B,A,1", "E7,E1,2"].map(str::to_owned));
    sender.folder.write("a.csv", rows.join("\n"));
    let lookup = ["a.csv", "--lookup", "parentcustomerid_contact=/contacts(employeeid={manager})"];
    let output = sender.run(&[&lookup[..], &EMPLOYEES].concat()).await;
    assert_eq!(output.code, Some(0), "{output:?}");
    for line in [
        "warning: 1 record has the same key as an earlier one (first: lines 94 and 104). They are put in the file's order, but \
         a queue does not promise order: only with a --version the highest one wins.\n",
        "Parents are put first, because lookups name rows of this file: 3 levels. A queue does not promise that order; a \
         message that comes before its parent waits, or is delivered again.\n",
        "warning: the lookups of 2 records form a circle or name the record itself (first: line 102). A row that does not \
         exist yet cannot be created so: send the file once without that lookup (--types COLUMN=skip for its columns), then \
         with it and without --version.\n",
    ] {
        assert!(output.stderr.contains(line), "{line}{output:?}");
    }
    let records = sender.records();
    let place = |line: u32| records.iter().position(|record| record["messageId"] == format!("a.csv:{line}"));
    let line = |number: u32| 101 - number;
    assert_eq!(records.len(), 103);
    for number in 5..100 {
        let (parent, child) = (place(line(number / 5)).expect("put"), place(line(number)).expect("put"));
        assert!(parent < child + 16, "{number}: only those in flight overtake each other");
    }
    assert!(place(94) < place(104), "of one key");
    let versioned = sender.run(&[&lookup[..], &EMPLOYEES, &["--version", "changed"]].concat()).await;
    assert!(versioned.stderr.contains("does not promise order: the highest version wins."), "{versioned:?}");
}

#[tokio::test]
async fn a_wrong_argument_or_setting_ends_with_2_and_names_it() {
    let sender = Sender::new().await;
    sender.folder.write("a.csv", "employeeid,lastname\nE1,x\n");
    for (arguments, word) in [
        (&["a.csv"][..], "a CSV file needs --table and --key"),
        (&["b.csv", "--table", "contacts", "--key", "employeeid"], "b.csv: No such file"),
        (
            &["a.csv", "--table", "contacts", "--key", "number"],
            "--key: the file has no column number; it has employeeid, lastname",
        ),
        (
            &["a.csv", "--table", "contacts", "--key", "employeeid", "--set", "n=x", "--types", "n=integer"],
            "column n of --set",
        ),
        (&["a.csv", "--table", "contacts", "--key", "employeeid", "--connection", "Other"], "Other is not set"),
    ] {
        let output = sender.run(arguments).await;
        assert_eq!(output.code, Some(2), "{output:?}");
        assert!(output.stderr.contains(word), "{output:?}");
    }
    assert_eq!(sender.storage.counts().put_message, 0);
}

#[tokio::test]
async fn a_file_is_put_on_azurite() {
    let azurite = Azurite::start(AzuriteOptions::default()).await.expect("Azurite starts");
    let connection = azurite.connection_string();
    let folder = crate::trust::Folder::new();
    let lines: Vec<_> = (0..40).map(employee).collect();
    let path = folder.write("a.ndjson", lines.join("\r\n"));
    let arguments = [&["send", path.as_str(), "--message-encoding", "none"], &EMPLOYEES[..]].concat();
    let command = || crate::command::command(&arguments, [("AzureWebJobsStorage", connection.as_str())]);
    for did_not_exist in [true, false] {
        let output = crate::command::CommandOutput::of(command()).await;
        assert_eq!(output.code, Some(0), "{output:?}");
        assert_eq!(output.stderr.contains("did not exist; it was created"), did_not_exist, "{output:?}");
    }
    let service = stand_ins::queue::QueueService::from_connection_string(&connection).expect("it is valid");
    let queue = service.queue(sandbox::world::QUEUE);
    assert_eq!(queue.approximate_count().await.expect("it exists"), 80);
    let first = queue.peek(1).await.expect("it answers").remove(0);
    assert!(first.text.starts_with(r#"{"table":"contacts","key":{"employeeid":"#), "{}", first.text);
}
