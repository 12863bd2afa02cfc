//! The tables of the Dataverse stand-in, as the commands list them.

use crate::screen::Screen;
use stand_ins::dataverse::Summary;

/// Lists all tables with their keys, columns and lookups.
pub(crate) fn list(screen: &mut Screen, tables: &[Summary]) {
    screen.heading("Tables, all empty: alternate keys, columns (types) and lookups");
    for table in tables {
        screen.strong(&table.set);
        let keys = table.keys.iter().map(|key| key.join(" + "));
        screen.items("  keys     ", keys.chain([format!("{} (GUID)", table.primary_key)]));
        screen.items("  columns  ", table.columns.iter().map(|(name, kind)| format!("{name} ({kind})")));
        screen.items("  lookups  ", table.lookups.iter().map(|(name, target)| format!("{name} → {target}")));
    }
}
