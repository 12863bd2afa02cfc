//! What holds for every value, found by trying: against the stand-in's own idea of what a column keeps.

use proptest::prelude::*;
use sandbox::dataverse::Kind as Shelf;
use serde_json::{Number as JsonNumber, Value as Json, json};

use super::super::definition::Kind;
use super::*;

/// Kinds of columns as the stand-in keeps them, and as a definition calls them.
fn kinds() -> impl Strategy<Value = (Shelf, Kind)> {
    prop_oneof![
        Just((Shelf::Text { max: 200 }, Kind::Plain)),
        Just((Shelf::Integer { min: -1_000, max: 1_000 }, Kind::Plain)),
        Just((Shelf::BigInteger, Kind::Plain)),
        Just((Shelf::Boolean, Kind::Plain)),
        Just((Shelf::Choice((-3..9).collect()), Kind::Plain)),
        (0_u8..6).prop_map(|precision| (Shelf::Decimal { precision }, Kind::Decimal(Some(precision)))),
        (0_u8..5).prop_map(|precision| (Shelf::Money { precision }, Kind::Decimal(Some(precision)))),
        // Money whose precision is the currency's: the definition does not know it.
        (0_u8..5).prop_map(|precision| (Shelf::Money { precision }, Kind::Decimal(None))),
        (0_u8..6).prop_map(|precision| (Shelf::Double { precision }, Kind::Double(Some(precision)))),
        Just((Shelf::DateTime, Kind::Instant)),
        Just((Shelf::DateOnly, Kind::Opaque)),
        Just((Shelf::MultiChoice((-3..9).collect()), Kind::Choices)),
        Just((Shelf::Guid, Kind::Guid)),
    ]
}

/// Values for a column, from a world so small that equal and nearly equal ones meet often, in many notations; now and then one
/// that no such column takes.
fn values(shelf: &Shelf) -> BoxedStrategy<Json> {
    let fitting = match shelf {
        Shelf::Decimal { .. } | Shelf::Money { .. } | Shelf::Double { .. } => numbers().boxed(),
        Shelf::DateTime => times().boxed(),
        Shelf::MultiChoice(_) => sets().boxed(),
        Shelf::Guid => ids().boxed(),
        Shelf::Text { .. } => prop_oneof![times(), sets(), ids(), "[aA ]{0,2}".prop_map(Json::from)].boxed(),
        Shelf::DateOnly => (28_u8..32).prop_map(|day| json!(format!("2026-01-{day}"))).boxed(),
        Shelf::Boolean => any::<bool>().prop_map(Json::from).boxed(),
        Shelf::BigInteger => prop_oneof![any::<i64>(), -3_i64..4].prop_map(Json::from).boxed(),
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
        JsonNumber::from_f64(number).map_or(Json::Null, Json::Number)
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

/// A column and values for it.
fn column() -> impl Strategy<Value = (Shelf, Kind, Json, Json)> {
    kinds().prop_flat_map(|(shelf, kind)| {
        let (sent, others) = (values(&shelf), values(&shelf));
        (Just(shelf), Just(kind), sent, others)
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

fn columns(sent: &str) -> Vec<Column<'_>> {
    let Members(members) = serde_json::from_str(sent).expect("an object");
    members.into_iter().map(|(name, value)| Column { name, value }).collect()
}

fn compared(sent: &Json, stored: &Json, kind: Option<Kind>) -> Comparison {
    let definition = kind.map(|kind| Definition::new("thing", "thingid").with_column("c", kind, false));
    let stored = Row::from_json(json!({ "c": stored }).to_string()).expect("an object");
    compare(&columns(&json!({ "c": sent }).to_string()), &stored, definition.as_ref(), &[])
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_a_column_made_of_a_value_never_differs_from_it((shelf, kind, sent, _) in column()) {
        if let Some(stored) = shelf.keeps(&sent) {
            prop_assert_ne!(compared(&sent, &stored, Some(kind)), Comparison::Differs, "{} {}", sent, stored);
            prop_assert_ne!(compared(&sent, &stored, None), Comparison::Differs, "{} {}", sent, stored);
        }
    }

    #[test]
    fn what_came_back_and_is_sent_again_is_the_same((shelf, kind, sent, _) in column()) {
        if let Some(stored) = shelf.keeps(&sent) {
            prop_assert_eq!(compared(&stored, &stored, Some(kind)), Comparison::Same, "{}", stored);
            prop_assert_eq!(compared(&stored, &stored, None), Comparison::Same, "{}", stored);
        }
    }

    #[test]
    fn what_is_the_same_would_be_kept_as_what_is_there(
        (shelf, kind, sent, others) in column(),
    ) {
        let (Some(ours), Some(theirs)) = (shelf.keeps(&sent), shelf.keeps(&others)) else { return Ok(()) };
        for kind in [Some(kind), None] {
            if compared(&sent, &theirs, kind) == Comparison::Same {
                prop_assert_eq!(&ours, &theirs, "{} {:?}", sent, kind);
            }
        }
    }

    #[test]
    fn a_definition_settles_only_what_was_unknown_without_it(
        (_, kind) in kinds(),
        sent in anything(),
        stored in anything(),
    ) {
        let bare = compared(&sent, &stored, None);
        if bare == Comparison::Same {
            prop_assert_eq!(compared(&sent, &stored, Some(kind)), Comparison::Same, "{} {}", sent, stored);
        } else if bare == Comparison::Differs {
            prop_assert_ne!(compared(&sent, &stored, Some(kind)), Comparison::Same, "{} {}", sent, stored);
        }
    }

    #[test]
    fn no_json_makes_a_comparison_panic_or_an_address_break(
        sent in prop::collection::hash_map("c|n|.{0,6}|(n|.{0,6})@odata.bind", anything(), 0..4),
        stored in prop::collection::hash_map("c|_x_value|.{0,6}", anything(), 0..4),
        (_, kind) in kinds(),
    ) {
        let definition =
            Definition::new("thing", "thingid").with_column("c", kind, true).with_lookup("n", "x", "thing");
        let sent = json!(sent).to_string();
        let (sent, stored) = (columns(&sent), Row::from_json(json!(stored).to_string()).expect("an object"));
        for definition in [None, Some(&definition)] {
            compare(&sent, &stored, definition, &[]);
            let names = select(&sent, definition).unwrap_or_default();
            prop_assert!(names.iter().all(|name| is_set_name(name)), "{:?}", names);
        }
        unresolved(&sent, &stored, &definition);
        is_beyond_comparison(&sent);
    }
}

#[test]
fn the_small_world_of_values_is_small_enough_for_notations_to_meet() {
    use proptest::strategy::ValueTree as _;
    use proptest::test_runner::TestRunner;

    let mut runner = TestRunner::deterministic();
    let mut met = 0;
    for _ in 0..1_000 {
        let (shelf, kind, sent, others) = column().new_tree(&mut runner).expect("nothing is filtered").current();
        let (Some(_), Some(theirs)) = (shelf.keeps(&sent), shelf.keeps(&others)) else { continue };
        met += usize::from(sent != theirs && compared(&sent, &theirs, Some(kind)) == Comparison::Same);
    }
    assert!(met > 25, "only {met} pairs of unequal notations were the same");
}
