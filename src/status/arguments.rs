//! The command line of `handler status`.

use std::time::Duration;

use clap::Args;

use crate::dead_letters::filter::span;
use crate::dead_letters::queue_name;

/// Shows the queues, the dead letters by reason, and the locks.
///
/// It changes nothing and hides no message from the handler: it counts messages, peeks at the first 32 visible ones of each
/// queue, and lists the lock container. So it runs beside a working app, on any machine that may read the storage account; it
/// needs no Dataverse settings.
///
/// What it cannot see: the age of a hidden message (one that the handler is working on, or that waits for its next try), and
/// the reasons of dead letters beyond the first 32; `handler dead-letters list` reads all of those.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    /// Repeats until Ctrl-C; adds how fast the queue changes, when it will be empty, and its history.
    #[arg(long)]
    pub(super) watch: bool,
    /// The time between two samples of --watch.
    #[arg(long, value_name = "TIME", default_value = "2s", value_parser = interval)]
    pub(super) interval: Duration,
    /// A visible message that is older than this needs a person: 90s, 15m, 2h, 3d or 1w.
    #[arg(long, value_name = "TIME", default_value = "15m", value_parser = span)]
    pub(super) older_than: Duration,
    /// Prints one JSON object; with --watch one a line for each sample.
    #[arg(long)]
    pub(super) json: bool,
    #[command(flatten)]
    pub(super) place: Place,
}

/// The queues.
#[derive(Debug, Args)]
#[command(next_help_heading = "Where")]
pub(super) struct Place {
    /// The queue that the handler reads.
    #[arg(long, default_value = "sync-records", value_parser = queue_name)]
    pub(super) queue: String,
    /// The queue of dead letters.
    #[arg(long, value_name = "QUEUE", default_value = "sync-records-poison", value_parser = queue_name)]
    pub(super) poison_queue: String,
    /// The Functions connection of the queues: the name of a variable, or the prefix of several.
    #[arg(long, value_name = "NAME", default_value = "AzureWebJobsStorage")]
    pub(super) connection: String,
}

const EXAMPLES: &str = "\
Examples:
  Is everything well?
    handler status
  Watch a backlog drain:
    handler status --watch
  In a scheduled job, send a mail unless everything is well:
    handler status > status.txt || mail -s sync ops@contoso.com < status.txt
  The length of the queue every minute, for a spreadsheet:
    handler status --watch --interval 1m --json |
      jq -r '[.at, .queue.messages] | @csv'

Settings: the connection AzureWebJobsStorage, or another one by --connection. It is a storage connection string, or with Entra ID \
AzureWebJobsStorage__accountName. LOCK_STORAGE and LOCK_CONTAINER say where the locks are, as for the handler. `handler settings` \
shows what is set. With Entra ID it needs the roles Storage Queue Data Reader and Storage Blob Data Reader.

Exit codes: 0 all is well; 1 something needs a person: dead letters, a message older than --older-than, a queue of records that does \
not exist, or a storage that cannot be read; 2 wrong arguments or settings. With --watch it is that of the last sample.";

fn interval(text: &str) -> Result<Duration, &'static str> {
    span(text).and_then(|interval| if interval.is_zero() { Err("at least 1s") } else { Ok(interval) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::terminal::parse_arguments;

    fn read(line: &str) -> Result<Arguments, String> {
        parse_arguments(line.split_whitespace())
    }

    #[test]
    fn the_defaults_are_those_of_the_contract() {
        let Arguments { watch, interval, older_than, json, place } = read("").expect("nothing is required");
        assert!(!watch && !json);
        assert_eq!((interval, older_than), (Duration::from_secs(2), Duration::from_mins(15)));
        let names = [place.queue.as_str(), &place.poison_queue, &place.connection];
        assert_eq!(names, ["sync-records", "sync-records-poison", "AzureWebJobsStorage"]);
    }

    #[test]
    fn an_error_names_the_wrong_argument() {
        for (line, name) in [
            ("--queue Records_", "--queue"),
            ("--poison-queue a", "--poison-queue"),
            ("--older-than soon", "--older-than"),
            ("--interval 0s", "--interval"),
            ("--watch now", "now"),
        ] {
            assert!(read(line).expect_err(line).contains(name), "{line}");
        }
    }
}
