//! Which tables may be written: `SYNC_TABLES`, and what is refused without it.
//!
//! Names are compared without case, so that no spelling gets past a refusal; the service itself answers another case with 404.
//! A lookup to a refused table, such as an owner, is not a write to it.

use std::collections::BTreeSet;

use super::is_entity_set_name;

/// The environment's schema: a deletion in one of these sets drops a table. They are never written.
/// <https://learn.microsoft.com/power-apps/developer/data-platform/webapi/use-web-api-metadata>
const SCHEMA: [&str; 1] =
    ["EntityDefinitions RelationshipDefinitions GlobalOptionSetDefinitions ManagedPropertyDefinitions"];

/// Code, and what decides which code runs, for whom, and where it connects to.
const CODE: [&str; 5] = [
    // Plug-ins, custom APIs, and what is called on an event.
    // <https://learn.microsoft.com/power-apps/developer/data-platform/register-plug-in>
    // <https://learn.microsoft.com/power-apps/developer/data-platform/create-custom-api-with-code>
    // <https://learn.microsoft.com/power-apps/developer/data-platform/use-webhooks>
    // <https://learn.microsoft.com/power-apps/developer/data-platform/webapi/reference/callbackregistration>
    "pluginassemblies pluginpackages plugintypes sdkmessageprocessingsteps sdkmessageprocessingstepimages \
     sdkmessageprocessingstepsecureconfigs customapis customapirequestparameters customapiresponseproperties serviceendpoints \
     callbackregistrations managedidentities",
    // Workflows and flows, their connections and variables.
    // <https://learn.microsoft.com/power-automate/manage-flows-with-code>
    // <https://learn.microsoft.com/power-apps/maker/data-platform/environmentvariables>
    "workflows processtriggers connectors connectionreferences environmentvariabledefinitions environmentvariablevalues",
    // Scripts that run in the users' browsers, and what calls them; pages, apps and agents.
    // <https://learn.microsoft.com/power-apps/developer/model-driven-apps/client-scripting>
    // <https://learn.microsoft.com/power-apps/developer/data-platform/webapi/reference/webresource>
    // <https://learn.microsoft.com/power-pages/configure/data-model>
    "webresourceset systemforms savedqueries sitemaps appmodules appactions appactionrules customcontrols canvasapps \
     powerpagesites powerpagecomponents bots botcomponents",
    // Solutions bring all of these.
    // <https://learn.microsoft.com/power-platform/alm/solution-async>
    "solutions stagesolutionuploads importjobs",
    // Where the rows of virtual tables come from.
    // <https://learn.microsoft.com/power-apps/developer/data-platform/virtual-entities/custom-ve-data-providers>
    "entitydataproviders entitydatasources",
];

/// Who may do what.
/// <https://learn.microsoft.com/power-apps/developer/data-platform/security-model>
const PRIVILEGES: [&str; 3] = [
    "roles roleprivilegescollection systemusers systemuserrolescollection systemuserprofilescollection applicationusers teams \
     teamrolescollection teammemberships teamprofilescollection teamtemplates businessunits positions organizations",
    // Column-level security and sharing.
    // <https://learn.microsoft.com/power-apps/developer/data-platform/column-level-security>
    "fieldsecurityprofiles fieldpermissions attributemaskingrules principalobjectaccessset principalobjectattributeaccessset",
    // The roles of a site's visitors, and who is invited to one.
    // <https://learn.microsoft.com/power-pages/security/create-web-roles>
    "mspp_webroles adx_webroles adx_invitations adx_externalidentities mspp_entitypermissions",
];

/// The tables that may be written.
#[derive(Debug, Clone, Default)]
pub struct Tables {
    /// In lower case; without the setting all but the environment's own.
    named: Option<BTreeSet<String>>,
}

impl Tables {
    /// Reads a comma-separated list of entity sets.
    ///
    /// # Errors
    /// What is wrong with which item, as a clause that follows the setting's name; quotes no value.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let mut named = BTreeSet::new();
        for (at, name) in (1..).zip(text.split(',').map(str::trim)) {
            let problem = match name {
                "" => "is empty",
                _ if !is_entity_set_name(name) => "is not an entity set name such as contacts",
                _ if contains(&SCHEMA, name) => "is part of the environment's schema, which is never written",
                _ if !named.insert(name.to_ascii_lowercase()) => "is there twice",
                _ => continue,
            };
            return Err(format!("must be entity sets separated by commas; item {at} {problem}"));
        }
        Ok(Self { named: Some(named) })
    }

    /// Why a table may not be written, as a clause that follows the field's name.
    pub(super) fn refusal(&self, table: &str) -> Option<&'static str> {
        let is_named = self.named.as_ref().map(|named| named.contains(&table.to_ascii_lowercase()));
        match is_named {
            _ if contains(&SCHEMA, table) => Some("is part of the environment's schema, which is never written"),
            Some(false) => Some("is not one of those that SYNC_TABLES names"),
            None if contains(&CODE, table) => {
                Some("is code of the environment, written only where SYNC_TABLES names it")
            }
            None if contains(&PRIVILEGES, table) => {
                Some("decides who may do what, and is written only where SYNC_TABLES names it")
            }
            Some(true) | None => None,
        }
    }
}

fn names(tables: &[&'static str]) -> impl Iterator<Item = &'static str> {
    tables.iter().flat_map(|group| group.split(' '))
}

fn contains(tables: &[&'static str], name: &str) -> bool {
    names(tables).any(|table| table.eq_ignore_ascii_case(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(setting: Option<&str>, table: &str) -> Option<&'static str> {
        setting.map_or_else(Tables::default, |text| Tables::parse(text).expect("a list")).refusal(table)
    }

    #[test]
    fn the_schema_is_refused_always_and_what_changes_code_or_privileges_unless_it_is_named() {
        for tables in [&SCHEMA[..], &CODE, &PRIVILEGES] {
            for table in names(tables) {
                for table in [table.to_owned(), table.to_lowercase(), table.to_uppercase()] {
                    assert!(is_entity_set_name(&table) && refused(None, &table).is_some(), "{table}");
                    assert!(refused(Some("contacts"), &table).is_some(), "{table}");
                    assert_eq!(Tables::parse(&table).is_err(), contains(&SCHEMA, &table), "{table}");
                }
            }
        }
        for table in ["contacts", "accounts", "new_roles", "emails", "activityparties", "annotations"] {
            assert_eq!(refused(None, table), None, "{table}");
        }
        assert_eq!(refused(Some("systemusers"), "systemusers"), None);
        // Names that do not follow from those of their tables.
        assert!(refused(None, "webresourceset").is_some() && refused(None, "callbackregistrations").is_some());
        assert!(refused(None, "Roles").is_some_and(|problem| problem.contains("SYNC_TABLES")));
    }

    #[test]
    fn with_a_list_only_its_tables_are_written_in_any_case() {
        for list in ["contacts,new_things", " Contacts ,\tNEW_THINGS "] {
            for table in ["contacts", "CONTACTS", "new_things"] {
                assert_eq!(refused(Some(list), table), None, "{list} {table}");
            }
            for table in ["accounts", "contact", "new_thing", "entitydefinitions"] {
                assert!(refused(Some(list), table).is_some(), "{list} {table}");
            }
        }
        assert_eq!(refused(Some("contacts"), "accounts"), Some("is not one of those that SYNC_TABLES names"));
    }

    #[test]
    fn a_list_that_is_wrong_says_in_which_item_and_quotes_none() {
        for (list, problem) in [
            (",contacts", "item 1 is empty"),
            ("contacts,", "item 2 is empty"),
            ("contacts;canary", "item 1 is not an entity set name such as contacts"),
            ("contacts,canary(1)", "item 2 is not an entity set name such as contacts"),
            ("contacts,$batch", "item 2 is not an entity set name such as contacts"),
            ("contacts,accounts,Contacts", "item 3 is there twice"),
            ("canary,entityDEFINITIONS", "item 2 is part of the environment's schema, which is never written"),
        ] {
            let found = Tables::parse(list).expect_err(list);
            assert!(found.ends_with(problem) && !found.contains("canary"), "{list}: {found}");
        }
    }
}
