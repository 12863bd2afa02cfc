//! `cargo sandbox`: the main job on this machine with nothing else installed, and its parts for experiments.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use sandbox::screen::Screen;
use sandbox::signals::until_stopped;
use sandbox::stage::{self, Build};
use sandbox::world::{self, StorageKind};
use sandbox::{bench, chaos, dataverse, demo, functions_host, progress, up};

/// dataverse-sync on this machine, with stand-ins for the Azure services.
#[derive(Parser)]
#[command(name = "cargo sandbox", bin_name = "cargo sandbox", version, args_conflicts_with_subcommands = true)]
#[command(long_about = demo::ABOUT, after_long_help = demo::EXAMPLES)]
struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    world: WorldArguments,
    /// The messages of each of the four runs, for 100 keys; a multiple of 200.
    #[arg(long, default_value_t = demo::MESSAGES, value_parser = messages)]
    messages: usize,
}

/// Each key gets the same number of pairs.
fn messages(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(count) if count > 0 && count % demo::MIN_MESSAGES == 0 => Ok(count),
        _ => Err(format!("must be a multiple of {}", demo::MIN_MESSAGES)),
    }
}

#[derive(Args)]
struct WorldArguments {
    /// The storage of locks and queues. Azurite needs Node and is started here.
    #[arg(long, value_enum, default_value_t)]
    storage: StorageKind,
    /// The number of instances: Functions hosts with a handler each.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u8).range(1..=16))]
    instances: u8,
    /// Uses this handler executable instead of building one.
    #[arg(long, value_name = "PATH", conflicts_with = "app")]
    handler: Option<PathBuf>,
    /// Uses a staged app, such as target/functionapp, unchanged.
    #[arg(long, value_name = "DIR")]
    app: Option<PathBuf>,
}

impl WorldArguments {
    /// The options of the world; builds the handler if neither a handler nor an app is given.
    async fn world(self) -> anyhow::Result<world::Options> {
        let Self { storage, handler, app, .. } = self;
        let handler = match (handler, &app) {
            (Some(handler), _) => handler,
            (None, Some(_)) => PathBuf::new(),
            (None, None) => stage::build_async(&Build::default()).await?,
        };
        Ok(world::Options { handler, app, storage, ..world::Options::default() })
    }
}

#[derive(Args)]
struct UpArguments {
    #[command(flatten)]
    world: WorldArguments,
    /// The port on 127.0.0.1 for HTTP calls to the first instance; the others have the next ones. 0 chooses free ones.
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u16).range(..=65_520))]
    port: u16,
    /// Prints the log of hosts and handlers, each line behind its instance's name.
    #[arg(long)]
    log: bool,
}

#[derive(Subcommand)]
enum Command {
    /// Keeps everything running and prints what to try; Ctrl-C ends it.
    #[command(long_about = up::ABOUT, after_long_help = up::EXAMPLES)]
    Up(UpArguments),
    /// Runs the Dataverse and identity stand-ins alone, for `func start`.
    #[command(long_about = dataverse::ABOUT, after_long_help = dataverse::EXAMPLES)]
    Dataverse(dataverse::Arguments),
    /// Runs an app as `func start` does, on any storage, with nothing to install.
    #[command(long_about = functions_host::ABOUT, after_long_help = functions_host::EXAMPLES)]
    Host(functions_host::Arguments),
    /// Measures the handler; exits with 1 when a bound is broken.
    #[command(long_about = bench::ABOUT, after_long_help = bench::EXAMPLES)]
    Bench(bench::Arguments),
    /// Injects faults into the whole system and verifies every outcome.
    #[command(long_about = chaos::ABOUT, after_long_help = chaos::EXAMPLES)]
    Chaos(chaos::Arguments),
    /// Lays out target/functionapp for func; the same as `cargo stage`.
    #[command(long_about = stage::ABOUT, after_long_help = stage::EXAMPLES)]
    Stage(stage::Arguments),
}

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match run(arguments).await {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    progress::show();
    let Arguments { command, world, messages } = arguments;
    match command {
        None => {
            let (instances, mut screen) = (world.instances.into(), Screen::stdout());
            until_stopped(async { demo::run(world.world().await?, instances, messages, &mut screen).await }).await
        }
        Some(Command::Up(UpArguments { world, port, log })) => {
            let plan = up::Plan { instances: world.instances.into(), port, log };
            up::run(world.world(), plan).await.map(|()| ExitCode::SUCCESS)
        }
        Some(Command::Bench(arguments)) => until_stopped(bench::run(arguments)).await,
        Some(Command::Chaos(arguments)) => until_stopped(chaos::run(arguments)).await,
        Some(Command::Dataverse(arguments)) => dataverse::run(arguments).await.map(|()| ExitCode::SUCCESS),
        Some(Command::Host(arguments)) => functions_host::run(arguments).await.map(|()| ExitCode::SUCCESS),
        Some(Command::Stage(arguments)) => stage::run(arguments).map(|()| ExitCode::SUCCESS),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use sandbox::screen::WIDTH;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Arguments::command().debug_assert();
    }

    /// Clap folds paragraphs, but lists and commands only look right as they are written.
    #[test]
    fn every_help_is_written_for_80_columns() {
        fn check(command: &clap::Command) {
            let texts = [command.get_about(), command.get_long_about(), command.get_after_long_help()];
            for line in texts
                .into_iter()
                .flatten()
                .flat_map(|text| text.to_string().lines().map(str::to_owned).collect::<Vec<_>>())
            {
                assert!(line.chars().count() <= WIDTH, "{}: {line}", command.get_name());
            }
            command.get_subcommands().for_each(check);
        }
        check(&Arguments::command());
    }

    #[test]
    fn the_help_lists_every_benchmark() {
        let command = Arguments::command();
        let bench = command.find_subcommand("bench").expect("there are benchmarks");
        for benchmark in bench.get_subcommands() {
            assert!(bench::ABOUT.contains(&format!("\n  {} ", benchmark.get_name())), "{}", benchmark.get_name());
        }
    }
}
