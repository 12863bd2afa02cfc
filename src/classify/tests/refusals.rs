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

/// Status, code, text, kind of request, verdict.
pub(super) type Refusal = (u16, u32, &'static str, WriteKind, Verdict);

/// The code is empty or zero.
pub(super) const NO_CODE: u32 = 0;

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
pub(super) const REFUSALS: [Refusal; 305] = [
    // A unique key is taken. Only a request that may create a row can have lost a race for its own key.
    (412, 0x8004_0237, DUPLICATE,     Upsert,          LostRace),
    (412, 0x8004_0237, DUPLICATE,     Create,          LostRace),
    (412, 0x8004_0237, DUPLICATE,     Update,          Settle(KeyCollision)),
    (412, 0x8004_0237, DUPLICATE,     UpdateFound,     Settle(KeyCollision)),
    (412, 0x8004_0237, DUPLICATE,     UpdateUnchanged, Settle(KeyCollision)),
    (412, 0x8004_0237, DUPLICATE,     Delete,          Settle(KeyCollision)),
    (412, 0x8004_0237, DUPLICATE,     DeleteUnchanged, Settle(KeyCollision)),
    (500, 0x8004_0237, DUPLICATE,     Upsert,          LostRace),
    (412, 0x8006_0892, DUPLICATE_KEY, Upsert,          LostRace),
    (412, 0x8006_0892, DUPLICATE_KEY, Create,          LostRace),
    (412, 0x8006_0892, DUPLICATE_KEY, Update,          Settle(KeyCollision)),
    (412, 0x8006_0892, DUPLICATE_KEY, UpdateUnchanged, Settle(KeyCollision)),
    (412, 0x8007_3002, "",            Upsert,          LostRace),
    (412, 0x8007_3002, "",            Create,          LostRace),
    (500, 0x8007_3002, "",            Update,          Settle(KeyCollision)),
    (400, 0x8007_3002, "",            Delete,          Settle(KeyCollision)),
    (412, 0x8004_3239, "",            Upsert,          Settle(KeyCollision)),
    (412, 0x8004_3239, "",            Create,          Settle(KeyCollision)),

    // The same without a code: the text decides, otherwise the status and the kind of request.
    (412, NO_CODE,     DUPLICATE,     Upsert,          LostRace),
    (412, NO_CODE,     DUPLICATE_KEY, Create,          LostRace),
    (412, NO_CODE,     DUPLICATE,     Update,          Settle(KeyCollision)),
    (412, NO_CODE,     DUPLICATE,     UpdateUnchanged, Settle(KeyCollision)),
    (412, NO_CODE,     "",            Upsert,          LostRace),
    (412, NO_CODE,     "",            Create,          LostRace),
    (412, NO_CODE,     "",            Update,          Settle(KeyCollision)),
    (412, NO_CODE,     "",            UpdateFound,     Settle(KeyCollision)),
    (412, NO_CODE,     "",            UpdateUnchanged, Moved),
    (412, NO_CODE,     "",            DeleteUnchanged, Moved),

    // The row changed since it was read.
    (412, 0x8006_0882, STALE,         UpdateUnchanged, Moved),
    (412, 0x8006_0882, STALE,         DeleteUnchanged, Moved),
    (412, 0x8006_0882, STALE,         Upsert,          Moved),
    (412, NO_CODE,     STALE,         UpdateUnchanged, Moved),
    (412, NO_CODE,     STALE,         DeleteUnchanged, Moved),

    // A duplicate-detection rule; the documentation shows it with 412 and with 500.
    (412, 0x8004_0333, DETECTED,      Upsert,          Settle(DuplicateDetected)),
    (500, 0x8004_0333, DETECTED,      Create,          Settle(DuplicateDetected)),
    (412, 0x8004_0333, DETECTED,      UpdateUnchanged, Settle(DuplicateDetected)),
    (412, NO_CODE,     DETECTED,      Upsert,          Settle(DuplicateDetected)),
    (500, NO_CODE,     DETECTED,      Update,          Settle(DuplicateDetected)),

    // A row is missing: ours, or one that a lookup is bound to (tested separately).
    (404, 0x8004_0217, NO_ROW,        Upsert,          Again),
    (404, 0x8004_0217, NO_ROW,        Create,          Settle(NotFound)),
    (404, 0x8004_0217, NO_ROW,        Update,          Settle(NotFound)),
    (404, 0x8004_0217, NO_ROW,        UpdateFound,     Moved),
    (404, 0x8004_0217, NO_ROW,        UpdateUnchanged, Moved),
    (404, 0x8004_0217, NO_ROW,        Delete,          Settle(AlreadyAbsent)),
    (404, 0x8004_0217, NO_ROW,        DeleteUnchanged, Moved),
    (404, 0x8004_0217, NO_ROW,        Read,            Settle(NotFound)),
    (404, 0x8006_0891, NO_ROW,        Update,          Settle(NotFound)),
    (404, 0x8006_0891, NO_ROW,        Delete,          Settle(AlreadyAbsent)),
    (400, 0x8006_0891, NO_ROW,        DeleteUnchanged, Moved),
    (404, NO_CODE,     NO_ROW,        UpdateUnchanged, Moved),
    (404, NO_CODE,     NO_ROW,        Delete,          Settle(AlreadyAbsent)),

    // No such table. The code is the Web API's general failure, so the status decides.
    (400, 0x8006_088A, "",            Upsert,          Settle(InvalidData)),
    (500, 0x8006_088A, "",            Upsert,          Settle(Unavailable)),
    (404, 0x8006_088A, NO_TABLE,      Upsert,          Settle(NotFound)),
    (404, 0x8006_088A, NO_TABLE,      Delete,          Settle(NotFound)),
    (404, NO_CODE,     NO_RESOURCE,   Delete,          Settle(NotFound)),
    (404, NO_CODE,     "",            Upsert,          Settle(NotFound)),
    (404, NO_CODE,     "",            Delete,          Settle(NotFound)),

    // The data or the request can never be stored.
    (400, NO_CODE,     NO_PROPERTY,   Upsert,          Settle(InvalidData)),
    (400, 0x8004_8D19, "",            Upsert,          Settle(InvalidData)),
    (400, 0x8004_4331, "",            Upsert,          Settle(InvalidData)),
    (400, 0x8004_4330, "",            Upsert,          Settle(InvalidData)),
    (400, 0x8004_431A, "",            Upsert,          Settle(InvalidData)),
    (400, 0x8004_0239, "",            Upsert,          Settle(InvalidData)),
    (400, 0x8004_0278, "",            Upsert,          Settle(InvalidData)),
    (400, 0x8004_0203, "",            Upsert,          Settle(InvalidData)),
    (400, 0x8006_0888, "",            Read,            Settle(InvalidData)),
    (400, 0x8004_0265, "",            Upsert,          Settle(InvalidData)),
    (500, 0x8004_0265, "",            Update,          Settle(InvalidData)),
    (412, 0x8006_0883, "",            UpdateUnchanged, Settle(InvalidData)),
    (412, 0x8006_088D, "",            UpdateUnchanged, Settle(InvalidData)),
    (405, 0x8004_0227, "",            Delete,          Settle(InvalidData)),
    (405, 0x8004_023B, "",            Upsert,          Settle(InvalidData)),
    (405, 0x8004_0315, "",            Upsert,          Settle(InvalidData)),
    (400, NO_CODE,     "",            Upsert,          Settle(InvalidData)),
    (405, NO_CODE,     "",            Upsert,          Settle(InvalidData)),
    (413, NO_CODE,     "",            Upsert,          Settle(TooLarge)),
    (413, NO_CODE,     "",            Create,          Settle(TooLarge)),
    (414, NO_CODE,     "",            Upsert,          Settle(TooLarge)),

    // The catch-all code gets one more attempt; then the status decides (tested separately).
    (400, 0x8004_0216, "",            Upsert,          Again),
    (500, 0x8004_0216, "",            UpdateUnchanged, Again),
    (400, 0x8004_0216, "",            Read,            Again),

    // A deadlock is retried in place. Other SQL errors share its code and may persist.
    (500, 0x8004_4150, DEADLOCK,      Upsert,          Again),
    (400, 0x8004_4150, DEADLOCK,      UpdateUnchanged, Again),
    (500, NO_CODE,     DEADLOCK,      Delete,          Again),
    (400, 0x8004_8105, "",            Delete,          Again),
    (500, 0x8004_4150, TRUNCATED,     Upsert,          Settle(Unavailable)),
    (500, 0x8004_4150, "",            Upsert,          Settle(Unavailable)),

    // Transient with any status.
    (500, 0x8004_4151, "",            Upsert,          Settle(Unavailable)),
    (503, 0x8004_A001, "",            Update,          Settle(Unavailable)),
    (400, 0x8007_3000, "",            Upsert,          Settle(Unavailable)),
    (400, 0x8004_8542, "",            Upsert,          Settle(Unavailable)),
    (400, 0x8004_8544, "",            Upsert,          Settle(Unavailable)),
    (400, 0x8004_8551, "",            Upsert,          Settle(Unavailable)),
    (400, 0x8004_8559, "",            Upsert,          Settle(Unavailable)),
    (400, 0x8004_8561, "",            Upsert,          Settle(Unavailable)),
    (400, 0x8004_8562, "",            Upsert,          Settle(Unavailable)),
    (400, 0x8004_8563, "",            Upsert,          Settle(Unavailable)),
    (400, 0x8005_0544, "",            Upsert,          Settle(Unavailable)),

    // Longer outages: an upgrade, a solution import, the administration mode.
    (400, 0x8004_8543, "",            Upsert,          Settle(Unavailable)),
    (400, 0x8004_8553, "",            Upsert,          Settle(Unavailable)),
    (400, 0x8007_1151, "",            Upsert,          Settle(Unavailable)),
    (400, 0x8007_1154, "",            Upsert,          Settle(Unavailable)),
    (400, 0x8004_F061, "",            Upsert,          Settle(Unavailable)),
    (400, 0x8004_F062, "",            Upsert,          Settle(Unavailable)),
    (400, 0x8004_F063, "",            Upsert,          Settle(Unavailable)),
    (400, 0x8004_F064, "",            Upsert,          Settle(Unavailable)),
    (400, 0x8004_F067, "",            Upsert,          Settle(Unavailable)),
    (403, 0x8004_A113, "",            Upsert,          Settle(Unavailable)),

    // Neither code nor text: a gateway, a proxy, an HTML page.
    (408, NO_CODE,     "",            Upsert,          Settle(Unavailable)),
    (500, NO_CODE,     "",            Upsert,          Settle(Unavailable)),
    (500, NO_CODE,     "",            Create,          Settle(Unavailable)),
    (501, NO_CODE,     "",            Upsert,          Settle(InvalidData)),
    (421, NO_CODE,     "",            Upsert,          Settle(Unavailable)),
    (423, NO_CODE,     "",            Upsert,          Settle(Unavailable)),
    (425, NO_CODE,     "",            Upsert,          Settle(Unavailable)),
    (499, NO_CODE,     "",            Upsert,          Settle(Unavailable)),
    (502, NO_CODE,     "",            Upsert,          Settle(Unavailable)),
    (503, NO_CODE,     "",            UpdateUnchanged, Settle(Unavailable)),
    (504, NO_CODE,     "",            Delete,          Settle(Unavailable)),
    (302, NO_CODE,     "",            Upsert,          Settle(Unavailable)),

    // Service protection.
    (429, 0x8007_2322, TOO_MANY,      Upsert,          Settle(Throttled)),
    (429, 0x8007_2321, TOO_MANY,      Read,            Settle(Throttled)),
    (429, 0x8007_2326, TOO_MANY,      Create,          Settle(Throttled)),
    (503, 0x8007_2322, "",            Upsert,          Settle(Throttled)),
    (400, 0x8007_2326, "",            Upsert,          Settle(Throttled)),
    (429, NO_CODE,     "",            Delete,          Settle(Throttled)),
    (429, NO_CODE,     DUPLICATE,     Update,          Settle(Throttled)),

    // Operator-fixable: the token.
    (401, 0x8004_A100, "",            Upsert,          Settle(Unauthorized)),
    (401, 0x8004_A101, "",            Upsert,          Settle(Unauthorized)),
    (401, 0x8004_A102, "",            Upsert,          Settle(Unauthorized)),
    (401, 0x8004_A103, "",            Upsert,          Settle(Unauthorized)),
    (401, 0x8004_A105, "",            Upsert,          Settle(Unauthorized)),
    (401, 0x8005_F101, "",            Upsert,          Settle(Unauthorized)),
    (401, 0x8004_4300, "",            Upsert,          Settle(Unauthorized)),
    (401, 0x8004_4302, "",            Upsert,          Settle(Unauthorized)),
    (401, 0x8004_4308, "",            Upsert,          Settle(Unauthorized)),
    (401, 0x8004_0204, "",            Upsert,          Settle(Unauthorized)),
    (401, 0x8004_0277, "",            Upsert,          Settle(Unauthorized)),
    (401, NO_CODE,     "",            Read,            Settle(Unauthorized)),
    (401, NO_CODE,     NO_ROW,        Delete,          Settle(Unauthorized)),
    (407, NO_CODE,     "",            Upsert,          Settle(Unauthorized)),
    (431, NO_CODE,     "",            Upsert,          Settle(Unauthorized)),

    // Operator-fixable: the application user, its roles and privileges. The code identifies these with any status.
    (403, 0x8007_2560, "",            Upsert,          Settle(Unauthorized)),
    (400, 0x8004_A112, "",            Upsert,          Settle(Unauthorized)),
    (403, 0x8004_2F09, "",            Create,          Settle(Unauthorized)),
    (403, 0x8004_0220, NO_RIGHT,      Upsert,          Settle(Unauthorized)),
    (400, 0x8004_0220, NO_RIGHT,      UpdateUnchanged, Settle(Unauthorized)),
    (403, 0x8004_8306, "",            Delete,          Settle(Unauthorized)),
    (403, 0x8004_0231, "",            Upsert,          Settle(Unauthorized)),
    (403, 0x8004_0276, "",            Create,          Settle(Unauthorized)),
    (403, 0x8004_8405, "",            Upsert,          Settle(Unauthorized)),
    (403, 0x8004_020D, "",            Update,          Settle(Unauthorized)),
    (403, 0x8004_0256, "",            Upsert,          Settle(Unauthorized)),
    (403, 0x8004_A110, "",            Upsert,          Settle(Unauthorized)),
    (403, 0x8004_F502, "",            Create,          Settle(Unauthorized)),
    (403, 0x8004_F504, "",            Read,            Settle(Unauthorized)),
    (403, 0x8004_F507, "",            Update,          Settle(Unauthorized)),
    (400, 0x8009_5FFC, "",            Upsert,          Settle(Unauthorized)),
    (403, NO_CODE,     "",            Update,          Settle(Unauthorized)),
    (403, NO_CODE,     DUPLICATE,     Upsert,          Settle(Unauthorized)),
    (403, NO_CODE,     "",            DeleteUnchanged, Settle(Unauthorized)),

    // A general wrapper: text and status speak, as without a code.
    (400, 0x8006_0888, "",            Upsert,          Settle(InvalidData)),
    (404, 0x8006_0888, NO_TABLE,      Upsert,          Settle(NotFound)),
    (404, 0x8006_0888, NO_TABLE,      Delete,          Settle(NotFound)),
    (404, 0x8006_0888, NO_ROW,        Delete,          Settle(AlreadyAbsent)),
    (404, 0x8006_0888, NO_ROW,        UpdateUnchanged, Moved),
    (405, 0x8006_0888, NO_OPERATION,  Upsert,          Settle(InvalidData)),
    (415, 0x8006_0888, "",            Upsert,          Settle(InvalidData)),
    (412, 0x8006_0888, DUPLICATE,     Upsert,          LostRace),
    (412, 0x8006_0888, STALE,         UpdateUnchanged, Moved),
    (400, 0x8006_0888, NO_KEY,        Upsert,          Settle(Unauthorized)),
    (400, 0x8006_0888, NO_KEY,        Read,            Settle(Unauthorized)),
    (500, 0x8006_0888, DEADLOCK,      Upsert,          Again),
    (500, 0x8006_0888, "",            Upsert,          Settle(Unavailable)),
    (403, 0x8006_0888, NO_KEY,        Upsert,          Settle(Unauthorized)),
    (429, 0x8006_0888, DUPLICATE,     Upsert,          Settle(Throttled)),
    (404, 0x8006_088A, NO_ROW,        Delete,          Settle(AlreadyAbsent)),
    (400, 0x8006_088A, NO_KEY,        Update,          Settle(Unauthorized)),
    // These are no locks, whatever their neighbours are.
    (400, 0x8004_F065, "",            Upsert,          Settle(InvalidData)),
    (500, 0x8004_F065, "",            Upsert,          Settle(Unavailable)),
    (400, 0x8004_F066, "",            Upsert,          Settle(InvalidData)),

    // A key that is missing or not active.
    (400, 0x8006_0890, "",            Upsert,          Settle(Unauthorized)),
    (400, 0x8006_0890, NO_OLD_KEY,    Read,            Settle(Unauthorized)),
    (400, NO_CODE,     NO_KEY,        Upsert,          Settle(Unauthorized)),
    (400, NO_CODE,     NO_OLD_KEY,    Delete,          Settle(Unauthorized)),

    // A plug-in or the provider of a virtual table chose the status.
    (404, 0x8004_8D02, "",            Upsert,          Settle(InvalidData)),
    (404, 0x8004_8D02, "",            Create,          Settle(InvalidData)),
    (404, 0x8004_8D02, "",            Update,          Settle(NotFound)),
    (404, 0x8004_8D02, "",            UpdateFound,     Settle(NotFound)),
    (404, 0x8004_8D02, "",            UpdateUnchanged, Settle(NotFound)),
    (404, 0x8004_8D02, "",            Delete,          Settle(AlreadyAbsent)),
    (404, 0x8004_8D02, "",            DeleteUnchanged, Settle(AlreadyAbsent)),
    (409, 0x8004_8D08, "",            Upsert,          Settle(InvalidData)),
    (409, 0x8004_8D08, "",            Update,          Settle(InvalidData)),
    (409, 0x8004_8D08, "",            UpdateUnchanged, Moved),
    (409, 0x8004_8D08, "",            Delete,          Settle(InvalidData)),
    (409, 0x8004_8D08, "",            DeleteUnchanged, Moved),
    (412, 0x8004_8D09, "",            Upsert,          Settle(InvalidData)),
    (412, 0x8004_8D09, "",            Update,          Settle(InvalidData)),
    (412, 0x8004_8D09, "",            UpdateUnchanged, Moved),
    (412, 0x8004_8D09, "",            Delete,          Settle(InvalidData)),
    (412, 0x8004_8D09, "",            DeleteUnchanged, Moved),
    (503, 0x8004_8D03, "",            Upsert,          Settle(Unavailable)),
    (408, 0x8004_8D07, "",            Upsert,          Settle(Unavailable)),
    (500, 0x8004_8D0A, "",            Upsert,          Settle(Unavailable)),
    (502, 0x8004_8D0F, "",            Upsert,          Settle(Unavailable)),
    (504, 0x8004_8D10, "",            Upsert,          Settle(Unavailable)),
    (429, 0x8004_8D04, "",            Upsert,          Settle(Unavailable)),
    (401, 0x8004_8D05, "",            Upsert,          Settle(InvalidData)),
    (403, 0x8004_8D06, "",            Upsert,          Settle(InvalidData)),
    (400, 0x8004_8D0B, "",            Upsert,          Settle(InvalidData)),
    (405, 0x8004_8D0C, "",            Upsert,          Settle(InvalidData)),
    (410, 0x8004_8D0D, "",            Upsert,          Settle(InvalidData)),
    (424, 0x8004_8D0E, "",            Upsert,          Settle(InvalidData)),
    (413, 0x8004_8D11, "",            Upsert,          Settle(InvalidData)),

    // A conflict without a code: as 412.
    (409, NO_CODE,     "",            Upsert,          LostRace),
    (409, NO_CODE,     "",            Create,          LostRace),
    (409, NO_CODE,     "",            Update,          Settle(KeyCollision)),
    (409, NO_CODE,     "",            UpdateUnchanged, Moved),
    (409, NO_CODE,     "",            DeleteUnchanged, Moved),
    (409, NO_CODE,     "",            Delete,          Again),

    // Two rows with one key, perhaps only while another transaction is open.
    (400, 0x8006_089D, "",            Upsert,          Again),
    (400, 0x8006_089D, "",            Read,            Again),

    // A foreign key (with a bound lookup: tested separately).
    (400, 0x8004_8D21, CONSTRAINT,    Delete,          Settle(InvalidData)),
    (400, 0x8004_8D21, CONSTRAINT,    DeleteUnchanged, Settle(InvalidData)),
    (400, 0x8004_8D21, CONSTRAINT,    Create,          Settle(InvalidData)),
    (400, 0x8004_8D21, CONSTRAINT,    Upsert,          Settle(InvalidData)),

    // Permanent with any status.
    (500, 0x8004_8D43, "",            Upsert,          Settle(InvalidData)),
    (500, 0x8009_0429, "",            Upsert,          Settle(InvalidData)),
    (500, 0x8004_1136, "",            Upsert,          Settle(InvalidData)),
    (500, 0x8007_3001, "",            Upsert,          Settle(InvalidData)),
    (500, 0x8004_432F, "",            Upsert,          Settle(InvalidData)),
    (500, 0x8004_0200, "",            Upsert,          Settle(InvalidData)),
    (500, 0x8004_8408, "",            Upsert,          Settle(InvalidData)),
    (500, 0x8004_0230, "",            Upsert,          Settle(InvalidData)),
    (500, 0x8004_022E, "",            Upsert,          Settle(InvalidData)),
    (500, 0x8004_0228, "",            Upsert,          Settle(InvalidData)),
    (500, 0x8004_0353, "",            Upsert,          Settle(InvalidData)),
    (500, 0x8009_0800, "",            Upsert,          Settle(InvalidData)),
    (500, 0x8009_000C, "",            Upsert,          Again),

    // An SQL error in the text of a plug-in, or a catch-all that gets one more attempt.
    (400, 0x8004_0265, DEADLOCK,      Upsert,          Again),
    (400, 0x8004_0265, VICTIM,        Upsert,          Again),
    (400, 0x8004_0265, TIMEOUT,       Upsert,          Settle(Unavailable)),
    (400, 0x8004_0265, EXPIRED,       Upsert,          Settle(Unavailable)),
    (400, 0x8004_0265, MOVED,         Upsert,          Settle(Unavailable)),
    (400, 0x8004_0224, DEADLOCK,      Upsert,          Again),
    (400, 0x8004_0224, VICTIM,        Upsert,          Again),
    (400, 0x8004_0224, TIMEOUT,       Upsert,          Settle(Unavailable)),
    (400, 0x8004_0224, EXPIRED,       Upsert,          Settle(Unavailable)),
    (400, 0x8004_0224, MOVED,         Upsert,          Settle(Unavailable)),
    (400, 0x8004_0216, DEADLOCK,      Upsert,          Again),
    (400, 0x8004_0216, VICTIM,        Upsert,          Again),
    (400, 0x8004_0216, TIMEOUT,       Upsert,          Settle(Unavailable)),
    (400, 0x8004_0216, EXPIRED,       Upsert,          Settle(Unavailable)),
    (400, 0x8004_0216, MOVED,         Upsert,          Settle(Unavailable)),
    (400, 0x8004_0265, TRUNCATED,     Upsert,          Settle(InvalidData)),
    (400, 0x8004_0265, LONGER_NUMBER, Upsert,          Settle(InvalidData)),
    (500, 0x8004_4150, TIMEOUT,       Upsert,          Settle(Unavailable)),
    (400, 0x8004_0224, "",            Upsert,          Again),
    (400, 0x8004_0251, "",            Upsert,          Again),
    (400, 0x8004_0255, "",            Upsert,          Again),
    (412, 0x8004_0255, "",            UpdateUnchanged, Again),
    (500, 0x8004_4339, "",            Create,          Again),

    // The sandbox, and other work that is under way.
    (400, 0x8004_418D, "",            Upsert,          Settle(Unavailable)),
    (400, 0x8004_418E, "",            Upsert,          Settle(Unavailable)),
    (400, 0x8004_4171, "",            Upsert,          Settle(Unavailable)),
    (400, 0x8004_4172, "",            Upsert,          Settle(Unavailable)),
    (400, 0x8004_4173, "",            Upsert,          Settle(Unavailable)),
    (400, 0x8008_1111, "",            Upsert,          Settle(Unavailable)),
    (400, 0x8008_1116, "",            Upsert,          Settle(Unavailable)),
    (400, 0x8004_8554, "",            Upsert,          Settle(Unavailable)),
    (400, 0x8004_ED47, "",            Upsert,          Settle(Unavailable)),
    (400, 0x8004_032B, "",            Upsert,          Settle(Unavailable)),
    (429, 0x8007_1151, "",            Upsert,          Settle(Unavailable)),
    (429, 0x8005_F103, "",            Upsert,          Settle(Throttled)),
    (503, 0x8005_F103, "",            Read,            Settle(Throttled)),

    // Operator-fixable with any status: the environment, licences, owners.
    (400, 0x8004_0299, "",            Upsert,          Settle(Unauthorized)),
    (400, 0x8009_5FFE, "",            Upsert,          Settle(Unauthorized)),
    (400, 0x8004_2F0A, "",            Upsert,          Settle(Unauthorized)),
    (400, 0x8004_0225, "",            Upsert,          Settle(Unauthorized)),
    (400, 0x8004_022B, "",            Upsert,          Settle(Unauthorized)),
    (400, 0x8004_A104, "",            Upsert,          Settle(Unauthorized)),
    (400, 0x8004_A107, "",            Upsert,          Settle(Unauthorized)),
    (400, 0x8005_0300, "",            Upsert,          Settle(Unauthorized)),
    (400, 0x8005_0301, "",            Upsert,          Settle(Unauthorized)),
    (400, 0x8005_0302, "",            Upsert,          Settle(Unauthorized)),
    (400, 0x8005_0303, "",            Upsert,          Settle(Unauthorized)),
    (400, 0x8005_0304, "",            Upsert,          Settle(Unauthorized)),
    (400, 0x8005_0305, "",            Upsert,          Settle(Unauthorized)),
    (400, 0x8005_0306, "",            Upsert,          Settle(Unauthorized)),
    (400, 0x8005_0307, "",            Upsert,          Settle(Unauthorized)),
    (400, 0x8004_B057, "",            Upsert,          Settle(Unauthorized)),
    (400, 0x8007_2559, "",            Upsert,          Settle(Unauthorized)),
    (400, 0x8004_B065, "",            Upsert,          Settle(Unauthorized)),
    (400, 0x8008_1115, "",            Upsert,          Settle(Unauthorized)),

    // For an unknown code the status decides; its text is ignored.
    (400, 0x8123_4567, DUPLICATE,     Upsert,          Settle(InvalidData)),
    (403, 0x8123_4567, "",            Upsert,          Settle(Unauthorized)),
    (404, 0x8123_4567, NO_ROW,        Update,          Settle(NotFound)),
    (412, 0x8123_4567, "",            Upsert,          LostRace),
    (412, 0x8123_4567, "",            UpdateUnchanged, Moved),
    (418, 0x8123_4567, "",            Upsert,          Settle(InvalidData)),
    (429, 0x8123_4567, "",            Upsert,          Settle(Throttled)),
    (500, 0x8123_4567, "",            Upsert,          Settle(Unavailable)),
    (599, 0x8123_4567, DETECTED,      Create,          Settle(Unavailable)),
];

#[test]
fn every_refusal_means_what_the_table_says() {
    let mut judged = HashSet::new();
    let mut wrong = Vec::new();
    for (status, code, text, kind, verdict) in REFUSALS {
        let fault = answered(status, (code != NO_CODE).then_some(code), text);
        let row = format!("{status} {code:#010x} {text:?} {kind:?}");
        let found = judge(&fault, first(kind));
        if found != verdict {
            wrong.push(format!("{row}: {found:?} instead of {verdict:?}"));
        }
        assert!(judged.insert(row.clone()), "duplicate row: {row}");
    }
    assert_eq!(judged.len(), REFUSALS.len(), "a row was left out");
    assert!(wrong.is_empty(), "{} of {} rows are wrong:\n{}", wrong.len(), REFUSALS.len(), wrong.join("\n"));
}

#[test]
fn the_table_covers_every_known_code_and_status() {
    let codes: HashSet<_> = REFUSALS.iter().map(|(_, code, ..)| *code).collect();
    let missing: Vec<_> = codes::CODES.iter().filter(|(code, ..)| !codes.contains(code)).collect();
    assert!(missing.is_empty(), "{missing:x?}");
    let bare: HashSet<_> =
        REFUSALS.iter().filter(|(_, code, ..)| *code == NO_CODE).map(|(status, ..)| *status).collect();
    let missing: Vec<_> = codes::STATUSES.iter().filter(|(status, ..)| !bare.contains(status)).collect();
    assert!(missing.is_empty(), "{missing:?}");
}

#[test]
fn the_table_covers_every_meaning_and_every_kind_of_request() {
    let kinds: HashSet<_> = REFUSALS.iter().map(|(.., kind, _)| *kind).collect();
    assert_eq!(kinds.len(), super::KINDS.len());
    let known: HashSet<_> = codes::CODES.iter().map(|(_, _, meaning, _)| *meaning).collect();
    let tested: HashSet<_> =
        REFUSALS.iter().filter_map(|(_, code, text, ..)| codes::meaning_of_code(*code, text)).collect();
    assert!(known.is_subset(&tested), "{:?}", known.difference(&tested));
}
