//! The executable `handler`: serves the Functions host until it is stopped, or runs a command for operators.
//!
//! Only this file reads the process environment.

mod serve;
mod stop;

use std::env::vars_os;
use std::num::NonZero;
use std::process::ExitCode;
use std::thread::available_parallelism;

use anyhow::Context as _;
use clap::{CommandFactory as _, Parser, Subcommand};
use clap_complete::{Shell, generate};
use dataverse_sync::dead_letters::command::Failure;
use dataverse_sync::http::install_tls;
use dataverse_sync::settings::environment::Environment;
use dataverse_sync::settings::{Lookup, Problem};
use dataverse_sync::terminal::{is_closed, print, say};
use dataverse_sync::{dead_letters, doctor, process_limits, send, settings_report, status, telemetry};
use mimalloc::MiMalloc;
use tokio::runtime::{Builder, Runtime};
use tokio_util::sync::CancellationToken;

/// A message makes some hundreds of small allocations; the C library's allocator would take a tenth of its time.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

/// The exit code for missing or wrong settings and arguments.
const EXIT_SETTINGS: u8 = 2;

/// Worker threads of the runtime: no Dataverse environment takes as many messages as these can send.
const MAX_WORKERS: usize = 8;

/// Longer lines of help are hard to read.
const MAX_HELP_WIDTH: usize = 120;

/// Writes records into Microsoft Dataverse, one writer per record at a time.
///
/// Without a command it serves: the Azure Functions host starts it that way and passes the port in FUNCTIONS_CUSTOMHANDLER_PORT.
#[derive(Parser)]
#[command(version, after_help = FIRST_STEPS, max_term_width = MAX_HELP_WIDTH)]
struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand)]
enum Command {
    Send(send::arguments::Arguments),
    DeadLetters(dead_letters::arguments::Arguments),
    Status(status::arguments::Arguments),
    Doctor(doctor::arguments::Arguments),
    Settings(settings_report::Arguments),
    /// Prints a completion script for a shell.
    #[command(after_help = COMPLETIONS)]
    Completions {
        /// The shell.
        shell: Shell,
    },
}

const FIRST_STEPS: &str = "\
Settings are environment variables: app settings in Azure, Values in local.settings.json for `func start`. DATAVERSE_URL and \
AzureWebJobsStorage are required; `handler settings` shows them all.

First steps:
  With nothing installed and no account:
    cargo sandbox
  With your own settings:
    handler settings
    handler doctor --table contacts
  By hand, without the Functions host:
    FUNCTIONS_CUSTOMHANDLER_PORT=8080 handler &
    curl http://127.0.0.1:8080/api/records -d \\
    '{\"table\":\"contacts\",\"key\":{\"employeeid\":\"E1\"},\"columns\":{\"lastname\":\"Li\"}}'

Exit codes: 0 done; 1 it failed; 2 wrong settings or arguments; 143 SIGTERM.";

const COMPLETIONS: &str = "\
Examples:
  handler completions bash > ~/.local/share/bash-completion/completions/handler
  handler completions zsh > ~/.zfunc/_handler   (a folder of $fpath)
  handler completions fish > ~/.config/fish/completions/handler.fish
  handler completions powershell >> $PROFILE";

fn main() -> ExitCode {
    run(Arguments::parse().command).unwrap_or_else(|error| {
        let is_closed = |cause: &(dyn std::error::Error + 'static)| cause.downcast_ref().is_some_and(is_closed);
        if !error.chain().any(is_closed) {
            say(&format!("error: {error:#}\n"));
        }
        ExitCode::FAILURE
    })
}

fn run(command: Option<Command>) -> anyhow::Result<ExitCode> {
    process_limits::apply();
    let Some(command) = command else {
        return Ok(runtime()?.block_on(serve::run(&Environment::new(vars_os()))));
    };
    let environment = Environment::for_command(vars_os());
    if let Some(notice) = environment.notice().filter(|_| command.shows_notice(&environment)) {
        say(&format!("note: {notice}\n"));
    }
    runtime()?.block_on(command.run(&environment))
}

fn runtime() -> anyhow::Result<Runtime> {
    let workers = available_parallelism().map_or(1, NonZero::get).min(MAX_WORKERS);
    let runtime = Builder::new_multi_thread().worker_threads(workers).enable_all().build();
    runtime.context("cannot start the runtime")
}

impl Command {
    async fn run(self, environment: &Environment) -> anyhow::Result<ExitCode> {
        match self.result(environment).await {
            Ok(is_good) => Ok(ExitCode::from(u8::from(!is_good))),
            Err(Failure::Settings(problems)) => Ok(print_problems(&problems, environment)),
            Err(failure @ Failure::Usage(_)) => {
                say(&format!("error: {failure}\n"));
                Ok(ExitCode::from(EXIT_SETTINGS))
            }
            Err(failure @ (Failure::Service(_) | Failure::Output(_))) => Err(failure.into()),
        }
    }

    async fn result(self, environment: &Environment) -> Result<bool, Failure> {
        let lookup = |name: &str| environment.get(name);
        match self {
            Self::Send(arguments) => send::command::run(arguments, &lookup, prepare(&lookup)?).await,
            Self::DeadLetters(arguments) => dead_letters::command::run(arguments, &lookup, prepare(&lookup)?).await,
            Self::Status(arguments) => status::command::run(&arguments, &lookup, prepare(&lookup)?).await,
            Self::Doctor(arguments) => {
                // Invalid settings are among the findings.
                if let Ok(settings) = telemetry::Settings::read(&lookup) {
                    telemetry::start_on_stderr(settings);
                }
                install_tls();
                Ok(doctor::command::run(&arguments, environment).await?)
            }
            Self::Settings(arguments) => Ok(settings_report::run(&arguments, environment)?),
            Self::Completions { shell } => print_completions(shell),
        }
    }

    /// Whether it says first if local.settings.json is read.
    fn shows_notice(&self, environment: &Environment) -> bool {
        match self {
            Self::Send(_) | Self::DeadLetters(_) | Self::Status(_) | Self::Doctor(_) => environment.may_read_file(),
            Self::Settings(_) => true,
            Self::Completions { .. } => false,
        }
    }
}

/// Starts the log of a command that uses the storage; returns what ends it early.
fn prepare(lookup: &Lookup<'_>) -> Result<CancellationToken, Failure> {
    telemetry::start_on_stderr(telemetry::Settings::read(lookup).map_err(Failure::Settings)?);
    install_tls();
    stop::token().map_err(|error| Failure::Service(format!("cannot listen for the shutdown signal: {error}")))
}

fn print_completions(shell: Shell) -> Result<bool, Failure> {
    let mut script = Vec::new();
    generate(shell, &mut Arguments::command(), "handler", &mut script);
    print(&String::from_utf8_lossy(&script))?;
    Ok(true)
}

fn print_problems(problems: &[Problem], environment: &Environment) -> ExitCode {
    let misspelt = environment.misspelt();
    let notice = environment.notice().filter(|_| !environment.may_read_file());
    say(&format!("error: {} of the settings cannot be used:\n", problems.len()));
    for line in problems.iter().chain(&misspelt) {
        say(&format!("  {line}\n"));
    }
    say(&notice.map(|notice| format!("note: {notice}\n")).unwrap_or_default());
    say("next: `handler settings` shows each setting with its value and what it is for\n");
    ExitCode::from(EXIT_SETTINGS)
}
