//! The command line of `handler doctor`.

use std::path::PathBuf;

use clap::Args;

use crate::record::{is_entity_set_name, is_logical_name};
use crate::settings::checked;

/// Checks settings, files, identity, Dataverse and storage.
///
/// It says how to correct what is wrong. It reads the settings of the serving handler, and the app's files in the current
/// folder. It works on your machine and in the console of a deployed app (there the folder is /home/site/wwwroot).
///
/// It changes only what serving changes: it creates the lock container if that is missing, and takes and gives back a lock of
/// its own there, doctor-probe. It writes no row, receives no message, and prints no secret.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    /// The entity set that records are written to, such as contacts: checks the table and its SYNC_VERSION_COLUMN.
    #[arg(long, value_name = "SET", value_parser = set)]
    pub table: Option<String>,
    /// The columns of the alternate key that records use, such as employeeid or new_number,new_region.
    #[arg(long, value_name = "COLUMNS", requires = "table", value_delimiter = ',', value_parser = column)]
    pub key: Vec<String>,
    /// The folder of the app: host.json, the executable, and the functions' folders.
    #[arg(long, value_name = "DIR", default_value = ".")]
    pub app: PathBuf,
    /// Prints one JSON object instead of lines.
    #[arg(long)]
    pub json: bool,
}

const EXAMPLES: &str = "\
Examples:
  In the console of a deployed app:
    cd /home/site/wwwroot && ./handler doctor
  Also the table, its alternate key and its version column:
    handler doctor --table contacts --key employeeid
  What `cargo stage` laid out, before it is published:
    cargo doctor
  In a pipeline, only what is wrong:
    handler doctor --json | jq '.findings[] | select(.verdict != \"good\")'

It prints: ✓ good; ✗ wrong, with the remedy on the next line; ! good, with a warning; – not tried, because another check \
failed. (?) marks what Microsoft's documentation leaves open.

It cannot check whether rows may be written, because it writes none. A role that may read the table but not create or \
write appears with the first record, as retry/unauthorized.

Settings: all those of the serving handler; `handler settings` shows what is set.

Exit codes: 0 all checks are good; 1 something is wrong; 2 wrong arguments.";

fn set(text: &str) -> Result<String, &'static str> {
    checked(text, is_entity_set_name, "an entity set is a word such as contacts or new_orders")
}

fn column(text: &str) -> Result<String, &'static str> {
    checked(text, is_logical_name, "a column's logical name has lower-case letters, digits and _")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::terminal::parse_arguments;

    fn read(line: &str) -> Result<Arguments, String> {
        parse_arguments(line.split_whitespace())
    }

    #[test]
    fn a_key_has_one_column_or_several_and_belongs_to_a_table() {
        let arguments = read("--table new_orders --key new_number,new_region").expect("fine");
        assert_eq!(arguments.key, ["new_number", "new_region"]);
        assert_eq!(arguments.app, PathBuf::from("."));
        for (line, name) in [
            ("--key employeeid", "--table"),
            ("--table contacts('x')", "--table"),
            ("--table contacts --key EmployeeId", "--key"),
            ("--table contacts --key a,,b", "--key"),
            ("--fix", "--fix"),
        ] {
            assert!(read(line).expect_err(line).contains(name), "{line}");
        }
    }
}
