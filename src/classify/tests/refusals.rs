//! The table of refusals: what each answer means for each kind of request, on the first attempt, without a bound
//! lookup.

use std::collections::HashSet;

use Reason::{
    AlreadyAbsent, DuplicateDetected, InvalidData, KeyCollision, NotFound, Throttled, TooLarge, Unauthorized,
    Unavailable,
};
use Verdict::{Again, LostRace, Moved, Settle};
use WriteKind::{Create, Delete, DeleteUnchanged, Read, Update, UpdateFound, UpdateUnchanged, Upsert};

use super::super::*;
use super::{answered, first};

/// The code is empty or zero.
pub(super) const NO_CODE: u32 = 0;

/// Statuses, codes, texts, kinds of request: each combination of them has this verdict.
type Rule = (&'static [u16], &'static [u32], &'static [&'static str], &'static [WriteKind], Verdict);

// Dataverse's messages.
const DUPLICATE: &str = "A record with matching key values already exists.";
const DUPLICATE_KEY: &str = "Entity Key Email Key violated. A record with the same value for Email already exists.";
const STALE: &str = "The version of the existing record doesn't match the RowVersion property provided.";
const DETECTED: &str = "A record was not created or updated because a duplicate of the current record already exists.";
const NO_ROW: &str = "contact With Id = 9b2e0c3a-1111-4222-8333-444455556666 Does Not Exist";
const NO_TABLE: &str = "Resource not found for the segment 'contact'.";
const NO_RESOURCE: &str = "No HTTP resource was found that matches the request URI.";
const NO_PROPERTY: &str = "An undeclared property 'nme' was found; it does not exist on type 'contact'.";
const NO_RIGHT: &str = "Principal user is missing prvWriteContact privilege";
const TOO_MANY: &str = "Number of requests exceeded the limit of 6000 over time window of 300 seconds.";
const TRUNCATED: &str = "Generic SQL error. Sql Number: 8152";
const LONGER_NUMBER: &str = "Sql ErrorCode: -2146232060 Sql Number: 12051";
const VICTIM: &str = "Transaction (Process ID 87) was chosen as the Deadlock Victim. Rerun the transaction.";
const TIMEOUT: &str = "Sql error: CRM ErrorCode: -2147204783 Sql ErrorCode: -2146232060 Sql Number: -2";
const EXPIRED: &str = "System.Data.SqlClient.SqlException: Execution Timeout Expired. The timeout period elapsed";
const MOVED: &str = "ClientConnectionId:9b2e\r\nError Number:40613,State:1,Class:17";
const NO_OPERATION: &str = "does not support operation";
const NO_KEY: &str =
    "The key in the request URI is not valid for resource 'Microsoft.Dynamics.CRM.contact'. Ensure that …";
const NO_OLD_KEY: &str = "The specified key attributes are not a defined key for the contact entity";
const CONSTRAINT: &str = "The DELETE statement conflicted with the REFERENCE constraint \"x\". Sql Number: 547";
pub(super) const DEADLOCK: &str =
    "Sql error: 'Transaction was deadlocked on lock resources' CRM ErrorCode: -2147204784 Sql Number: 1205";

#[rustfmt::skip] // Aligned as a table.
const RULES: &[Rule] = &[
    // A unique key is taken. Only a request that may create a row can have lost a race for its own key.
    (&[412, 500], &[0x8004_0237],             &[DUPLICATE],    &[Upsert, Create],                  LostRace),
    (&[412],      &[0x8006_0892],             &[DUPLICATE_KEY], &[Upsert, Create],                 LostRace),
    (&[412],      &[0x8007_3002],             &[""],           &[Upsert, Create],                  LostRace),
    (&[412],      &[0x8004_0237],             &[DUPLICATE],    &[Update, UpdateFound, Delete],     Settle(KeyCollision)),
    (&[412],      &[0x8004_0237],             &[DUPLICATE],    &[UpdateUnchanged, DeleteUnchanged], Settle(KeyCollision)),
    (&[412],      &[0x8006_0892],             &[DUPLICATE_KEY], &[Update, UpdateUnchanged],        Settle(KeyCollision)),
    (&[400, 500], &[0x8007_3002],             &[""],           &[Update, Delete],                  Settle(KeyCollision)),
    (&[412],      &[0x8004_3239],             &[""],           &[Upsert, Create],                  Settle(KeyCollision)),
    // The same without a code: the text decides, otherwise the status and the kind of request. A conflict is as 412.
    (&[412],      &[NO_CODE],                 &[DUPLICATE, DUPLICATE_KEY], &[Upsert, Create],      LostRace),
    (&[412],      &[NO_CODE],                 &[DUPLICATE],    &[Update, UpdateUnchanged],         Settle(KeyCollision)),
    (&[409, 412], &[NO_CODE],                 &[""],           &[Upsert, Create],                  LostRace),
    (&[409, 412], &[NO_CODE],                 &[""],           &[Update, UpdateFound],             Settle(KeyCollision)),
    (&[409, 412], &[NO_CODE],                 &[""],           &[UpdateUnchanged, DeleteUnchanged], Moved),
    (&[409],      &[NO_CODE],                 &[""],           &[Delete],                          Again),
    // The row changed since it was read.
    (&[412],      &[0x8006_0882, NO_CODE],    &[STALE],        &[UpdateUnchanged, DeleteUnchanged], Moved),
    (&[412],      &[0x8006_0882],             &[STALE],        &[Upsert],                          Moved),
    // A duplicate-detection rule; the documentation shows it with 412 and with 500.
    (&[412, 500], &[0x8004_0333, NO_CODE],    &[DETECTED],     &[Upsert, Create, Update, UpdateUnchanged], Settle(DuplicateDetected)),
    // A row is missing: ours, or one that a lookup is bound to (tested separately).
    (&[404],      &[0x8004_0217],             &[NO_ROW],       &[Upsert],                          Again),
    (&[404],      &[0x8004_0217, 0x8006_0891], &[NO_ROW],      &[Create, Update, Read],            Settle(NotFound)),
    (&[404],      &[0x8004_0217],             &[NO_ROW],       &[UpdateFound],                     Moved),
    (&[400, 404], &[0x8004_0217, 0x8006_0891], &[NO_ROW],      &[UpdateUnchanged, DeleteUnchanged], Moved),
    (&[404],      &[0x8004_0217, 0x8006_0891], &[NO_ROW],      &[Delete],                          Settle(AlreadyAbsent)),
    (&[404],      &[NO_CODE],                 &[NO_ROW],       &[UpdateUnchanged],                 Moved),
    (&[404],      &[NO_CODE],                 &[NO_ROW],       &[Delete],                          Settle(AlreadyAbsent)),
    // No such table.
    (&[404],      &[0x8006_0888, 0x8006_088A], &[NO_TABLE],    &[Upsert, Delete],                  Settle(NotFound)),
    (&[404],      &[NO_CODE],                 &["", NO_RESOURCE], &[Upsert, Delete],               Settle(NotFound)),
    // The data or the request can never be stored.
    (&[400],      &[NO_CODE],                 &["", NO_PROPERTY], &[Upsert],                       Settle(InvalidData)),
    (&[405, 501], &[NO_CODE],                 &[""],           &[Upsert],                          Settle(InvalidData)),
    (&[413, 414], &[NO_CODE],                 &[""],           &[Upsert, Create],                  Settle(TooLarge)),
    (&[400, 500], &[
        0x8004_8D19, 0x8004_4331, 0x8004_4330, 0x8004_431A, 0x8004_0239, 0x8004_0278, 0x8004_0203, 0x8004_0265, 0x8004_8D43,
        0x8009_0429, 0x8004_1136, 0x8007_3001, 0x8004_432F, 0x8004_0200, 0x8004_8408, 0x8004_0230, 0x8004_022E, 0x8004_0228,
        0x8004_0353, 0x8009_0800,
    ], &[""], &[Upsert, Update], Settle(InvalidData)),
    (&[405],      &[0x8004_0227, 0x8004_023B, 0x8004_0315], &[""], &[Upsert, Delete],              Settle(InvalidData)),
    (&[412],      &[0x8006_0883, 0x8006_088D], &[""],          &[UpdateUnchanged],                 Settle(InvalidData)),
    // A catch-all gets one more attempt; then the status decides (tested separately).
    (&[400, 500], &[0x8004_0216],             &[""],           &[Upsert, UpdateUnchanged, Read],   Again),
    (&[400],      &[0x8004_0224, 0x8004_0251], &[""],          &[Upsert],                          Again),
    (&[400, 412, 500], &[0x8004_0255, 0x8004_4339], &[""],     &[Upsert, Create, UpdateUnchanged], Again),
    (&[500],      &[0x8009_000C],             &[""],           &[Upsert],                          Again),
    (&[400],      &[0x8004_8105],             &[""],           &[Delete],                          Again),
    // An SQL error, also in the text of a plug-in. A deadlock is retried in place; others share its code and may persist.
    (&[400, 500], &[0x8004_4150],             &[DEADLOCK],     &[Upsert, UpdateUnchanged],         Again),
    (&[500],      &[NO_CODE],                 &[DEADLOCK],     &[Delete],                          Again),
    (&[500],      &[0x8004_4150],             &["", TRUNCATED, TIMEOUT], &[Upsert],                Settle(Unavailable)),
    (&[400],      &[0x8004_0265, 0x8004_0224, 0x8004_0216], &[DEADLOCK, VICTIM], &[Upsert],        Again),
    (&[400],      &[0x8004_0265, 0x8004_0224, 0x8004_0216], &[TIMEOUT, EXPIRED, MOVED], &[Upsert], Settle(Unavailable)),
    (&[400],      &[0x8004_0265],             &[TRUNCATED, LONGER_NUMBER], &[Upsert],              Settle(InvalidData)),
    // Transient with any status: other work that is under way, the sandbox, an upgrade, a solution import, the administration mode.
    (&[400, 500, 503], &[
        0x8004_4151, 0x8007_3000, 0x8004_8542, 0x8004_8544, 0x8004_8551, 0x8004_8559, 0x8004_8561, 0x8004_8562,
        0x8004_8563, 0x8005_0544, 0x8004_8543, 0x8004_8553, 0x8007_1154, 0x8004_F061, 0x8004_F062, 0x8004_F063, 0x8004_F064,
        0x8004_F067, 0x8004_418D, 0x8004_418E, 0x8004_4171, 0x8004_4172, 0x8004_4173, 0x8008_1111, 0x8008_1116, 0x8004_8554,
        0x8004_ED47, 0x8004_032B,
    ], &[""], &[Upsert], Settle(Unavailable)),
    (&[400, 429], &[0x8007_1151],             &[""],           &[Upsert],                          Settle(Unavailable)),
    (&[503],      &[0x8004_A001],             &[""],           &[Update],                          Settle(Unavailable)),
    (&[403],      &[0x8004_A113],             &[""],           &[Upsert],                          Settle(Unavailable)),
    // These are no locks, whatever their neighbours are.
    (&[400],      &[0x8004_F065, 0x8004_F066], &[""],          &[Upsert],                          Settle(InvalidData)),
    (&[500],      &[0x8004_F065],             &[""],           &[Upsert],                          Settle(Unavailable)),
    // Neither code nor text: a gateway, a proxy, an HTML page.
    (&[302, 408, 421, 423, 425, 499, 500, 502, 503, 504], &[NO_CODE], &[""], &[Upsert, Create, UpdateUnchanged, Delete], Settle(Unavailable)),
    // Service protection.
    (&[400, 429, 503], &[0x8007_2322, 0x8007_2321, 0x8007_2326], &["", TOO_MANY], &[Upsert, Create, Read], Settle(Throttled)),
    (&[429, 503], &[0x8005_F103],             &[""],           &[Upsert, Read],                    Settle(Throttled)),
    (&[429],      &[NO_CODE],                 &["", DUPLICATE], &[Update, Delete],                 Settle(Throttled)),
    // Operator-fixable: the token; the application user, its roles and privileges; the environment, licences, owners.
    (&[401], &[
        0x8004_A100, 0x8004_A101, 0x8004_A102, 0x8004_A103, 0x8004_A105, 0x8005_F101, 0x8004_4300, 0x8004_4302, 0x8004_4308,
        0x8004_0204, 0x8004_0277,
    ], &[""], &[Upsert], Settle(Unauthorized)),
    (&[401, 407, 431], &[NO_CODE],            &[""],           &[Upsert, Read],                    Settle(Unauthorized)),
    (&[401],      &[NO_CODE],                 &[NO_ROW],       &[Delete],                          Settle(Unauthorized)),
    (&[400, 403], &[0x8004_0220],             &[NO_RIGHT],     &[Upsert, UpdateUnchanged],         Settle(Unauthorized)),
    (&[400, 403], &[
        0x8007_2560, 0x8004_A112, 0x8004_2F09, 0x8004_8306, 0x8004_0231, 0x8004_0276, 0x8004_8405, 0x8004_020D, 0x8004_0256,
        0x8004_A110, 0x8004_F502, 0x8004_F504, 0x8004_F507, 0x8009_5FFC, 0x8004_0299, 0x8009_5FFE, 0x8004_2F0A, 0x8004_0225,
        0x8004_022B, 0x8004_A104, 0x8004_A107, 0x8005_0300, 0x8005_0301, 0x8005_0302, 0x8005_0303, 0x8005_0304, 0x8005_0305,
        0x8005_0306, 0x8005_0307, 0x8004_B057, 0x8007_2559, 0x8004_B065, 0x8008_1115,
    ], &[""], &[Upsert, Create, Update, Delete, Read], Settle(Unauthorized)),
    (&[403],      &[NO_CODE],                 &["", DUPLICATE], &[Upsert, Update, DeleteUnchanged], Settle(Unauthorized)),
    // A general wrapper: text and status speak, as without a code.
    (&[400],      &[0x8006_0888, 0x8006_088A], &[""],          &[Upsert],                          Settle(InvalidData)),
    (&[400],      &[0x8006_0888],             &[""],           &[Read],                            Settle(InvalidData)),
    (&[500],      &[0x8006_0888, 0x8006_088A], &[""],          &[Upsert],                          Settle(Unavailable)),
    (&[404],      &[0x8006_0888, 0x8006_088A], &[NO_ROW],      &[Delete],                          Settle(AlreadyAbsent)),
    (&[404],      &[0x8006_0888],             &[NO_ROW],       &[UpdateUnchanged],                 Moved),
    (&[405, 415], &[0x8006_0888],             &["", NO_OPERATION], &[Upsert],                      Settle(InvalidData)),
    (&[412],      &[0x8006_0888],             &[DUPLICATE],    &[Upsert],                          LostRace),
    (&[412],      &[0x8006_0888],             &[STALE],        &[UpdateUnchanged],                 Moved),
    (&[500],      &[0x8006_0888],             &[DEADLOCK],     &[Upsert],                          Again),
    (&[429],      &[0x8006_0888],             &[DUPLICATE],    &[Upsert],                          Settle(Throttled)),
    // A key that is missing or not active.
    (&[400, 403], &[0x8006_0888, 0x8006_088A], &[NO_KEY],      &[Upsert, Update, Read],            Settle(Unauthorized)),
    (&[400],      &[0x8006_0890],             &["", NO_OLD_KEY], &[Upsert, Read],                  Settle(Unauthorized)),
    (&[400],      &[NO_CODE],                 &[NO_KEY, NO_OLD_KEY], &[Upsert, Delete],            Settle(Unauthorized)),
    // A plug-in or the provider of a virtual table chose the status.
    (&[404],      &[0x8004_8D02],             &[""],           &[Upsert, Create],                  Settle(InvalidData)),
    (&[404],      &[0x8004_8D02],             &[""],           &[Update, UpdateFound, UpdateUnchanged], Settle(NotFound)),
    (&[404],      &[0x8004_8D02],             &[""],           &[Delete, DeleteUnchanged],         Settle(AlreadyAbsent)),
    (&[409, 412], &[0x8004_8D08, 0x8004_8D09], &[""],          &[Upsert, Update, Delete],          Settle(InvalidData)),
    (&[409, 412], &[0x8004_8D08, 0x8004_8D09], &[""],          &[UpdateUnchanged, DeleteUnchanged], Moved),
    (&[408, 429, 500, 502, 503, 504], &[
        0x8004_8D03, 0x8004_8D04, 0x8004_8D07, 0x8004_8D0A, 0x8004_8D0F, 0x8004_8D10,
    ], &[""], &[Upsert], Settle(Unavailable)),
    (&[400, 401, 403, 405, 410, 413, 424], &[
        0x8004_8D05, 0x8004_8D06, 0x8004_8D0B, 0x8004_8D0C, 0x8004_8D0D, 0x8004_8D0E, 0x8004_8D11,
    ], &[""], &[Upsert], Settle(InvalidData)),
    // Two rows with one key, perhaps only while another transaction is open.
    (&[400],      &[0x8006_089D],             &[""],           &[Upsert, Read],                    Again),
    // A foreign key (with a bound lookup: tested separately).
    (&[400],      &[0x8004_8D21],             &[CONSTRAINT],   &[Delete, DeleteUnchanged, Create, Upsert], Settle(InvalidData)),
    // For an unknown code the status decides; its text is ignored.
    (&[400, 418], &[0x8123_4567],             &["", DUPLICATE], &[Upsert],                         Settle(InvalidData)),
    (&[403],      &[0x8123_4567],             &[""],           &[Upsert],                          Settle(Unauthorized)),
    (&[404],      &[0x8123_4567],             &[NO_ROW],       &[Update],                          Settle(NotFound)),
    (&[412],      &[0x8123_4567],             &[""],           &[Upsert],                          LostRace),
    (&[412],      &[0x8123_4567],             &[""],           &[UpdateUnchanged],                 Moved),
    (&[429],      &[0x8123_4567],             &[""],           &[Upsert],                          Settle(Throttled)),
    (&[500, 599], &[0x8123_4567],             &["", DETECTED], &[Upsert, Create],                  Settle(Unavailable)),
];

/// Every combination, each as its status, code, text, kind of request and verdict.
pub(super) fn refusals() -> impl Iterator<Item = (u16, u32, &'static str, WriteKind, Verdict)> {
    RULES.iter().flat_map(|&(statuses, codes, texts, kinds, verdict)| {
        statuses.iter().flat_map(move |&status| {
            codes.iter().flat_map(move |&code| {
                texts.iter().flat_map(move |&text| kinds.iter().map(move |&kind| (status, code, text, kind, verdict)))
            })
        })
    })
}

#[test]
fn every_refusal_means_what_the_table_says() {
    let mut judged = HashSet::new();
    let mut wrong = Vec::new();
    for (status, code, text, kind, verdict) in refusals() {
        let fault = answered(status, (code != NO_CODE).then_some(code), text);
        let row = format!("{status} {code:#010x} {text:?} {kind:?}");
        let found = judge(&fault, first(kind));
        if found != verdict {
            wrong.push(format!("{row}: {found:?} instead of {verdict:?}"));
        }
        assert!(judged.insert(row.clone()), "duplicate row: {row}");
    }
    assert!(wrong.is_empty(), "{} of {} are wrong:\n{}", wrong.len(), judged.len(), wrong.join("\n"));
}

#[test]
fn the_table_covers_every_known_code_status_and_meaning_and_every_kind_of_request() {
    let codes: HashSet<_> = refusals().map(|(_, code, ..)| code).collect();
    let missing: Vec<_> = codes::CODES.iter().filter(|(code, ..)| !codes.contains(code)).collect();
    assert!(missing.is_empty(), "{missing:x?}");
    let bare: HashSet<_> = refusals().filter(|(_, code, ..)| *code == NO_CODE).map(|(status, ..)| status).collect();
    let missing: Vec<_> = codes::STATUSES.iter().filter(|(status, ..)| !bare.contains(status)).collect();
    assert!(missing.is_empty(), "{missing:?}");
    let kinds: HashSet<_> = refusals().map(|(.., kind, _)| kind).collect();
    assert_eq!(kinds.len(), super::KINDS.len());
    let known: HashSet<_> = codes::CODES.iter().map(|(_, _, meaning, _)| *meaning).collect();
    let tested: HashSet<_> = refusals().filter_map(|(_, code, text, ..)| codes::meaning_of_code(code, text)).collect();
    assert!(known.is_subset(&tested), "{:?}", known.difference(&tested));
}
