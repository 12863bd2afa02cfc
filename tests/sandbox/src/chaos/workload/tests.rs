use super::*;

#[test]
fn a_seed_determines_the_messages_and_every_kind_occurs() {
    let plan = Plan::for_test();
    let all = draw(7, &plan);
    assert!(all == draw(7, &plan) && all != draw(8, &plan));
    for (_, kind) in KINDS.into_iter().chain([(0, Kind::Silent)]) {
        for operation in kind.profile().operations {
            let occurs = |message: &Message| (message.kind, message.operation) == (kind, *operation);
            assert!(all.iter().any(occurs), "{kind:?} {operation:?}");
        }
    }
    assert!(all.iter().any(|message| message.copies == 2) && all.iter().any(|message| message.key.contains('/')));
    for message in all {
        let record: Value = serde_json::from_str(&message.text).expect("JSON");
        let mut values = record["columns"].as_object().into_iter().flatten().map(|(_, value)| value);
        let has_canary = |value: &Value| value.as_str().is_some_and(|text| text.contains(CANARY));
        assert!(values.all(|value| value.is_i64() || has_canary(value)), "{record}");
        let key = &record["key"]["employeeid"];
        assert!(has_canary(key) && folded(key.as_str().unwrap_or_default()) == message.key, "{record}");
    }
}

#[test]
fn versions_are_unique_to_a_key_and_some_are_sent_out_of_order() {
    let mut versioned = draw(7, &Plan::for_test());
    versioned.retain(|message| message.kind.has_versions());
    let key = |message: &Message| (message.key.clone(), message.columns().version);
    versioned.sort_by_key(|message| (key(message), message.version));
    let same_key = || versioned.windows(2).filter(|pair| key(&pair[0]) == key(&pair[1]));
    assert!(same_key().all(|pair| pair[0].version < pair[1].version));
    for (_, kind) in KINDS.into_iter().filter(|(_, kind)| kind.has_versions() && kind.profile().per_key.is_some()) {
        let mut of_kind = same_key().filter(|pair| pair[0].kind == kind);
        assert!(of_kind.any(|pair| pair[0].at > pair[1].at), "every key of {kind:?} is sent in order");
    }
}

#[test]
fn a_key_occurs_in_several_spellings() {
    let all = draw(7, &Plan::for_test());
    let of_key = |message: &&Message| message.kind == Kind::Spelled && message.key == "canary-k-0";
    let spellings = all.iter().filter(of_key).map(|message| {
        let record: Value = serde_json::from_str(&message.text).expect("JSON");
        record["key"]["employeeid"].to_string()
    });
    assert!(spellings.collect::<BTreeSet<_>>().len() > 2);
}
