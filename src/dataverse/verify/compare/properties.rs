//! Properties of the comparison for every value, checked against the values that the stand-in's columns store.

use proptest::prelude::*;
use serde_json::{Number, Value as Json, json};
use stand_ins::dataverse::Kind;

use super::tests::{columns, compared, comparison};
use super::*;

fn kinds() -> impl Strategy<Value = Kind> {
    prop_oneof![
        Just(Kind::Text { max: 200 }),
        Just(Kind::Integer { min: -1_000, max: 1_000 }),
        Just(Kind::BigInteger),
        Just(Kind::Boolean),
        Just(Kind::Choice((-3..9).collect())),
        (0_u8..6).prop_map(|precision| Kind::Decimal { precision }),
        (0_u8..5).prop_map(|precision| Kind::Money { precision }),
        (0_u8..6).prop_map(|precision| Kind::Double { precision }),
        Just(Kind::DateTime),
        Just(Kind::DateOnly),
        Just(Kind::MultiChoice((-3..9).collect())),
        Just(Kind::Guid),
    ]
}

/// Values for a column, so few that equal and nearly equal ones meet often, in many notations; sometimes one of another kind.
/// Text columns get no date-times and GUIDs: there a notation is a value of its own, which no comparison without metadata sees.
fn values(kind: &Kind) -> BoxedStrategy<Json> {
    let fitting = match kind {
        Kind::Decimal { .. } | Kind::Money { .. } | Kind::Double { .. } => numbers().boxed(),
        Kind::DateTime => times().boxed(),
        Kind::MultiChoice(_) => sets().boxed(),
        Kind::Guid => ids().boxed(),
        Kind::Text { .. } => return prop_oneof![sets(), "[aA ]{0,2}".prop_map(Json::from), Just(Json::Null)].boxed(),
        Kind::DateOnly => (28_u8..32).prop_map(|day| json!(format!("2026-01-{day}"))).boxed(),
        Kind::Boolean => any::<bool>().prop_map(Json::from).boxed(),
        Kind::BigInteger => prop_oneof![any::<i64>(), -3_i64..4].prop_map(Json::from).boxed(),
        _ => (-3_i64..4).prop_map(Json::from).boxed(),
    };
    prop_oneof![8 => fitting, 1 => Just(Json::Null), 1 => any_notation()].boxed()
}

fn any_notation() -> impl Strategy<Value = Json> {
    prop_oneof![
        numbers(),
        times(),
        sets(),
        ids(),
        "[aA ]{0,2}".prop_map(Json::from),
        any::<bool>().prop_map(Json::from)
    ]
}

/// Around 1, with up to four places.
fn numbers() -> impl Strategy<Value = Json> {
    let near_one = (9_900_i32..10_100, 0_u32..5, any::<bool>());
    near_one.prop_map(|(units, dropped, negative)| {
        let units = if negative { -units } else { units };
        let number = f64::from(units / 10_i32.pow(dropped.min(3))) / 10_f64.powi(4 - dropped.min(3).cast_signed());
        Number::from_f64(number).map_or(Json::Null, Json::Number)
    })
}

fn times() -> impl Strategy<Value = Json> {
    let fraction = prop_oneof![Just(""), Just(".0"), Just(".25"), Just(".499"), Just(".5"), Just(".987")];
    let offset = prop_oneof![Just(""), Just("Z"), Just("+00:00"), Just("+01:00"), Just("-01:00")];
    (1_u8..4, 58_u8..60, fraction, offset)
        .prop_map(|(hour, second, fraction, offset)| json!(format!("2026-01-31T0{hour}:00:{second}{fraction}{offset}")))
}

fn sets() -> impl Strategy<Value = Json> {
    (prop::collection::vec(-1_i64..3, 1..4), prop_oneof![Just(","), Just(", "), Just(" , ")])
        .prop_map(|(choices, comma)| json!(choices.iter().map(i64::to_string).collect::<Vec<_>>().join(comma)))
}

fn ids() -> impl Strategy<Value = Json> {
    (0xABC_u128..0xABE, 0_u8..3).prop_map(|(id, notation)| {
        let id = Uuid::from_u128(id).to_string();
        json!(match notation {
            0 => id,
            1 => id.to_uppercase(),
            _ => format!("{{{id}}}"),
        })
    })
}

/// A column and two values for it.
fn column() -> impl Strategy<Value = (Kind, Json, Json)> {
    kinds().prop_flat_map(|kind| {
        let (sent, other) = (values(&kind), values(&kind));
        (Just(kind), sent, other)
    })
}

fn anything() -> impl Strategy<Value = Json> {
    let leaf =
        prop_oneof![any_notation(), ".{0,6}".prop_map(Json::from), any::<f64>().prop_map(Json::from), Just(Json::Null)];
    leaf.prop_recursive(2, 8, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Json::from),
            prop::collection::hash_map(".{0,6}", inner, 0..4).prop_map(|members| json!(members)),
        ]
    })
}

/// Whether the value is proven, all columns being readable.
fn is_proven(sent: &Json, stored: &Json) -> bool {
    compared(&json!({ "c": sent }).to_string(), &json!({ "c": stored }).to_string()).is_some()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_was_read_and_is_sent_again_is_proven((kind, sent, _) in column()) {
        if let Some(stored) = kind.keeps(&sent) {
            prop_assert!(is_proven(&stored, &stored), "{}", stored);
        }
    }

    #[test]
    fn what_is_proven_would_be_stored_as_what_is_there((kind, sent, other) in column()) {
        let (Some(ours), Some(theirs)) = (kind.keeps(&sent), kind.keeps(&other)) else { return Ok(()) };
        if is_proven(&sent, &theirs) {
            prop_assert_eq!(&ours, &theirs, "{}", sent);
        }
    }

    #[test]
    fn what_the_service_stores_of_a_value_does_not_differ((kind, sent, _) in column()) {
        if let Some(stored) = kind.keeps(&sent) {
            let found = comparison(&json!({ "c": sent }).to_string(), &json!({ "c": stored }).to_string());
            prop_assert!(!found.differs, "{} {}", sent, stored);
        }
    }

    #[test]
    fn no_json_makes_the_comparison_panic(
        sent in prop::collection::hash_map("c|n|.{0,6}|(n|.{0,6})@odata.bind", anything(), 0..4),
        stored in prop::collection::hash_map("c|_n_value|.{0,6}", anything(), 0..4),
    ) {
        let sent = json!(sent).to_string();
        let sent = columns(&sent);
        compare(&sent, &Row::from_json(json!(stored).to_string()).expect("an object"));
        for column in sent.iter().filter(|column| is_comparable(column) && !column.name.ends_with(BIND)) {
            prop_assert!(is_entity_set_name(&column.name), "{} cannot be selected", column.name);
        }
    }
}

#[test]
fn the_values_are_few_enough_for_notations_to_meet() {
    use proptest::strategy::ValueTree as _;
    use proptest::test_runner::TestRunner;

    let mut runner = TestRunner::deterministic();
    let mut met = 0;
    for _ in 0..2_000 {
        let (kind, sent, other) = column().new_tree(&mut runner).expect("nothing is filtered").current();
        let (Some(_), Some(theirs)) = (kind.keeps(&sent), kind.keeps(&other)) else { continue };
        met += usize::from(sent != theirs && is_proven(&sent, &theirs));
    }
    assert!(met > 25, "only {met} pairs of unequal notations were the same");
}
