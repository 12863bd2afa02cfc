//! `cargo sandbox`: the main job on this machine with nothing else installed, and the parts of it to play with.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use sandbox::bench;
use sandbox::chaos;
use sandbox::demo;
use sandbox::stage::{self, Build};
use sandbox::world::{self, StorageKind};

mod up;

/// dataverse-sync on this machine, with stand-ins for everything that Azure would bring.
///
/// Without a command it shows the main job and checks it: the race in Dataverse's upsert, 2,000 messages through three
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
    /// Where locks and queues live; azurite needs Node and is started by itself.
    #[arg(long, value_enum, default_value_t)]
    storage: StorageKind,
    /// How many hosts run the handler side by side.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u8).range(1..=16))]
    instances: u8,
    /// A handler that is built already, instead of building it.
    #[arg(long, value_name = "PATH", conflicts_with = "app")]
    handler: Option<PathBuf>,
    /// An app that is staged already, such as target/functionapp, as it lies there.
    #[arg(long, value_name = "DIR")]
    app: Option<PathBuf>,
}

impl WorldArguments {
    /// What its hosts run; the handler is built where neither it nor an app is given.
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
    /// Keeps the world running and prints curl lines to play with; Ctrl-C ends it.
    Up(WorldArguments),
    /// Runs the Dataverse stand-in alone, for use with `func start`.
    Dataverse {
        /// The port on 127.0.0.1.
        #[arg(long, default_value_t = 7080)]
        port: u16,
    },
    /// Measures what the program promises in numbers; exits with 1 when a bound is broken.
    #[command(long_about = bench::ABOUT, after_long_help = bench::EXAMPLES)]
    Bench(bench::Arguments),
    /// Storms over the whole and compares what was sent with what became of it; exits with 1 on any difference.
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
            let world::Options { handler, app, storage, .. } = arguments.world.world()?;
            demo::tell(demo::Options { handler, app, instances, storage }).await
        }
        Some(Command::Up(world)) => {
            let instances = world.instances.into();
            up::up(world.world()?, instances).await.map(|()| true)
        }
        Some(Command::Bench(arguments)) => bench::run(arguments).await,
        Some(Command::Chaos(arguments)) => chaos::run(arguments).await,
        Some(Command::Dataverse { port }) => up::dataverse(port).await.map(|()| true),
        Some(Command::Stage(arguments)) => stage::run(arguments).map(|()| true),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_contradicts_itself_nowhere() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn every_benchmark_stands_in_the_help() {
        let command = Arguments::command();
        let bench = command.find_subcommand("bench").expect("there are benchmarks");
        for room in bench.get_subcommands() {
            assert!(bench::ABOUT.contains(&format!("\n  {} ", room.get_name())), "{}", room.get_name());
        }
    }
}
