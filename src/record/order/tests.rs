use proptest::prelude::*;

use super::*;
use crate::record::decode;

const ID: &str = "9b2e0c3a-1111-4222-8333-444455556666";

/// A contact with this key, as JSON, that refers to these rows.
fn contact(key: &str, lookups: &[&str]) -> String {
    record("upsert", key, lookups)
}

fn record(operation: &str, key: &str, lookups: &[&str]) -> String {
    let named = lookups.iter().enumerate().map(|(number, address)| format!(r#""n{number}@odata.bind":"{address}""#));
    let columns = named.collect::<Vec<_>>().join(",");
    format!(r#"{{"table":"contacts","operation":"{operation}","key":{key},"columns":{{{columns}}}}}"#)
}

fn links(messages: &[String]) -> Vec<Option<Links>> {
    let hasher = RandomState::new();
    let decoded = messages.iter().map(|message| decode(&message.clone().into()).ok());
    decoded.map(|record| record.map(|record| Links::of(&record, &hasher))).collect()
}

/// Which positions each record waits for.
fn waits(messages: &[String]) -> Vec<Vec<usize>> {
    let order = Order::new(&links(messages));
    let positions = || 0..messages.len();
    let waits = |child: usize| {
        let is_parent = |parent: &usize| order.children(*parent).contains(&child) && order.waits_for(child, *parent);
        let before = |other: &usize| order.next_of_key(*other) == Some(child) || is_parent(other);
        positions().filter(before).collect::<Vec<_>>()
    };
    let waits: Vec<_> = positions().map(waits).collect();
    assert_eq!(order.waits(), waits.iter().map(Vec::len).collect::<Vec<_>>());
    waits
}

const A: &str = r#"{"k":"a"}"#;
const B: &str = r#"{"k":"b"}"#;
const C: &str = r#"{"k":"c"}"#;
const TO_A: &str = "/contacts(k='a')";
const TO_B: &str = "/contacts(k='b')";
const TO_C: &str = "/contacts(k='c')";

#[test]
fn records_of_one_key_go_in_the_order_sent_in_whatever_spelling_and_an_invalid_one_is_alone() {
    let messages = [contact(A, &[]), "7".into(), contact(B, &[]), contact(r#"{"k":"A "}"#, &[]), "7".into()];
    assert_eq!(waits(&messages), [vec![], vec![], vec![], vec![0], vec![]]);
}

#[test]
fn a_record_waits_for_the_first_of_each_row_that_it_names() {
    let messages = [
        contact(A, &[TO_B, TO_C, TO_C, "/contacts(k='none')"]),
        contact(B, &[]),
        contact(C, &[TO_B]),
        contact(B, &[TO_C]),
        contact(C, &[]),
    ];
    assert_eq!(waits(&messages), [vec![1, 2], vec![], vec![1], vec![1, 2], vec![2]]);
}

#[test]
fn parents_are_found_by_primary_key_and_in_every_spelling() {
    let id = format!("\"{{{}}}\"", ID.to_uppercase());
    let by_key = format!(r#"{{"_p_value":"{ID}","k":"x"}}"#);
    let by_id = format!("/contacts(contactid={ID})");
    let messages = [
        contact(&by_key, &[]),
        contact(A, &[&by_id]),
        contact(B, &["https://x.example/api/data/v9.2/contacts(k='A%20')"]),
        contact(&id, &[]),
    ];
    assert_eq!(waits(&messages), [vec![3], vec![3], vec![1], vec![]]);
    let accounts = contact(A, &[]).replace("contacts", "accounts");
    assert_eq!(waits(&[contact(B, &[TO_A]), accounts]), [[0_usize; 0]; 2], "another table");
}

#[test]
fn a_cycle_goes_in_the_order_sent_and_what_is_not_in_it_waits_for_it() {
    let messages = [contact(C, &[TO_B]), contact(B, &[TO_A]), contact(A, &[TO_B])];
    assert_eq!(waits(&messages), [vec![1], vec![], vec![1]]);
    assert_eq!(waits(&[contact(A, &[TO_A]), contact(A, &[TO_A])]), [vec![], vec![0]], "itself");
    let messages = [contact(A, &[TO_B]), contact(B, &[TO_C]), contact(C, &[TO_A]), contact(A, &[])];
    assert_eq!(waits(&messages), [vec![], vec![], vec![0], vec![0]]);
}

/// The level of each record, and those in cycles.
fn levels(messages: &[String]) -> (Vec<u32>, Vec<usize>) {
    let order = Order::new(&links(messages));
    (order.levels(), order.in_cycles().into_iter().collect())
}

#[test]
fn a_record_is_a_level_below_its_parents_and_on_one_with_the_earlier_records_of_its_key_or_below() {
    let messages = [contact(C, &[TO_B]), contact(A, &[]), contact(B, &[TO_A]), contact(A, &[TO_C]), contact(A, &[])];
    assert_eq!(levels(&messages), (vec![2, 0, 1, 3, 3], vec![]));
    let messages = [contact(C, &[TO_B]), contact(B, &[TO_A]), contact(A, &[TO_B]), "7".into()];
    assert_eq!(levels(&messages), (vec![1, 0, 1, 0], vec![1, 2]), "what is not in a cycle goes below it");
    let messages = [contact(B, &[TO_A]), contact(A, &[TO_A]), contact(B, &[TO_B]), contact(A, &[TO_A])];
    assert_eq!(levels(&messages), (vec![1, 0, 1, 0], vec![1]), "only the first record of a key is its own parent");
}

#[test]
fn a_record_does_not_wait_for_a_deletion_and_a_deletion_waits_for_those_before_it() {
    let (delete, update) = (record("delete", A, &[TO_B]), record("update", A, &[TO_B]));
    assert_eq!(waits(&[contact(B, &[TO_A]), delete.clone()]), [vec![], vec![0]]);
    assert_eq!(waits(&[delete.clone(), contact(B, &[TO_A])]), [[0_usize; 0]; 2], "it would miss its row either way");
    assert_eq!(waits(&[delete.clone(), contact(A, &[]), contact(B, &[TO_A])]), [vec![], vec![0], vec![1]]);
    assert_eq!(waits(&[contact(A, &[]), contact(B, &[TO_A]), delete.clone()]), [vec![], vec![0], vec![0, 1]]);
    assert_eq!(waits(&[contact(B, &[TO_A]), delete, contact(A, &[])]), [vec![], vec![0], vec![1]], "a cycle");
    assert_eq!(waits(&[update, contact(B, &[])]), [vec![1], vec![]]);
}

#[test]
fn a_chain_of_a_thousand_and_a_cycle_of_a_thousand_need_no_stack() {
    let to = |number: usize| format!("/contacts(k='{number}')");
    let chain = |from: usize, number: usize| contact(&format!(r#"{{"k":"{from}"}}"#), &[&to(number)]);
    let messages: Vec<_> = (0..1_000).map(|number| chain(number, number + 1)).collect();
    let order = Order::new(&links(&messages));
    assert_eq!(order.waits().iter().filter(|waits| **waits == 0).count(), 1);
    let messages: Vec<_> = (0..1_000).map(|number| chain(number, (number + 1) % 1_000)).collect();
    let order = Order::new(&links(&messages));
    assert_eq!(order.waits().iter().sum::<usize>(), 1, "only the last one's parent was sent before it");
}

/// Whether each node reaches each other one, by one edge or several.
fn reach(edges: &[Vec<usize>]) -> Vec<Vec<bool>> {
    let count = edges.len();
    let mut reach: Vec<Vec<bool>> =
        edges.iter().map(|to| (0..count).map(|node| to.contains(&node)).collect()).collect();
    for middle in 0..count {
        for from in 0..count {
            for to in 0..count {
                reach[from][to] |= reach[from][middle] && reach[middle][to];
            }
        }
    }
    reach
}

fn graph() -> impl Strategy<Value = Vec<Vec<usize>>> {
    (1_usize..12).prop_flat_map(|count| prop::collection::vec(prop::collection::vec(0..count, 0..4), count))
}

proptest! {
    #[test]
    fn components_are_the_nodes_that_reach_each_other(edges in graph()) {
        let (found, reach) = (components(&edges), reach(&edges));
        for one in 0..edges.len() {
            for other in 0..edges.len() {
                let is_one = one == other || (reach[one][other] && reach[other][one]);
                prop_assert_eq!(found[one] == found[other], is_one, "{} {}", one, other);
            }
        }
    }
}
