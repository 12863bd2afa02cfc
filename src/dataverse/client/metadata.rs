//! Reads of metadata: cached looks for the pipeline, and what the doctor reports about an environment.
//!
//! The pipeline's look at a table is three GETs, at most once an hour. The look at our privileges is two more, at most once in five
//! minutes, and only where a null was read in a secured column. If one fails, a null stays unproven.
//!
//! <https://learn.microsoft.com/power-apps/developer/data-platform/webapi/query-metadata-web-api>

use std::collections::HashSet;
use std::time::Duration;

use reqwest::{Method, Request};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use tokio::time::timeout;
use uuid::Uuid;

use super::{Client, IMPERSONATED_USER, answer};
use crate::dataverse::Error;
use crate::dataverse::table_metadata::{NavigationProperty, TableMetadata};
use crate::record::{guid, is_logical_name};

/// Asks a read to name the table that a lookup points at.
/// <https://learn.microsoft.com/power-apps/developer/data-platform/webapi/query/overview#lookup-property-data>
pub(super) const LOOKUP_TABLES: &str = "odata.include-annotations=\"Microsoft.Dynamics.CRM.lookuplogicalname\"";

const UNPROVEN: &str = "a null in a column that may be hidden proves nothing";

/// Bounds all requests of one look.
const LOOK_TIMEOUT: Duration = Duration::from_secs(15);

/// The user behind our token.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Caller {
    /// The application user's row.
    pub(crate) user_id: String,
    /// The environment's organisation.
    pub(crate) organization_id: String,
}

impl Caller {
    fn id(&self) -> Result<Uuid, Error> {
        guid(&self.user_id).ok_or_else(|| unusable("the user has no id"))
    }
}

/// A table.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Table {
    /// Its name in the singular, such as `contact`.
    pub(crate) logical_name: String,
    /// The column of its primary key.
    pub(crate) primary_id_attribute: String,
    /// Whether `If-Match` with an ETag is supported.
    #[serde(default)]
    pub(crate) is_optimistic_concurrency_enabled: bool,
    /// `Standard`, `Elastic`, `Virtual` and others.
    #[serde(rename = "TableType")]
    pub(crate) kind: Option<String>,
}

/// An alternate key.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Key {
    /// Its columns, by logical name: a lookup without `_…_value`.
    pub(crate) key_attributes: Vec<String>,
    /// `Pending`, `InProgress`, `Active` or `Failed`.
    pub(crate) entity_key_index_status: Option<String>,
}

/// A column.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Column {
    /// Its GUID.
    pub(crate) metadata_id: String,
    /// Its logical name.
    pub(crate) logical_name: String,
    /// Such as `BigInt` or `DateTime`.
    pub(crate) attribute_type: Option<String>,
    /// Whether column security applies to it.
    pub(crate) is_secured: Option<bool>,
}

/// A relationship in which the table's column points at another table.
/// <https://learn.microsoft.com/power-apps/developer/data-platform/webapi/reference/onetomanyrelationshipmetadata>
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Relationship {
    referencing_entity_navigation_property_name: Option<String>,
    referencing_attribute: String,
    referenced_entity: String,
}

impl Relationship {
    fn lookup(self) -> Option<NavigationProperty> {
        let name = self.referencing_entity_navigation_property_name?;
        Some(NavigationProperty { name, column: self.referencing_attribute, table: self.referenced_entity })
    }
}

/// <https://learn.microsoft.com/power-apps/developer/data-platform/webapi/reference/retrieveprincipalattributeprivilegesresponse>
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct AttributePrivileges {
    attribute_privileges: Vec<AttributePrivilege>,
}

/// <https://learn.microsoft.com/power-apps/developer/data-platform/webapi/reference/attributeprivilege>
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct AttributePrivilege {
    attribute_id: String,
    /// 0 is not allowed, 4 is allowed.
    /// <https://learn.microsoft.com/power-apps/developer/data-platform/reference/entities/fieldpermission#BKMK_CanRead>
    can_read: i32,
}

impl Column {
    /// Its type, such as `BigInt`.
    pub(crate) fn kind(&self) -> &str {
        self.attribute_type.as_deref().unwrap_or("of unknown type")
    }

    /// What is not shown counts as secured.
    pub(crate) fn is_secured(&self) -> bool {
        self.is_secured.unwrap_or(true)
    }

    /// Its name and, if it is secured, its id; `None` if the id is not one.
    fn security(self) -> Option<(String, Option<Uuid>)> {
        let id = if self.is_secured() { Some(self.id()?) } else { None };
        Some((self.logical_name, id))
    }

    /// The id under which privileges for a secured column are granted.
    pub(crate) fn id(&self) -> Option<Uuid> {
        guid(&self.metadata_id)
    }
}

#[derive(Deserialize)]
struct Page<T> {
    value: Vec<T>,
    #[serde(rename = "@odata.nextLink")]
    next: Option<String>,
}

impl Client {
    /// Reads the type, the columns and the lookups of the table with this entity set name; `None` when any of it cannot be read, and
    /// a table without columns when the service has no such address.
    pub(super) async fn read_metadata(&self, set: &str) -> Option<TableMetadata> {
        let look = async {
            let table = match self.table(set).await {
                Err(Error::Answered { status: 404 | 405 | 501, .. }) => return Some(TableMetadata::new(None, [])),
                table => table.ok()??,
            };
            let columns = self.columns(&table).await.ok()?;
            let columns = columns.into_iter().map(Column::security).collect::<Option<Vec<_>>>()?;
            // They only serve hints.
            let lookups = self.lookups(&table).await.unwrap_or_default();
            Some(TableMetadata::new(table.kind, columns).with_lookups(lookups))
        };
        let metadata = timeout(LOOK_TIMEOUT, look).await.ok().flatten();
        match &metadata {
            None => tracing::warn!(table = set, "the table's metadata could not be read; {UNPROVEN}"),
            Some(metadata) if metadata.is_offered() => {}
            Some(_) => tracing::warn!("the service offers no metadata; an empty version column counts as readable"),
        }
        metadata
    }

    /// Reads which secured columns we may read; `None` when that cannot be read.
    pub(super) async fn look_at_privileges(&self) -> Option<HashSet<Uuid>> {
        let readable = timeout(LOOK_TIMEOUT, self.readable_columns()).await.ok()?.ok();
        if readable.is_none() {
            tracing::warn!("our user's privileges for secured columns could not be read; {UNPROVEN}");
        }
        readable
    }

    /// The metadata ids of the secured columns that we may read. With impersonation, we are the impersonated user.
    /// <https://learn.microsoft.com/power-apps/developer/data-platform/webapi/reference/retrieveprincipalattributeprivileges>
    pub(crate) async fn readable_columns(&self) -> Result<HashSet<Uuid>, Error> {
        let user = self.who_am_i().await?.id()?;
        let path = format!("systemusers({user})/Microsoft.Dynamics.CRM.RetrievePrincipalAttributePrivileges()");
        let found: AttributePrivileges = self.get(&path, None).await?;
        let readable = found.attribute_privileges.into_iter().filter(|privilege| privilege.can_read > 0);
        Ok(readable.filter_map(|privilege| guid(&privilege.attribute_id)).collect())
    }

    /// Who we are.
    pub(crate) async fn who_am_i(&self) -> Result<Caller, Error> {
        self.get("WhoAmI", None).await
    }

    /// The user behind our token, without impersonation.
    pub(super) async fn own_user(&self) -> Result<Uuid, Error> {
        let mut request = self.metadata_request("WhoAmI", None);
        for name in IMPERSONATED_USER {
            request.headers_mut().remove(name);
        }
        self.fetch::<Caller>(&request).await?.id()
    }

    /// The table with this entity set name; `None` when there is none.
    pub(crate) async fn table(&self, set: &str) -> Result<Option<Table>, Error> {
        let select = "$select=LogicalName,PrimaryIdAttribute,IsOptimisticConcurrencyEnabled,TableType";
        let query = format!("{select}&$filter=EntitySetName eq '{set}'");
        let table = self.list::<Table>("EntityDefinitions", &query).await?.pop();
        let is_named = table.as_ref().is_none_or(|table| is_logical_name(&table.logical_name));
        if is_named { Ok(table) } else { Err(unusable("the table has no name")) }
    }

    /// Its alternate keys.
    pub(crate) async fn keys(&self, table: &Table) -> Result<Vec<Key>, Error> {
        let path = format!("EntityDefinitions(LogicalName='{}')/Keys", table.logical_name);
        self.list(&path, "$select=KeyAttributes,EntityKeyIndexStatus").await
    }

    /// Its columns.
    pub(crate) async fn columns(&self, table: &Table) -> Result<Vec<Column>, Error> {
        let path = format!("EntityDefinitions(LogicalName='{}')/Attributes", table.logical_name);
        self.list(&path, "$select=LogicalName,AttributeType,IsSecured").await
    }

    /// Its lookups.
    pub(crate) async fn lookups(&self, table: &Table) -> Result<Vec<NavigationProperty>, Error> {
        let path = format!("EntityDefinitions(LogicalName='{}')/ManyToOneRelationships", table.logical_name);
        let select = "$select=ReferencingEntityNavigationPropertyName,ReferencingAttribute,ReferencedEntity";
        let found: Vec<Relationship> = self.list(&path, select).await?;
        Ok(found.into_iter().filter_map(Relationship::lookup).collect())
    }

    /// Reads the primary key of one row, if there is one, to learn whether rows of the table may be read.
    pub(crate) async fn can_read(&self, set: &str, table: &Table) -> Result<(), Error> {
        let query = format!("$select={}&$top=1", table.primary_id_attribute);
        self.get::<serde::de::IgnoredAny>(set, Some(&query)).await.map(drop)
    }

    async fn list<T: DeserializeOwned>(&self, path: &str, query: &str) -> Result<Vec<T>, Error> {
        let page: Page<T> = self.get(path, Some(query)).await?;
        if page.next.is_some() { Err(unusable("the list is not complete")) } else { Ok(page.value) }
    }

    async fn get<T: DeserializeOwned>(&self, path: &str, query: Option<&str>) -> Result<T, Error> {
        self.fetch(&self.metadata_request(path, query)).await
    }

    pub(super) fn metadata_request(&self, path: &str, query: Option<&str>) -> Request {
        let mut url = self.service.root.clone();
        url.set_path(&format!("{}{path}", self.service.root.path()));
        url.set_query(query);
        self.service.request(Method::GET, url)
    }

    async fn fetch<T: DeserializeOwned>(&self, request: &Request) -> Result<T, Error> {
        let answer = self.service.send(request).await?;
        answer::json(answer).await.ok_or_else(|| unusable("the answer is not understood"))
    }
}

fn unusable(problem: &'static str) -> Error {
    Error::NoAnswer { sent: false, problem }
}
