//! The command line of `handler dead-letters`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::encoding::Encoding;
use super::filter::Filter;
use super::replay::Rate;

/// Lists, shows, exports, replays and drops the messages of the poison queue.
///
/// A message lands there when trying again cannot help (the handler puts it there with the reason) or when the host's
/// deliveries are used up (the host moves it as it was, without a reason).
///
/// A queue cannot be listed; its messages can only be received. So while a command runs, the letters that it has read are
/// hidden from every other reader. It gives them back at its end, also after Ctrl-C. After a kill -9 they show themselves
/// again by themselves, after 5 minutes and 10 ms for each letter in the queue. Nothing else about them is changed but
/// their dequeue count. Letters that another reader hides at that moment are not seen.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

const EXAMPLES: &str = "\
Examples:
  What is there, and why:
    handler dead-letters list
  The first five of one kind in full:
    handler dead-letters show --reason key_collision --table contacts --max 5
  All about one record:
    handler dead-letters show --key '{\"employeeid\":\"E-1042\"}'
  Put back what the host gave up on during last night's outage, gently:
    handler dead-letters replay --reason none --newer-than 12h --rate 20/s
  Keep a copy, then drop what is too old to matter:
    handler dead-letters export --older-than 30d --output old.jsonl
    handler dead-letters drop --older-than 30d

Settings (environment), for the connection AzureWebJobsStorage or another one by --connection:
  AzureWebJobsStorage                    a storage connection string; UseDevelopmentStorage=true is Azurite
  AzureWebJobsStorage__accountName       or an account that is opened with Entra ID: AZURE_CLIENT_ID and the like,
  AzureWebJobsStorage__queueServiceUri   the managed identity, or your az or azd login

Exit codes: 0 done; 1 something failed, or it was interrupted; 2 wrong arguments or settings.";

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Counts letters by reason, Dataverse's code and table, with the times of the first and the last.
    List(List),
    /// Shows single letters in full.
    #[command(
        after_help = "Show prints letters as they are read. With --json it prints one JSON object a line, as export does."
    )]
    Show(Show),
    /// Writes letters as JSON lines, the original message included; nothing is taken out of the queue.
    Export(Export),
    /// Puts the original messages back on the queue that the handler reads.
    ///
    /// A letter is deleted only after its copy is on the queue. Whenever this ends, by Ctrl-C, SIGTERM or kill -9, every
    /// message is in one of the two queues; run it again for the rest. A kill -9 leaves at most 8 messages in both, and the
    /// next replay puts those there a second time; records with a version, and upserts in general, bear that.
    /// Letters that come after the start are left alone.
    Replay(Replay),
    /// Deletes letters for good, after asking.
    Drop(Drop),
}

/// `list`
#[derive(Debug, Args)]
pub struct List {
    /// Which.
    #[command(flatten)]
    pub filter: Filter,
    /// Where.
    #[command(flatten)]
    pub place: Place,
}

/// `show`
#[derive(Debug, Args)]
pub struct Show {
    /// At most so many letters.
    #[arg(long, value_name = "N", default_value_t = 20)]
    pub max: u64,
    /// Which.
    #[command(flatten)]
    pub filter: Filter,
    /// Where.
    #[command(flatten)]
    pub place: Place,
}

/// `export`
#[derive(Debug, Args)]
pub struct Export {
    /// At most so many letters.
    #[arg(long, value_name = "N")]
    pub max: Option<u64>,
    /// A new file for the lines, instead of stdout. It is readable by you alone: messages hold personal data.
    #[arg(long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// Which.
    #[command(flatten)]
    pub filter: Filter,
    /// Where.
    #[command(flatten)]
    pub place: Place,
}

/// `replay`
#[derive(Debug, Args)]
pub struct Replay {
    /// The queue that messages are put back on.
    #[arg(long, value_name = "QUEUE", default_value = "sync-records", value_parser = queue_name)]
    pub to: String,
    /// Only shows by group what would be put back.
    #[arg(long)]
    pub dry_run: bool,
    /// At most so many messages in a time: 50/s or 30/m.
    #[arg(long, value_name = "N/s", value_parser = Rate::parse)]
    pub rate: Option<Rate>,
    /// At most so many letters.
    #[arg(long, value_name = "N")]
    pub max: Option<u64>,
    /// Which.
    #[command(flatten)]
    pub filter: Filter,
    /// Where.
    #[command(flatten)]
    pub place: Place,
}

/// `drop`
#[derive(Debug, Args)]
pub struct Drop {
    /// At most so many letters.
    #[arg(long, value_name = "N")]
    pub max: Option<u64>,
    /// Does not ask.
    #[arg(long)]
    pub yes: bool,
    /// Which.
    #[command(flatten)]
    pub filter: Filter,
    /// Where.
    #[command(flatten)]
    pub place: Place,
}

/// Where the letters are, and how results are printed.
#[derive(Debug, Args)]
#[command(next_help_heading = "Where")]
pub struct Place {
    /// The queue that holds the letters.
    #[arg(long, default_value = "sync-records-poison", value_parser = queue_name)]
    pub queue: String,
    /// The Functions connection of the queues: the name of a variable, or of several that begin with it.
    #[arg(long, value_name = "NAME", default_value = "AzureWebJobsStorage")]
    pub connection: String,
    /// How the host writes messages [default: messageEncoding of ./host.json, else base64].
    #[arg(long, value_enum)]
    pub encoding: Option<Encoding>,
    /// Prints results as JSON on stdout; everything else goes to stderr.
    #[arg(long)]
    pub json: bool,
}

/// <https://learn.microsoft.com/rest/api/storageservices/naming-queues-and-metadata>
fn queue_name(text: &str) -> Result<String, &'static str> {
    let valid = (3..=63).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
        && !text.starts_with('-')
        && !text.ends_with('-')
        && !text.contains("--");
    if valid {
        Ok(text.to_owned())
    } else {
        Err("a queue's name has 3 to 63 lower-case letters, digits and single hyphens")
    }
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

    fn read(line: &str) -> Result<Command, String> {
        let words = std::iter::once("dead-letters").chain(line.split_whitespace());
        Line::try_parse_from(words).map(|line| line.arguments.command).map_err(|error| error.to_string())
    }

    #[test]
    fn the_command_line_is_consistent() {
        <Line as clap::CommandFactory>::command().debug_assert();
    }

    #[test]
    fn without_options_it_is_the_queues_of_the_contract() {
        let Ok(Command::Replay(replay)) = read("replay") else { panic!("a replay") };
        assert_eq!((replay.place.queue.as_str(), replay.to.as_str()), ("sync-records-poison", "sync-records"));
        assert_eq!(replay.place.connection, "AzureWebJobsStorage");
        assert!(!replay.dry_run && replay.rate.is_none() && replay.max.is_none() && !replay.place.json);
        let Ok(Command::Show(show)) = read("show") else { panic!("show") };
        assert_eq!(show.max, 20);
    }

    #[test]
    fn wrong_arguments_are_named() {
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
