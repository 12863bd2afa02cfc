//! The command line of `handler doctor`.

use std::path::PathBuf;

use clap::Args;

use crate::record::{is_entity_set_name, is_logical_name};

/// Checks that everything fits together, and says how to mend what does not.
///
/// It reads the same environment variables as the handler that serves, and the files of the app in the current folder. So it
/// works on your machine and in the console of a deployed app (there the folder is /home/site/wwwroot).
///
/// It changes nothing but what serving would: it creates the lock container where that is missing, and takes and gives back a
/// lock of its own there, doctor-probe. It writes no row, takes no message off a queue, and prints no secret.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    /// The entity set that records go to, such as contacts: looks at the table, and at the column of SYNC_VERSION_COLUMN.
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
  The table, its alternate key and its version column as well:
    handler doctor --table contacts --key employeeid
  What `cargo stage` laid out, before it is published, whatever machine it is for:
    cargo doctor
  In a pipeline, what is wrong and nothing else:
    handler doctor --json | jq '.findings[] | select(.verdict != \"good\")'

What it prints: ✓ as it should be; ✗ wrong, and in the next line how to mend it; – not tried, because another check failed.
(?) marks what Microsoft's documentation does not settle.

What it cannot tell: whether rows may be written, for it writes none. A role that may read the table but not create or
write shows itself with the first record, as retry/unauthorized.

Exit codes: 0 all is well; 1 something is wrong; 2 wrong arguments.";

fn set(text: &str) -> Result<String, &'static str> {
    if is_entity_set_name(text) {
        Ok(text.to_owned())
    } else {
        Err("an entity set is a word such as contacts or new_orders")
    }
}

fn column(text: &str) -> Result<String, &'static str> {
    let valid = is_logical_name(text);
    if valid { Ok(text.to_owned()) } else { Err("a column's logical name has lower-case letters, digits and _") }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        arguments: Arguments,
    }

    fn read(line: &str) -> Result<Arguments, String> {
        let words = std::iter::once("doctor").chain(line.split_whitespace());
        Line::try_parse_from(words).map(|line| line.arguments).map_err(|error| error.to_string())
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
