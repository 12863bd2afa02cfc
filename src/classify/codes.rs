//! Every known error code and status as data: its name, its meaning and the source of both.
//!
//! For a code that is not listed the status decides. The texts replace codes that the service leaves empty.

use crate::dataverse::WriteKind;
use crate::dataverse::error_body::MISSING_ROW_TEXT;
use Meaning::{
    Busy, Deadlock, DuplicateDetected, DuplicateKey, InRecycleBin, InvalidData, RowMissing, Throttled, TooLarge,
    Unauthorized, Unclear, UnknownTable, Vague, VersionMismatch,
};
use Source::{Codes, Limits, Reports, Rfc, Statuses, Troubleshooting};

/// What an error says, independent of the request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Meaning {
    /// A unique key is taken: ours or another.
    DuplicateKey,
    /// A deleted row in the recycle bin has the key.
    InRecycleBin,
    /// The row is not as it was read.
    VersionMismatch,
    /// A duplicate-detection rule.
    DuplicateDetected,
    /// A row is missing: the record's own, or one that a lookup names.
    RowMissing,
    /// No such entity set.
    UnknownTable,
    /// The data can never be stored.
    InvalidData,
    /// The Web API failed, as the status says.
    Vague,
    /// The catch-all code, which carries no information.
    Unclear,
    /// The payload.
    TooLarge,
    /// Another transaction won.
    Deadlock,
    /// It may work later.
    Busy,
    /// Service protection.
    Throttled,
    /// Our identity or its permissions; an operator can fix it.
    Unauthorized,
}

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
pub(super) const CODES: [Row; 82] = [
    // A unique key is taken.
    (0x8004_0237, "DuplicateRecord",                                DuplicateKey,      Statuses),
    (0x8006_0892, "DuplicateRecordEntityKey",                       DuplicateKey,      Codes),
    (0x8007_3002, "CrmSQLUniqueIndexOrConstraintViolation",         DuplicateKey,      Codes),
    (0x8004_3239, "",                                               InRecycleBin,      Reports),
    (0x8004_0333, "DuplicateRecordsFound",                          DuplicateDetected, Codes),
    // The row is not as it was read, or not there.
    (0x8006_0882, "ConcurrencyVersionMismatch",                     VersionMismatch,   Statuses),
    (0x8004_0217, "ObjectDoesNotExist",                             RowMissing,        Codes),
    (0x8006_0891, "RecordNotFoundByEntityKey",                      RowMissing,        Codes),
    // The request can never succeed.
    (0x8006_0883, "ConcurrencyVersionNotProvided",                  InvalidData,       Codes),
    (0x8006_088D, "OptimisticConcurrencyNotEnabled",                InvalidData,       Codes),
    (0x8006_0890, "EntityKeyNotDefined",                            InvalidData,       Codes),
    (0x8006_089D, "MultipleRecordsFoundByEntityKey",                InvalidData,       Codes),
    (0x8004_8D19, "",                                               InvalidData,       Troubleshooting),
    (0x8006_0888, "",                                               InvalidData,       Reports),
    (0x8004_4331, "StringLengthTooLong",                            InvalidData,       Codes),
    (0x8004_4330, "DecimalValueOutOfRange",                         InvalidData,       Codes),
    (0x8004_431A, "PicklistValueOutOfRange",                        InvalidData,       Codes),
    (0x8004_0239, "InvalidDateTime",                                InvalidData,       Codes),
    (0x8004_0278, "InvalidCharactersInField",                       InvalidData,       Codes),
    (0x8004_0203, "InvalidArgument",                                InvalidData,       Codes),
    (0x8004_0265, "IsvAborted",                                     InvalidData,       Codes),
    (0x8004_0227, "CannotDeleteDueToAssociation",                   InvalidData,       Statuses),
    (0x8004_023B, "InvalidOperation",                               InvalidData,       Statuses),
    (0x8004_0315, "NotSupported",                                   InvalidData,       Statuses),
    // Neither says more than the status; the catch-all gets one more try first.
    (0x8006_088A, "CrmHttpError",                                   Vague,             Troubleshooting),
    (0x8004_0216, "UnExpected",                                     Unclear,           Codes),
    // Transient. The text distinguishes a deadlock from other SQL errors.
    (0x8004_4150, "unManagedidssqlerror",                           Busy,              Codes),
    (0x8004_4151, "unManagedidssqltimeouterror",                    Busy,              Codes),
    (0x8004_0255, "TransactionAborted",                             Busy,              Codes),
    (0x8004_4339, "CouldNotObtainLockOnResource",                   Busy,              Codes),
    (0x8004_8105, "",                                               Deadlock,          Reports),
    (0x8004_A001, "CrmSqlGovernorDatabaseRequestDenied",            Busy,              Codes),
    (0x8007_3000, "CrmSQLNetworkingError",                          Busy,              Codes),
    (0x8004_8542, "VersionedRowNotFoundInTempDB",                   Busy,              Codes),
    (0x8004_8544, "DataEngineQueryThrottling",                      Busy,              Codes),
    (0x8004_8551, "",                                               Busy,              Reports),
    (0x8004_8559, "",                                               Busy,              Reports),
    (0x8004_8561, "",                                               Busy,              Reports),
    (0x8004_8562, "",                                               Busy,              Reports),
    (0x8004_8563, "",                                               Busy,              Reports),
    (0x8005_0544, "",                                               Busy,              Reports),
    // Longer outages: an upgrade, a solution import, the administration mode.
    (0x8004_8543, "SolutionImportCauseTimeout",                     Busy,              Codes),
    (0x8007_1151, "SolutionConcurrencyFailure",                     Busy,              Codes),
    (0x8007_1154, "ConcurrentOperationFailure",                     Busy,              Codes),
    (0x8004_A113, "UserDoesNotHaveAdminOnlyModePermissions",        Busy,              Codes),
    (0x8004_8553, "",                                               Busy,              Reports),
    (0x8004_F061, "",                                               Busy,              Reports),
    (0x8004_F062, "",                                               Busy,              Reports),
    (0x8004_F063, "",                                               Busy,              Reports),
    (0x8004_F064, "",                                               Busy,              Reports),
    (0x8004_F065, "",                                               Busy,              Reports),
    (0x8004_F066, "",                                               Busy,              Reports),
    (0x8004_F067, "",                                               Busy,              Reports),
    // Service protection: requests in 300 s, seconds of execution in 300 s, requests at once.
    (0x8007_2322, "ThrottlingBurstRequestLimitExceededError",       Throttled,         Limits),
    (0x8007_2321, "ThrottlingTimeExceededError",                    Throttled,         Limits),
    (0x8007_2326, "ThrottlingConcurrencyLimitExceededError",        Throttled,         Limits),
    // The token.
    (0x8004_A100, "InvalidAuthTicket",                              Unauthorized,      Statuses),
    (0x8004_A101, "ExpiredAuthTicket",                              Unauthorized,      Statuses),
    (0x8004_A102, "BadAuthTicket",                                  Unauthorized,      Statuses),
    (0x8004_A103, "InsufficientAuthTicket",                         Unauthorized,      Statuses),
    (0x8004_A105, "TamperedAuthTicket",                             Unauthorized,      Statuses),
    (0x8005_F101, "AccessTokenExpired",                             Unauthorized,      Codes),
    (0x8004_4300, "MissingCrmAuthenticationToken",                  Unauthorized,      Statuses),
    (0x8004_4302, "RequestIsNotAuthenticated",                      Unauthorized,      Statuses),
    (0x8004_4308, "MissingCrmAuthenticationTokenOrganizationName",  Unauthorized,      Statuses),
    (0x8004_0204, "InvalidUserAuth",                                Unauthorized,      Statuses),
    (0x8004_0277, "UnauthorizedAccess",                             Unauthorized,      Statuses),
    // The application user, its roles and its rights.
    (0x8007_2560, "UserNotMemberOfOrg",                             Unauthorized,      Codes),
    (0x8004_A112, "SystemUserDisabled",                             Unauthorized,      Codes),
    (0x8004_2F09, "UserNotAssignedRoles",                           Unauthorized,      Codes),
    (0x8004_0220, "PrivilegeDenied",                                Unauthorized,      Statuses),
    (0x8004_0231, "PrincipalPrivilegeDenied",                       Unauthorized,      Statuses),
    (0x8004_0276, "PrivilegeCreateIsDisabledForOrganization",       Unauthorized,      Statuses),
    (0x8004_8306, "unManagedIdsAccessDenied",                       Unauthorized,      Codes),
    (0x8004_8405, "AccessDenied",                                   Unauthorized,      Statuses),
    (0x8004_020D, "InvalidAccessRights",                            Unauthorized,      Statuses),
    (0x8004_0256, "CrmSecurityError",                               Unauthorized,      Statuses),
    (0x8004_A110, "CannotActOnBehalfOfAnotherUser",                 Unauthorized,      Statuses),
    (0x8004_F502, "AttributePrivilegeCreateIsMissing",              Unauthorized,      Statuses),
    (0x8004_F504, "AttributePermissionReadIsMissing",               Unauthorized,      Statuses),
    (0x8004_F507, "AttributePermissionUpdateIsMissingDuringUpdate", Unauthorized,      Statuses),
    (0x8009_5FFC, "",                                               Unauthorized,      Reports),
];

/// Status, meaning without a code or a text that says more, source. 412 is not here: see [`meaning_of_status`].
pub(super) const STATUSES: [(u16, Meaning, Source); 20] = [
    (400, InvalidData, Statuses),
    (401, Unauthorized, Statuses),
    (403, Unauthorized, Statuses),
    (404, UnknownTable, Statuses),
    (405, InvalidData, Statuses),
    // A proxy on our side requires credentials.
    (407, Unauthorized, Rfc),
    (408, Busy, Rfc),
    (413, TooLarge, Statuses),
    (414, TooLarge, Rfc),
    (421, Busy, Rfc),
    (423, Busy, Rfc),
    (425, Busy, Rfc),
    (429, Throttled, Limits),
    // Our own headers are too large.
    (431, Unauthorized, Rfc),
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
    (401, Unauthorized),
    (403, Unauthorized),
    (407, Unauthorized),
    (413, TooLarge),
    (414, TooLarge),
    (429, Throttled),
    (431, Unauthorized),
];

/// SQL errors share a code; the text holds the SQL number, 1205 for a deadlock's victim.
const SQL_ERROR: u32 = 0x8004_4150;
const DEADLOCK: &str = "sql number: 1205";

/// Texts that identify an error whose code is empty.
pub(super) const TEXTS: [(&str, Meaning); 6] = [
    ("a record with matching key values already exists", DuplicateKey),
    ("a record with the same value for", DuplicateKey),
    ("doesn't match the rowversion property provided", VersionMismatch),
    ("because a duplicate of the current record already exists", DuplicateDetected),
    (DEADLOCK, Deadlock),
    ("bad request - invalid url", TooLarge),
];

/// The meaning of a known code.
pub(super) fn meaning_of_code(code: u32, message: &str) -> Option<Meaning> {
    if code == SQL_ERROR && message.to_ascii_lowercase().contains(DEADLOCK) {
        return Some(Deadlock);
    }
    CODES.iter().find(|(known, ..)| *known == code).map(|(_, _, meaning, _)| *meaning)
}

/// The meaning of a text without a code.
pub(super) fn meaning_of_text(status: u16, message: &str) -> Option<Meaning> {
    // These concern our identity or request rate, whatever text they quote.
    if matches!(meaning_of_status(status, WriteKind::Upsert), Unauthorized | Throttled) {
        return None;
    }
    let message = message.to_ascii_lowercase();
    // Under a 400 the text is about a property.
    if status == 404 && message.contains(MISSING_ROW_TEXT) {
        return Some(RowMissing);
    }
    TEXTS.iter().find(|(text, _)| message.contains(text)).map(|(_, meaning)| *meaning)
}

/// The meaning of a status whose body is not an error of Dataverse.
pub(super) fn meaning_of_gateway(status: u16) -> Meaning {
    GATEWAY_STATUSES.iter().find(|(known, _)| *known == status).map_or(Busy, |(_, meaning)| *meaning)
}

/// The meaning of a status alone; never [`Vague`] or [`Unclear`].
pub(super) fn meaning_of_status(status: u16, kind: WriteKind) -> Meaning {
    match (status, kind) {
        // No condition of ours can have failed, so a key was taken.
        (412, WriteKind::Upsert | WriteKind::Create | WriteKind::Update | WriteKind::UpdateFound) => DuplicateKey,
        (412, WriteKind::UpdateUnchanged | WriteKind::DeleteUnchanged) => VersionMismatch,
        _ => match STATUSES.iter().find(|(known, ..)| *known == status) {
            Some((_, meaning, _)) => *meaning,
            None if (400..=499).contains(&status) => InvalidData,
            // Other 5xx, and answers that do not come from Dataverse, such as a redirect to a login page.
            None => Busy,
        },
    }
}
