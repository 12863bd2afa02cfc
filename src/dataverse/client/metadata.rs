//! The reads that a table's [`Definition`] is put together from.
//!
//! They are GETs of `EntityDefinitions`, one after the other and once an hour at most, so that they weigh next to nothing
//! against the service's limits. Precision and behaviour are properties of derived types, which a query sees under their cast
//! only; a kind of column that the table does not have is not asked for. A read that fails costs the definition and nothing else.
//!
//! <https://learn.microsoft.com/power-apps/developer/data-platform/webapi/query-metadata-web-api>

use std::collections::HashMap;
use std::time::Duration;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use tokio::time::timeout;

use super::request_spec::RequestSpec;
use super::{Client, answer};
use crate::dataverse::Error;
use crate::dataverse::definition::{Definition, Kind};
use crate::record::is_logical_name;

/// Asks a read to say which table a lookup points at.
/// <https://learn.microsoft.com/power-apps/developer/data-platform/webapi/query/overview#lookup-property-data>
pub(super) const LOOKUP_TABLES: &str = "odata.include-annotations=\"Microsoft.Dynamics.CRM.lookuplogicalname\"";

/// How long all the reads for one table may take.
const DEFINITION_TIMEOUT: Duration = Duration::from_secs(15);

/// `PrecisionSource` of a money column whose own precision counts, rather than the organisation's or the currency's.
/// <https://learn.microsoft.com/dotnet/api/microsoft.xrm.sdk.metadata.moneyattributemetadata.precisionsource>
const OWN_PRECISION: i64 = 0;

#[derive(Deserialize)]
struct Page<T> {
    value: Vec<T>,
    #[serde(rename = "@odata.nextLink")]
    next: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Table {
    logical_name: String,
    primary_id_attribute: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Attribute {
    logical_name: String,
    #[serde(rename = "AttributeTypeName")]
    type_name: Option<Named>,
    is_secured: Option<bool>,
}

#[derive(Deserialize)]
struct Named {
    #[serde(rename = "Value")]
    value: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Numeric {
    logical_name: String,
    precision: Option<u8>,
    precision_source: Option<i64>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Dated {
    logical_name: String,
    date_time_behavior: Option<Named>,
    format: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Relationship {
    referencing_attribute: String,
    referencing_entity_navigation_property_name: Option<String>,
    referenced_entity: String,
}

impl Client {
    /// Reads the definition of the table with this entity set name; `None` when any of it cannot be had.
    pub(super) async fn read_definition(&self, set: &str) -> Option<Definition> {
        let definition = timeout(DEFINITION_TIMEOUT, self.put_together(set)).await.ok().flatten();
        if definition.is_none() {
            tracing::warn!(
                table = set,
                "the table's definition could not be read, so what comes back in another form is sent again"
            );
        }
        definition
    }

    async fn put_together(&self, set: &str) -> Option<Definition> {
        let query = format!("$select=LogicalName,PrimaryIdAttribute&$filter=EntitySetName eq '{set}'");
        let [table] = <[Table; 1]>::try_from(self.list("EntityDefinitions", &query).await?).ok()?;
        let table = Some(table).filter(|table| is_logical_name(&table.logical_name))?;
        let path = format!("EntityDefinitions(LogicalName='{}')", table.logical_name);
        let query = "$select=LogicalName,AttributeTypeName,IsSecured";
        let attributes: Vec<Attribute> = self.list(&format!("{path}/Attributes"), query).await?;
        let kinds = self.kinds(&path, &attributes).await?;
        let mut definition = Definition::new(table.logical_name, table.primary_id_attribute);
        for attribute in attributes {
            let kind = kinds.get(&attribute.logical_name).copied();
            let kind = kind.unwrap_or_else(|| plain_kind(&attribute));
            definition = definition.with_column(attribute.logical_name, kind, attribute.is_secured.unwrap_or(true));
        }
        let query = "$select=ReferencingAttribute,ReferencingEntityNavigationPropertyName,ReferencedEntity";
        let relationships: Vec<Relationship> = self.list(&format!("{path}/ManyToOneRelationships"), query).await?;
        Some(relationships.into_iter().fold(definition, |definition, relationship| {
            let navigation = relationship.referencing_entity_navigation_property_name.unwrap_or_default();
            definition.with_lookup(navigation, relationship.referencing_attribute, relationship.referenced_entity)
        }))
    }

    /// The kinds of those columns whose type alone does not tell.
    async fn kinds(&self, path: &str, attributes: &[Attribute]) -> Option<HashMap<String, Kind>> {
        let mut kinds = HashMap::new();
        for (name, select, kind) in [
            ("Decimal", "LogicalName,Precision", Kind::Decimal as fn(_) -> _),
            ("Money", "LogicalName,Precision,PrecisionSource", Kind::Decimal),
            ("Double", "LogicalName,Precision", Kind::Double),
        ] {
            let numbers: Vec<Numeric> = self.cast(path, attributes, name, select).await?;
            let is_own = |number: &Numeric| name != "Money" || number.precision_source == Some(OWN_PRECISION);
            kinds.extend(numbers.into_iter().map(|number| {
                let places = number.precision.filter(|_| is_own(&number));
                (number.logical_name, kind(places))
            }));
        }
        let select = "LogicalName,DateTimeBehavior,Format";
        let dates: Vec<Dated> = self.cast(path, attributes, "DateTime", select).await?;
        kinds.extend(dates.into_iter().map(|date| {
            let kind = date_kind(&date);
            (date.logical_name, kind)
        }));
        Some(kinds)
    }

    /// The columns of one derived type, seen as such.
    async fn cast<T: DeserializeOwned>(
        &self,
        path: &str,
        attributes: &[Attribute],
        name: &str,
        select: &str,
    ) -> Option<Vec<T>> {
        if !attributes.iter().any(|attribute| attribute.type_name().strip_suffix("Type") == Some(name)) {
            return Some(Vec::new());
        }
        let path = format!("{path}/Attributes/Microsoft.Dynamics.CRM.{name}AttributeMetadata");
        self.list(&path, &format!("$select={select}")).await
    }

    async fn list<T: DeserializeOwned>(&self, path: &str, query: &str) -> Option<Vec<T>> {
        self.whole_list(path, query).await.ok()
    }

    /// A list, and why it cannot be had where it cannot.
    pub(super) async fn whole_list<T: DeserializeOwned>(&self, path: &str, query: &str) -> Result<Vec<T>, Error> {
        let page: Page<T> = self.look_at(path, Some(query)).await?;
        // Half a list would make a lookup with two targets look like one with a single one.
        if page.next.is_some() {
            return Err(Error::NoAnswer { sent: false, problem: "the list that came back is not all of it" });
        }
        Ok(page.value)
    }

    /// What a GET of something that is no row gives.
    pub(super) async fn look_at<T: DeserializeOwned>(&self, path: &str, query: Option<&str>) -> Result<T, Error> {
        let mut url = self.root.clone();
        url.set_path(&format!("{}{path}", self.root.path()));
        url.set_query(query);
        let answer = self.send(&RequestSpec::read(url)).await?;
        if !answer.is_success() {
            return Err(answer::refusal(answer).await);
        }
        let found = answer::json(answer).await;
        found.ok_or_else(|| Error::NoAnswer { sent: false, problem: "the answer is not understood" })
    }
}

impl Attribute {
    fn type_name(&self) -> &str {
        self.type_name.as_ref().map_or("", |name| &name.value)
    }
}

/// <https://learn.microsoft.com/power-apps/developer/data-platform/reference/attributetypedisplayname>
fn plain_kind(attribute: &Attribute) -> Kind {
    match attribute.type_name() {
        "StringType" | "MemoType" | "IntegerType" | "BigIntType" | "BooleanType" | "PicklistType" | "StateType"
        | "StatusType" => Kind::Plain,
        "MultiSelectPicklistType" => Kind::Choices,
        "UniqueidentifierType" => Kind::Guid,
        _ => Kind::Opaque,
    }
}

/// A column that shows days only is none of an instant's kind, whatever it keeps.
fn date_kind(date: &Dated) -> Kind {
    let behavior = date.date_time_behavior.as_ref().map_or("", |behavior| &behavior.value);
    match (behavior, date.format.as_deref()) {
        ("UserLocal", Some("DateAndTime")) => Kind::Instant,
        ("TimeZoneIndependent", Some("DateAndTime")) => Kind::ZoneFree,
        _ => Kind::Opaque,
    }
}
