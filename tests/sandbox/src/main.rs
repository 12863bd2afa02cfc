//! `cargo sandbox`: the main job on this machine with nothing else installed, and its parts for experiments.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use sandbox::stage::{self, Build};
use sandbox::world::{self, StorageKind};
use sandbox::{bench, chaos, demo, functions_host};

mod up;

/// dataverse-sync on this machine, with stand-ins for the Azure services.
///
/// Without a command it demonstrates the main job and checks it: the race in Dataverse's upsert, 2,000 messages through three
/// instances without locks and with them, HTTP calls, and a dead letter. It takes less than a minute after the build and
/// exits with 1 when a claim does not hold.
#[derive(Parser)]
#[command(name = "cargo sandbox", bin_name = "cargo sandbox", version, args_conflicts_with_subcommands = true)]
struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    world: WorldArguments,
}

#[derive(Args)]
struct WorldArguments {
    /// The storage of locks and queues; azurite needs Node and is started automatically.
    #[arg(long, value_enum, default_value_t)]
    storage: StorageKind,
    /// The number of hosts with a handler each.
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
    fn world(self) -> anyhow::Result<world::Options> {
        let Self { storage, handler, app, .. } = self;
        let handler = match (handler, &app) {
            (Some(handler), _) => handler,
            (None, Some(_)) => PathBuf::new(),
            (None, None) => stage::build(&Build::default())?,
        };
        Ok(world::Options { handler, app, storage, ..world::Options::default() })
    }
}

#[derive(Subcommand)]
enum Command {
    /// Keeps hosts and stand-ins running and prints curl commands; Ctrl-C ends it.
    Up(WorldArguments),
    /// Runs the Dataverse stand-in alone, for use with `func start`.
    Dataverse {
        /// The port on 127.0.0.1.
        #[arg(long, default_value_t = 7080)]
        port: u16,
    },
    /// Runs an app on the Functions host's stand-in, against any storage; the same as `func start`, with nothing to install.
    #[command(long_about = functions_host::ABOUT, after_long_help = functions_host::EXAMPLES)]
    Host(functions_host::Arguments),
    /// Measures the handler; exits with 1 when a bound is broken.
    #[command(long_about = bench::ABOUT, after_long_help = bench::EXAMPLES)]
    Bench(bench::Arguments),
    /// Injects faults into the whole system and verifies every outcome; exits with 1 on any difference.
    #[command(long_about = chaos::ABOUT, after_long_help = chaos::EXAMPLES)]
    Chaos(chaos::Arguments),
    /// Builds the handler for release and lays out target/functionapp for func; the same as `cargo stage`.
    #[command(long_about = stage::ABOUT, after_long_help = stage::EXAMPLES)]
    Stage(stage::Arguments),
}

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match run(arguments).await {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(arguments: Arguments) -> anyhow::Result<bool> {
    match arguments.command {
        None => {
            let instances = arguments.world.instances.into();
            demo::run(arguments.world.world()?, instances, demo::MESSAGES).await
        }
        Some(Command::Up(world)) => {
            let instances = world.instances.into();
            up::up(world.world()?, instances).await.map(|()| true)
        }
        Some(Command::Bench(arguments)) => bench::run(arguments).await,
        Some(Command::Chaos(arguments)) => chaos::run(arguments).await,
        Some(Command::Dataverse { port }) => up::dataverse(port).await.map(|()| true),
        Some(Command::Host(arguments)) => functions_host::run(arguments).await.map(|()| true),
        Some(Command::Stage(arguments)) => stage::run(arguments).map(|()| true),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Arguments::command().debug_assert();
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
