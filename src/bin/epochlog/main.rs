//! The command-line program: parse, call the library, print. No logic that belongs into the library.
//!
//! Invariant: what was asked for goes to standard output and everything else to standard error; the exit code is 0 if
//! all went well, 1 if something was refused or damage was found, 2 if the command line was wrong. A reader that closes
//! the pipe ends the program quietly. Reading order: `args`, `open`, then the file named like the command.

mod args;
mod bytes;
mod consume;
mod consume_group;
mod demo;
mod demo_source;
mod failure;
mod format;
mod group;
mod hint;
mod json;
mod open;
mod output;
mod plan;
mod produce;
mod produce_input;
mod repair;
mod segment;
mod table;
mod time;
mod topic;
mod topic_describe;
mod verify;

use std::process::ExitCode;

use args::{Cli, Command};
use failure::{Failure, Outcome};

fn main() -> ExitCode {
    let cli = Cli::read();
    match run(&cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(&cli),
    }
}

fn run(cli: &Cli) -> Outcome {
    let context = open::Context::of(cli);
    let outcome = carry_out(&context, &cli.command);
    context.tell_later_recovery();
    outcome
}

fn carry_out(context: &open::Context<'_>, command: &Command) -> Outcome {
    match command {
        Command::Init => topic::init(context),
        Command::Topic { command } => topic::run(context, command),
        Command::Produce(args) => produce::run(context, args),
        Command::Consume(args) => consume::run(context, args),
        Command::Group { command } => group::run(context, command),
        Command::Segment { command } => segment::run(context, command),
        Command::Verify(args) => verify::run(context, args),
        Command::Repair(args) => repair::run(context, args),
        Command::Demo { path } => demo::run(context, path.as_deref()),
    }
}

/// Says something to the person on standard error. If nobody listens there, there is nobody to tell.
fn say(line: &str) {
    use std::io::Write as _;
    let _nobody_listens = writeln!(std::io::stderr(), "{line}");
}

/// A command line that clap couldn't know to be wrong.
fn usage(message: String) -> Failure {
    Failure::Usage(message)
}
