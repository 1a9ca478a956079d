//! The command line: one file a command. Exit 0: done; 1: refused or failed; 2: misused.

pub mod call;
mod check;
mod demo;
pub mod phone;
mod serve;
pub mod sound;

use crate::config::Settings;
use crate::form::Mistake;
use clap::{CommandFactory, Parser, Subcommand};
use std::path::PathBuf;
use std::process::ExitCode;

/// A SIP/RTP audio-conferencing bridge with metering built in.
#[derive(Parser)]
#[command(name = "tollbridge", version, about, max_term_width = 100)]
struct Arguments {
    /// Settings file; without it the defaults, the environment, and an embedded store with the demo's data
    #[arg(long, global = true, value_name = "FILE", env = "TOLLBRIDGE_CONFIG")]
    config: Option<PathBuf>,
    /// Machine-readable output
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand)]
enum Command {
    /// Run the bridge (the default)
    Serve,
    /// Check the settings and tell all mistakes at once
    Check,
    /// Be a caller: for trying a trunk, and for sizing
    Call(Box<call::Call>),
    /// See the main job done, and checked: calls, sound, prices, books
    Demo(demo::Demo),
    /// Print the completion script of a shell
    Completion { shell: clap_complete::Shell },
}

/// What every command is given.
pub(crate) struct Context {
    pub settings: Settings,
    /// The file that the settings came from.
    pub config: Option<PathBuf>,
    pub json: bool,
}

/// Why a command did not do it, in words for the person who typed it.
#[derive(Debug)]
pub(crate) struct Failure(pub String);

impl<E: std::fmt::Display> From<E> for Failure {
    fn from(error: E) -> Failure {
        Failure(error.to_string())
    }
}

pub(crate) type Done = Result<(), Failure>;

pub fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let settings = match Settings::load(arguments.config.as_deref(), std::env::vars()) {
        Ok(settings) => settings,
        Err(mistakes) => return tell_mistakes(&mistakes),
    };
    let context = Context { settings, config: arguments.config, json: arguments.json };
    match run(arguments.command, &context) {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure(why)) => {
            eprintln!("tollbridge: {why}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: Option<Command>, context: &Context) -> Done {
    match command {
        None | Some(Command::Serve) => wait_for(serve::run(context)),
        Some(Command::Check) => check::run(context),
        Some(Command::Call(call)) => wait_for(call.run(context)),
        Some(Command::Demo(demo)) => wait_for(demo.run(context)),
        Some(Command::Completion { shell }) => {
            clap_complete::generate(shell, &mut Arguments::command(), "tollbridge", &mut std::io::stdout());
            Ok(())
        }
    }
}

/// Runs a command that talks over a network.
fn wait_for(work: impl Future<Output = Done>) -> Done {
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(work)
}

pub(crate) fn tell_mistakes(mistakes: &[Mistake]) -> ExitCode {
    for mistake in mistakes {
        eprintln!("{mistake}");
    }
    let count = mistakes.len();
    eprintln!("tollbridge: {count} mistake{}; nothing was done", if count == 1 { "" } else { "s" });
    ExitCode::FAILURE
}
