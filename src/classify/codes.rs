//! Every known error code and status as data: its name, its meaning and the source of both.
//!
//! For a code that is not listed the status decides. The texts speak where the service leaves the code empty, and for the codes
//! that only wrap another error.

use super::{FailureScope, MAX_AGAIN};
use crate::dataverse::WriteKind;
use crate::dataverse::error_body::MISSING_ROW_TEXT;
use FailureScope::{Environment, Row as OneRow, Table};
use Meaning::{
    Again, Busy, ByStatus, DuplicateDetected, DuplicateKey, InvalidData, KeyCollision, KeyNotDefined, ProviderConflict,
    ProviderRowMissing, Referenced, RowMissing, Throttled, TooLarge, Unauthorized, UnknownTable, VersionMismatch,
};
use Source::{Codes, Limits, Reports, Rfc, Statuses, Troubleshooting};

/// What an error says, independent of the request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Meaning {
    /// A unique key is taken: ours or another.
    DuplicateKey,
    /// Another row, or one in the recycle bin, has the key.
    KeyCollision,
    /// The row is not as it was read.
    VersionMismatch,
    /// A duplicate-detection rule.
    DuplicateDetected,
    /// A row is missing: the record's own, or one that a lookup names.
    RowMissing,
    /// A plug-in or the provider of a virtual table says that the row is missing.
    ProviderRowMissing,
    /// A plug-in or the provider of a virtual table says that the row is not as expected.
    ProviderConflict,
    /// A foreign key: another row refers to this one, or this one to a row that is missing.
    Referenced,
    UnknownTable,
    /// The table has no such key, or its index is not active; an operator can fix it.
    KeyNotDefined,
    /// The data can never be stored.
    InvalidData,
    TooLarge,
    /// A wrapper without a meaning of its own: text and status speak.
    ByStatus,
    /// To be sent again so often, and then it means the other.
    Again(u32, &'static Meaning),
    /// It may work later.
    Busy,
    /// Service protection.
    Throttled,
    /// An identity or its permissions, at least for this scope; an operator can fix it.
    Unauthorized(FailureScope),
}

/// Another transaction won.
const DEADLOCK: Meaning = Again(MAX_AGAIN, &Busy);

/// A catch-all says nothing about the cause.
const UNCLEAR: Meaning = Again(1, &ByStatus);

/// Where a row of the tables is documented.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Source {
    /// <https://learn.microsoft.com/power-apps/developer/data-platform/reference/web-service-error-codes>
    Codes,
    /// The table of statuses, and the codes that it lists under 401, 403, 405 and 412, in
    /// <https://learn.microsoft.com/power-apps/developer/data-platform/webapi/compose-http-requests-handle-errors>
    Statuses,
    /// <https://learn.microsoft.com/power-apps/developer/data-platform/api-limits>
    Limits,
    /// <https://learn.microsoft.com/troubleshoot/power-platform/dataverse/dataverse-web-api-and-sdk/web-api-client-errors>
    Troubleshooting,
    /// <https://www.rfc-editor.org/rfc/rfc9110#name-status-codes>
    Rfc,
    /// Not in Microsoft's lists, but in reported answers and in clients that retry on them.
    Reports,
}

/// Code, Microsoft's name for it (`""` if unknown), meaning, source.
pub(super) type Row = (u32, &'static str, Meaning, Source);

#[rustfmt::skip] // Aligned as a table.
pub(super) const CODES: [Row; 144] = [
    // A unique key is taken.
    (0x8004_0237, "DuplicateRecord",                                            DuplicateKey,                    Statuses),
    (0x8006_0892, "DuplicateRecordEntityKey",                                   DuplicateKey,                    Codes),
    (0x8007_3002, "CrmSQLUniqueIndexOrConstraintViolation",                     DuplicateKey,                    Codes),
    (0x8004_3239, "",                                                           KeyCollision,                    Reports),
    (0x8004_0333, "DuplicateRecordsFound",                                      DuplicateDetected,               Codes),
    // Seen while another transaction is open, and where the columns are not a key.
    (0x8006_089D, "MultipleRecordsFoundByEntityKey",                            Again(MAX_AGAIN, &KeyCollision), Codes),
    // The row is not as it was read, or not there.
    (0x8006_0882, "ConcurrencyVersionMismatch",                                 VersionMismatch,                 Statuses),
    (0x8004_0217, "ObjectDoesNotExist",                                         RowMissing,                      Codes),
    (0x8006_0891, "RecordNotFoundByEntityKey",                                  RowMissing,                      Codes),
    (0x8004_8D21, "",                                                           Referenced,                      Reports),
    // A plug-in or the provider of a virtual table chose the status.
    (0x8004_8D02, "IsvAbortedNotFound",                                         ProviderRowMissing,              Codes),
    (0x8004_8D03, "IsvAbortedServiceUnavailable",                               Busy,                            Codes),
    (0x8004_8D04, "IsvAbortedTooManyRequests",                                  Busy,                            Codes),
    (0x8004_8D05, "IsvAbortedUnauthorized",                                     InvalidData,                     Codes),
    (0x8004_8D06, "IsvAbortedForbidden",                                        InvalidData,                     Codes),
    (0x8004_8D07, "IsvAbortedRequestTimeout",                                   Busy,                            Codes),
    (0x8004_8D08, "IsvAbortedConflict",                                         ProviderConflict,                Codes),
    (0x8004_8D09, "IsvAbortedPreconditionFailed",                               ProviderConflict,                Codes),
    (0x8004_8D0A, "IsvAbortedInternalServerError",                              Busy,                            Codes),
    (0x8004_8D0B, "IsvAbortedBadRequest",                                       InvalidData,                     Codes),
    (0x8004_8D0C, "IsvAbortedMethodNotAllowed",                                 InvalidData,                     Codes),
    (0x8004_8D0D, "IsvAbortedGone",                                             InvalidData,                     Codes),
    (0x8004_8D0E, "IsvAbortedFailedDependency",                                 InvalidData,                     Codes),
    (0x8004_8D0F, "IsvAbortedBadGateway",                                       Busy,                            Codes),
    (0x8004_8D10, "IsvAbortedGatewayTimeout",                                   Busy,                            Codes),
    (0x8004_8D11, "IsvAbortedRequestEntityTooLarge",                            InvalidData,                     Codes),
    // The request can never succeed.
    (0x8006_0883, "ConcurrencyVersionNotProvided",                              InvalidData,                     Codes),
    (0x8006_088D, "OptimisticConcurrencyNotEnabled",                            InvalidData,                     Codes),
    (0x8004_8D19, "",                                                           InvalidData,                     Troubleshooting),
    (0x8004_4331, "StringLengthTooLong",                                        InvalidData,                     Codes),
    (0x8004_4330, "DecimalValueOutOfRange",                                     InvalidData,                     Codes),
    (0x8004_432F, "IntegerValueOutOfRange",                                     InvalidData,                     Codes),
    (0x8004_431A, "PicklistValueOutOfRange",                                    InvalidData,                     Codes),
    (0x8004_0239, "InvalidDateTime",                                            InvalidData,                     Codes),
    (0x8004_0278, "InvalidCharactersInField",                                   InvalidData,                     Codes),
    (0x8004_0200, "RequiredFieldMissing",                                       InvalidData,                     Codes),
    (0x8004_0203, "InvalidArgument",                                            InvalidData,                     Codes),
    (0x8004_1136, "SqlArithmeticOverflowError",                                 InvalidData,                     Codes),
    (0x8007_3001, "CrmSQLCharLengthTooLong",                                    InvalidData,                     Codes),
    (0x8004_8408, "InvalidStateCodeStatusCode",                                 InvalidData,                     Codes),
    (0x8004_0353, "LookupNotFound",                                             InvalidData,                     Codes),
    (0x8004_8D43, "",                                                           InvalidData,                     Reports),
    (0x8009_0429, "",                                                           InvalidData,                     Reports),
    (0x8009_0800, "",                                                           InvalidData,                     Reports),
    (0x8004_0265, "IsvAborted",                                                 InvalidData,                     Codes),
    (0x8004_0227, "CannotDeleteDueToAssociation",                               InvalidData,                     Statuses),
    (0x8004_0228, "CannotDeleteAsItIsReadOnly",                                 InvalidData,                     Codes),
    (0x8004_022E, "CannotUpdateBecauseItIsReadOnly",                            InvalidData,                     Codes),
    (0x8004_0230, "CannotUpdateObjectBecauseItIsInactive",                      InvalidData,                     Codes),
    (0x8004_023B, "InvalidOperation",                                           InvalidData,                     Statuses),
    (0x8004_0315, "NotSupported",                                               InvalidData,                     Statuses),
    (0x8009_000C, "IsvTransactionCount",                                        Again(1, &InvalidData),          Codes),
    // They say nothing beyond text and status; the catch-alls get one more try first.
    (0x8006_0888, "CrmHttpClientError",                                         ByStatus,                        Reports),
    (0x8006_088A, "CrmHttpError",                                               ByStatus,                        Troubleshooting),
    (0x8004_F065, "LayerDesiredOrderNotWhitelist",                              ByStatus,                        Codes),
    (0x8004_F066, "CustomizationFileMissing",                                   ByStatus,                        Codes),
    (0x8004_0216, "UnExpected",                                                 UNCLEAR,                         Codes),
    (0x8004_0224, "IsvUnExpected",                                              UNCLEAR,                         Codes),
    (0x8004_0251, "TransactionNotStarted",                                      UNCLEAR,                         Codes),
    // Another transaction won. An SQL error is one only by its text.
    (0x8004_0255, "TransactionAborted",                                         DEADLOCK,                        Codes),
    (0x8004_4339, "CouldNotObtainLockOnResource",                               DEADLOCK,                        Codes),
    (0x8004_8105, "CascadeOperationConcurrentRequested",                        DEADLOCK,                        Codes),
    // Transient.
    (0x8004_4150, "unManagedidssqlerror",                                       Busy,                            Codes),
    (0x8004_4151, "unManagedidssqltimeouterror",                                Busy,                            Codes),
    (0x8004_A001, "CrmSqlGovernorDatabaseRequestDenied",                        Busy,                            Codes),
    (0x8007_3000, "CrmSQLNetworkingError",                                      Busy,                            Codes),
    (0x8004_8542, "VersionedRowNotFoundInTempDB",                               Busy,                            Codes),
    (0x8004_8544, "DataEngineQueryThrottling",                                  Busy,                            Codes),
    (0x8004_8551, "DBConnectionOrTransactionInitializationFailed",              Busy,                            Codes),
    (0x8004_8554, "",                                                           Busy,                            Reports),
    (0x8004_8559, "DBConnectionOpenCircuitBreakerThrottling",                   Busy,                            Codes),
    (0x8004_8561, "DBTransactionFailedToStart",                                 Busy,                            Codes),
    (0x8004_8562, "",                                                           Busy,                            Reports),
    (0x8004_8563, "",                                                           Busy,                            Reports),
    (0x8005_0544, "",                                                           Busy,                            Reports),
    (0x8004_ED47, "AppLockTimeout",                                             Busy,                            Codes),
    (0x8004_032B, "CannotDeleteAsBackgroundOperationInProgress",                Busy,                            Codes),
    // The sandbox of the plug-ins.
    (0x8004_418D, "SandboxWorkerNotAvailable",                                  Busy,                            Codes),
    (0x8004_418E, "SandboxHostNotAvailable",                                    Busy,                            Codes),
    (0x8004_4171, "SandboxClientPluginTimeout",                                 Busy,                            Codes),
    (0x8004_4172, "SandboxHostPluginTimeout",                                   Busy,                            Codes),
    (0x8004_4173, "SandboxWorkerPluginTimeout",                                 Busy,                            Codes),
    (0x8008_1111, "SandboxWorkerPluginExecuteTimeout",                          Busy,                            Codes),
    (0x8008_1116, "SandboxWorkerThrottleLimit",                                 Busy,                            Codes),
    // Longer outages: an upgrade, a solution import, the administration mode.
    (0x8004_8543, "SolutionImportCauseTimeout",                                 Busy,                            Codes),
    (0x8004_8553, "DBUpgradeCauseTimeout",                                      Busy,                            Codes),
    (0x8007_1151, "SolutionConcurrencyFailure",                                 Busy,                            Codes),
    (0x8007_1154, "ConcurrentOperationFailure",                                 Busy,                            Codes),
    (0x8004_A113, "UserDoesNotHaveAdminOnlyModePermissions",                    Busy,                            Codes),
    (0x8004_F061, "CustomizationLockEx_BothUnknown",                            Busy,                            Codes),
    (0x8004_F062, "CustomizationLockEx_BlockedUnknown",                         Busy,                            Codes),
    (0x8004_F063, "CustomizationLockEx_BothKnownSame",                          Busy,                            Codes),
    (0x8004_F064, "CustomizationLockEx_BothKnownDifferent",                     Busy,                            Codes),
    (0x8004_F067, "CustomizationLockEx_BlockingUnknown",                        Busy,                            Codes),
    // Service protection: requests in 300 s, seconds of execution in 300 s, requests at once; any of them.
    (0x8007_2322, "ThrottlingBurstRequestLimitExceededError",                   Throttled,                       Limits),
    (0x8007_2321, "ThrottlingTimeExceededError",                                Throttled,                       Limits),
    (0x8007_2326, "ThrottlingConcurrencyLimitExceededError",                    Throttled,                       Limits),
    (0x8005_F103, "Throttling",                                                 Throttled,                       Codes),
    // The token.
    (0x8004_A100, "InvalidAuthTicket",                                          Unauthorized(Environment),       Statuses),
    (0x8004_A101, "ExpiredAuthTicket",                                          Unauthorized(Environment),       Statuses),
    (0x8004_A102, "BadAuthTicket",                                              Unauthorized(Environment),       Statuses),
    (0x8004_A103, "InsufficientAuthTicket",                                     Unauthorized(Environment),       Statuses),
    (0x8004_A105, "TamperedAuthTicket",                                         Unauthorized(Environment),       Statuses),
    (0x8005_F101, "AccessTokenExpired",                                         Unauthorized(Environment),       Codes),
    (0x8004_4300, "MissingCrmAuthenticationToken",                              Unauthorized(Environment),       Statuses),
    (0x8004_4302, "RequestIsNotAuthenticated",                                  Unauthorized(Environment),       Statuses),
    (0x8004_4308, "MissingCrmAuthenticationTokenOrganizationName",              Unauthorized(Environment),       Statuses),
    (0x8004_0204, "InvalidUserAuth",                                            Unauthorized(Environment),       Statuses),
    (0x8004_0277, "UnauthorizedAccess",                                         Unauthorized(Environment),       Statuses),
    // The environment, and who may enter it at all.
    (0x8007_2560, "UserNotMemberOfOrg",                                         Unauthorized(Environment),       Codes),
    (0x8004_A112, "SystemUserDisabled",                                         Unauthorized(Environment),       Codes),
    (0x8009_5FFC, "",                                                           Unauthorized(Environment),       Reports),
    (0x8009_5FFE, "IPAddressNotInSpecifiedRange",                               Unauthorized(Environment),       Codes),
    (0x8004_A104, "OrganizationDisabled",                                       Unauthorized(Environment),       Codes),
    (0x8004_A107, "ScaleGroupDisabled",                                         Unauthorized(Environment),       Codes),
    (0x8004_B065, "DatacenterNotAvailable",                                     Unauthorized(Environment),       Codes),
    // Roles, rights and licences.
    (0x8004_2F09, "UserNotAssignedRoles",                                       Unauthorized(Table),             Codes),
    (0x8004_0220, "PrivilegeDenied",                                            Unauthorized(Table),             Statuses),
    (0x8004_0231, "PrincipalPrivilegeDenied",                                   Unauthorized(Table),             Statuses),
    (0x8004_0276, "PrivilegeCreateIsDisabledForOrganization",                   Unauthorized(Table),             Statuses),
    (0x8004_8306, "unManagedIdsAccessDenied",                                   Unauthorized(Table),             Codes),
    (0x8004_8405, "AccessDenied",                                               Unauthorized(Table),             Statuses),
    (0x8004_020D, "InvalidAccessRights",                                        Unauthorized(Table),             Statuses),
    (0x8004_0256, "CrmSecurityError",                                           Unauthorized(Table),             Statuses),
    (0x8004_A110, "CannotActOnBehalfOfAnotherUser",                             Unauthorized(Table),             Statuses),
    (0x8004_F502, "AttributePrivilegeCreateIsMissing",                          Unauthorized(Table),             Statuses),
    (0x8004_F504, "AttributePermissionReadIsMissing",                           Unauthorized(Table),             Statuses),
    (0x8004_F507, "AttributePermissionUpdateIsMissingDuringUpdate",             Unauthorized(Table),             Statuses),
    (0x8005_0300, "CrmLicensingError",                                          Unauthorized(Table),             Codes),
    (0x8005_0301, "CrmLicensingNoServicePlan",                                  Unauthorized(Table),             Codes),
    (0x8005_0302, "CrmLicensingNoUserPass",                                     Unauthorized(Table),             Codes),
    (0x8005_0303, "CrmLicensingNoRestrictedServicePlan",                        Unauthorized(Table),             Codes),
    (0x8005_0304, "CrmApiLicensingError",                                       Unauthorized(Table),             Codes),
    (0x8005_0305, "CrmLicensingEnvironmentNotConfiguredForEntitlemenetBilling", Unauthorized(Table),             Codes),
    (0x8005_0306, "CrmLicensingAppNotEnabledForEntitlementBilling",             Unauthorized(Table),             Codes),
    (0x8005_0307, "CrmLicensingNoAccessViaEntitlementBilling",                  Unauthorized(Table),             Codes),
    (0x8004_B057, "CrmLiveAddOnAddStorageLimitReached",                         Unauthorized(Table),             Codes),
    (0x8007_2559, "AADError",                                                   Unauthorized(Table),             Codes),
    (0x8008_1115, "SandboxPluginDisabled",                                      Unauthorized(Table),             Codes),
    // A row's owner.
    (0x8004_0299, "",                                                           Unauthorized(OneRow),            Reports),
    (0x8004_2F0A, "TeamNotAssignedRoles",                                       Unauthorized(OneRow),            Codes),
    (0x8004_0225, "unManagedidsusernotenabled",                                 Unauthorized(OneRow),            Codes),
    (0x8004_022B, "unManagedidsownernotenabled",                                Unauthorized(OneRow),            Codes),
    // A key that is missing or not active.
    (0x8006_0890, "EntityKeyNotDefined",                                        KeyNotDefined,                   Codes),
];

/// Status, meaning without a code or a text that says more, source. 409 and 412 are not here: see [`meaning_of_status`].
pub(super) const STATUSES: [(u16, Meaning, Source); 20] = [
    (400, InvalidData, Statuses),
    (401, Unauthorized(OneRow), Statuses),
    (403, Unauthorized(Table), Statuses),
    (404, UnknownTable, Statuses),
    (405, InvalidData, Statuses),
    // A proxy on our side requires credentials.
    (407, Unauthorized(OneRow), Rfc),
    (408, Busy, Rfc),
    (413, TooLarge, Statuses),
    (414, TooLarge, Rfc),
    (421, Busy, Rfc),
    (423, Busy, Rfc),
    (425, Busy, Rfc),
    (429, Throttled, Limits),
    // Our own headers are too large.
    (431, Unauthorized(OneRow), Rfc),
    // The client of a gateway, which is another gateway, closed the connection.
    (499, Busy, Reports),
    (500, Busy, Rfc),
    (501, InvalidData, Rfc),
    (502, Busy, Rfc),
    (503, Busy, Statuses),
    (504, Busy, Rfc),
];

/// A gateway's page says nothing about the message. These statuses do, whatever body they come with, and these concern our identity,
/// our headers or our rate; all others may work later.
const GATEWAY_STATUSES: [(u16, Meaning); 7] = [
    (401, Unauthorized(OneRow)),
    (403, Unauthorized(OneRow)),
    (407, Unauthorized(OneRow)),
    (413, TooLarge),
    (414, TooLarge),
    (429, Throttled),
    (431, Unauthorized(OneRow)),
];

/// These codes may wrap an error of the database, which their text then quotes.
const WRAPS_SQL_ERROR: [u32; 4] = [0x8004_4150, 0x8004_0265, 0x8004_0224, 0x8004_0216];

/// How the number of an SQL error is introduced, by Dataverse and by its SQL client.
const SQL_NUMBER: [&str; 2] = ["sql number:", "error number:"];

/// A deadlock's victim; a timeout; the database is being moved.
/// <https://learn.microsoft.com/sql/relational-databases/errors-events/database-engine-events-and-errors>
const SQL_NUMBERS: [(i32, Meaning); 3] = [(1205, DEADLOCK), (-2, Busy), (40613, Busy)];

/// Texts of an SQL error without its number.
const SQL_TEXTS: [(&str, Meaning); 2] = [("deadlock victim", DEADLOCK), ("execution timeout expired", Busy)];

/// Texts that identify an error whose code is empty or a wrapper.
pub(super) const TEXTS: [(&str, Meaning); 7] = [
    ("a record with matching key values already exists", DuplicateKey),
    ("a record with the same value for", DuplicateKey),
    ("doesn't match the rowversion property provided", VersionMismatch),
    ("because a duplicate of the current record already exists", DuplicateDetected),
    ("the key in the request uri is not valid for resource", KeyNotDefined),
    ("the specified key attributes are not a defined key for", KeyNotDefined),
    ("bad request - invalid url", TooLarge),
];

/// The meaning of an answer of Dataverse to this kind of request.
pub(super) fn meaning(status: u16, code: Option<u32>, text: &str, kind: WriteKind) -> Meaning {
    let said = match code.map(|code| (code, meaning_of_code(code, text))) {
        Some((_, Some(ByStatus))) | None => meaning_of_text(status, text),
        Some((_, said)) => said,
    };
    said.unwrap_or_else(|| meaning_of_status(status, kind))
}

/// The meaning of a known code.
pub(super) fn meaning_of_code(code: u32, text: &str) -> Option<Meaning> {
    let wrapped = WRAPS_SQL_ERROR.contains(&code).then(|| meaning_of_sql_error(&text.to_ascii_lowercase())).flatten();
    wrapped.or_else(|| CODES.iter().find(|(known, ..)| *known == code).map(|(_, _, meaning, _)| *meaning))
}

/// The meaning of a text without a code.
pub(super) fn meaning_of_text(status: u16, text: &str) -> Option<Meaning> {
    // These concern our identity or request rate, whatever text they quote.
    if matches!(meaning_of_status(status, WriteKind::Upsert), Unauthorized(_) | Throttled) {
        return None;
    }
    let text = text.to_ascii_lowercase();
    // Under a 400 the text is about a property.
    if status == 404 && text.contains(MISSING_ROW_TEXT) {
        return Some(RowMissing);
    }
    let said = TEXTS.iter().find(|(known, _)| text.contains(known)).map(|(_, meaning)| *meaning);
    said.or_else(|| meaning_of_sql_error(&text))
}

/// The meaning of an SQL error that a text in lower case quotes.
fn meaning_of_sql_error(text: &str) -> Option<Meaning> {
    let mut numbers = SQL_NUMBER.iter().flat_map(|label| text.split(label).skip(1)).filter_map(leading_number);
    let by_number = |number| SQL_NUMBERS.iter().find(|(known, _)| *known == number).map(|(_, meaning)| *meaning);
    let by_text = || SQL_TEXTS.iter().find(|(known, _)| text.contains(known)).map(|(_, meaning)| *meaning);
    numbers.find_map(by_number).or_else(by_text)
}

fn leading_number(text: &str) -> Option<i32> {
    let text = text.trim_start();
    let end = text.char_indices().find(|(at, c)| !c.is_ascii_digit() && (*at, *c) != (0, '-'));
    text[..end.map_or(text.len(), |(at, _)| at)].parse().ok()
}

/// The meaning of a status whose body is not an error of Dataverse.
pub(super) fn meaning_of_gateway(status: u16) -> Meaning {
    GATEWAY_STATUSES.iter().find(|(known, _)| *known == status).map_or(Busy, |(_, meaning)| *meaning)
}

/// The meaning of a status alone; never [`ByStatus`].
pub(super) fn meaning_of_status(status: u16, kind: WriteKind) -> Meaning {
    match (status, kind) {
        (409 | 412, WriteKind::UpdateUnchanged | WriteKind::DeleteUnchanged) => VersionMismatch,
        // No condition of ours can have failed, so a key was taken.
        (409 | 412, WriteKind::Upsert | WriteKind::Create | WriteKind::Update | WriteKind::UpdateFound) => DuplicateKey,
        // Another request deletes or changes the row.
        (409, WriteKind::Delete | WriteKind::Read) => DEADLOCK,
        _ => match STATUSES.iter().find(|(known, ..)| *known == status) {
            Some((_, meaning, _)) => *meaning,
            None if (400..=499).contains(&status) => InvalidData,
            // Other 5xx, and answers that do not come from Dataverse, such as a redirect to a login page.
            None => Busy,
        },
    }
}
