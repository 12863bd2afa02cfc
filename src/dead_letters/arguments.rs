//! The command line of `handler dead-letters`.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};

use super::filter::Filter;
use super::rate::parse_rate;
use crate::host::MessageEncoding;
use crate::settings::checked;
use crate::storage;

/// Lists, shows, exports, replays and drops dead letters.
///
/// They are the messages of the poison queue. The handler puts a message there, with the reason, when another attempt cannot
/// help. The host moves a message there, without a reason, when its deliveries are used up.
///
/// A queue cannot be listed; its messages can only be received. So while a command runs, the messages that it has read are
/// hidden from every other reader. The command gives them back at its end, also after Ctrl-C. After a kill -9 they reappear
/// by themselves after 5 minutes and 10 ms for each message in the queue. Nothing else about them changes, except their
/// dequeue count. Messages that another reader hides at that moment are not seen.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    #[command(subcommand)]
    pub(super) command: Command,
}

const EXAMPLES: &str = "\
Examples:
  Count the messages by reason:
    handler dead-letters list
  Show the first five of one kind in full:
    handler dead-letters show --reason key_collision --table contacts --max 5
  Show the messages of one record:
    handler dead-letters show --key '{\"employeeid\":\"E-1042\"}'
  Return what the host moved during last night's outage to the queue, slowly:
    handler dead-letters replay --reason none --newer-than 12h --rate 20/s
  Keep a copy, then delete what is old:
    handler dead-letters export --older-than 30d --output old.jsonl
    handler dead-letters drop --older-than 30d

Settings: the connection AzureWebJobsStorage, or another one by --connection. It is a storage connection string, or with Entra ID \
AzureWebJobsStorage__accountName or AzureWebJobsStorage__queueServiceUri. `handler settings` shows what is set.

Exit codes: 0 done; 1 something failed, or the command was interrupted; 2 wrong arguments or settings.";

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Counts messages by reason, Dataverse's code and table, with the times of the first and the last.
    List {
        #[command(flatten)]
        query: Query,
    },
    /// Shows messages in full.
    #[command(
        after_help = "Show prints messages as they are read. With --json it prints one JSON object a line, as export does."
    )]
    Show {
        /// Shows at most this many messages.
        #[arg(long, value_name = "N", default_value_t = 20)]
        max: usize,
        #[command(flatten)]
        query: Query,
    },
    /// Writes messages as JSON lines, the original message included; the queue does not change.
    Export {
        /// Exports at most this many messages.
        #[arg(long, value_name = "N")]
        max: Option<usize>,
        /// Writes to a new file instead of stdout. Only you can read it: messages contain personal data.
        #[arg(long, value_name = "FILE")]
        output: Option<PathBuf>,
        #[command(flatten)]
        query: Query,
    },
    /// Returns the original messages to the queue that the handler reads.
    ///
    /// A message is deleted only after its copy is on the queue. Whenever this ends, by Ctrl-C, SIGTERM or kill -9, every
    /// message is in one of the two queues; run it again for the rest. A kill -9 leaves at most 8 messages in both, and the
    /// next replay sends those a second time; records with a version, and upserts in general, tolerate that.
    /// Messages that arrive after the start are not replayed.
    Replay(Replay),
    /// Deletes messages for good, after asking.
    Drop {
        /// Deletes at most this many messages.
        #[arg(long, value_name = "N")]
        max: Option<usize>,
        /// Does not ask.
        #[arg(long)]
        yes: bool,
        #[command(flatten)]
        query: Query,
    },
}

#[derive(Debug, Args)]
pub(super) struct Replay {
    /// The queue that messages are returned to.
    #[arg(long, value_name = "QUEUE", default_value = "sync-records", value_parser = queue_name)]
    pub(super) to: String,
    /// Only counts what would be replayed.
    #[arg(long)]
    pub(super) dry_run: bool,
    /// Sends at most this many messages per second or minute: 50/s or 30/m.
    #[arg(long, value_name = "N/s", value_parser = parse_rate)]
    pub(super) rate: Option<Duration>,
    /// Replays at most this many messages.
    #[arg(long, value_name = "N")]
    pub(super) max: Option<usize>,
    #[command(flatten)]
    pub(super) query: Query,
}

/// Which messages, in which queue.
#[derive(Debug, Args)]
pub(super) struct Query {
    #[command(flatten)]
    pub(super) filter: Filter,
    #[command(flatten)]
    pub(super) source: Source,
}

/// The queue, and how results are printed.
#[derive(Debug, Args)]
#[command(next_help_heading = "Where")]
pub(super) struct Source {
    /// The poison queue.
    #[arg(long, default_value = "sync-records-poison", value_parser = queue_name)]
    pub(super) queue: String,
    /// The Functions connection of the queues: the name of a variable, or the prefix of several.
    #[arg(long, value_name = "NAME", default_value = "AzureWebJobsStorage")]
    pub(super) connection: String,
    /// How messages are written; both are read [default: messageEncoding of ./host.json, else base64].
    #[arg(long, value_enum)]
    pub(super) encoding: Option<MessageEncoding>,
    /// Prints results as JSON on stdout; everything else goes to stderr.
    #[arg(long)]
    pub(super) json: bool,
}

pub(crate) fn queue_name(text: &str) -> Result<String, &'static str> {
    checked(text, storage::is_name, "a queue's name has 3 to 63 lower-case letters, digits and single hyphens")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::terminal::parse_arguments;

    fn read(line: &str) -> Result<Command, String> {
        parse_arguments(line.split_whitespace()).map(|arguments: Arguments| arguments.command)
    }

    #[test]
    fn the_default_queues_are_those_of_the_contract() {
        let Ok(Command::Replay(replay)) = read("replay") else { panic!("a replay") };
        let source = replay.query.source;
        assert_eq!((source.queue.as_str(), replay.to.as_str()), ("sync-records-poison", "sync-records"));
        assert_eq!(source.connection, "AzureWebJobsStorage");
        assert!(!replay.dry_run && replay.rate.is_none() && replay.max.is_none() && !source.json);
        assert!(matches!(read("show"), Ok(Command::Show { max: 20, .. })));
    }

    #[test]
    fn an_error_names_the_wrong_argument() {
        for (line, name) in [
            ("list --queue Poison_", "--queue"),
            ("replay --to a", "--to"),
            ("replay --rate fast", "--rate"),
            ("list --older-than soon", "--older-than"),
            ("show --max many", "--max"),
            ("show --key {\"A\":1}", "--key"),
            ("list --encoding utf8", "--encoding"),
            ("purge", "purge"),
        ] {
            let problem = read(line).expect_err(line);
            assert!(problem.contains(name), "{line}: {problem}");
        }
    }
}
