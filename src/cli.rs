//! The command line: a contract, because others script against it.
//!
//! Data goes to stdout, everything else to stderr. Off a terminal success is silent unless `-v`, so that cron mails
//! nothing. The exit code is the gravest of what happened; [`Outcome`] and [`Error::exit_code`] say which.

use std::ffi::{OsStr, OsString};
use std::process::ExitCode;
use std::sync::Arc;

use clap::builder::styling::{AnsiColor, Effects};
use clap::builder::{Resettable, Styles};
use clap::{Arg, CommandFactory as _, FromArgMatches as _, Parser, Subcommand};

use crate::error::Error;
use crate::logging::Logging;

mod check;
mod confirm;
mod context;
mod db;
mod demo;
mod doctor;
mod get;
mod guards;
mod init;
mod metrics_file;
mod named;
mod options;
mod print;
mod progress;
mod prune;
mod publish;
mod purge;
mod releases;
mod report;
mod resume;
mod retire;
mod rollback;
mod schedule;
mod serve;
mod signals;
mod status;
mod table;
mod verify;

use context::Context;
use metrics_file::measured;
use options::{Color, Format, Global};
use signals::until_signal;

const STYLES: Styles = Styles::styled()
    .header(AnsiColor::Green.on_default().effects(Effects::BOLD))
    .usage(AnsiColor::Green.on_default().effects(Effects::BOLD))
    .literal(AnsiColor::Cyan.on_default().effects(Effects::BOLD))
    .placeholder(AnsiColor::Cyan.on_default());

const EXIT_CODES: &str = "\
Exit codes: 0 done, or nothing to do · 1 nothing committed and something failed · 2 usage, config, template or schedule invalid ·
3 a guard refused a template · 4 committed, but a template, some paths or the CDN are behind · 5 another publisher is committing,
or the schedule is running ·
10 plan --exit-code with changes · 130/143 interrupted";

/// Runs hot aggregation queries once and publishes the answers as gzipped JSON snapshots.
#[derive(Debug, Parser)]
#[command(name = "tintype", version, styles = STYLES, after_help = EXIT_CODES, propagate_version = true, max_term_width = 100)]
struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Write a config and three templates to start from, with a demo database unless --database names yours.
    Init(init::Init),
    /// Show the whole idea working: a demo database, published and served on this machine.
    Demo(demo::Demo),
    /// Check config and templates, and with a database every statement and its plan.
    Check(check::Check),
    /// Run the queries and show what a publish would change; writes nothing.
    Plan(publish::Plan),
    /// Build templates and publish what changed.
    Publish(publish::Publish),
    /// Publish chosen keys now, even if they didn't change.
    Republish(publish::Republish),
    /// Show an older release again, from the store alone.
    Rollback(rollback::Rollback),
    /// Finish what an interrupted publish has committed, from the store alone.
    Resume(resume::Resume),
    /// Show what is live, how old it is, and whether anything is unfinished.
    Status(status::Status),
    /// List releases, or show one.
    Releases(releases::Releases),
    /// Print documents.
    Get(get::Get),
    /// Compare what is at every stable path, or what readers get from the CDN, with the active release, and mend it.
    Verify(verify::Verify),
    /// Remove old releases and what no release needs any more.
    Prune(prune::Prune),
    /// Make the CDN's edges forget documents: all, some, or what they weren't told yet.
    Purge(purge::Purge),
    /// Answer what the CDN has not: from the store, the fallback table or the database, within its budget.
    Serve(serve::Serve),
    /// Publish when the schedules say so; a daemon, unless an option says otherwise.
    Schedule(schedule::Schedule),
    /// Look at the database's connections: how many there may be, who has them, whether tintype gets its own.
    Db(db::Db),
    /// Look whether store, database, templates and CDN do what a publish needs.
    Doctor(doctor::Doctor),
    /// Print a completion script for a shell.
    #[command(hide = true)]
    Completions {
        /// The shell.
        shell: clap_complete::Shell,
    },
    /// Print the manual page.
    #[command(hide = true)]
    Man,
}

impl Command {
    fn name(&self) -> &'static str {
        match self {
            Command::Init(_) => "init",
            Command::Demo(_) => "demo",
            Command::Check(_) => "check",
            Command::Plan(_) => "plan",
            Command::Publish(_) => "publish",
            Command::Republish(_) => "republish",
            Command::Rollback(_) => "rollback",
            Command::Resume(_) => "resume",
            Command::Status(_) => "status",
            Command::Releases(_) => "releases",
            Command::Get(_) => "get",
            Command::Verify(_) => "verify",
            Command::Prune(_) => "prune",
            Command::Purge(_) => "purge",
            Command::Serve(_) => "serve",
            Command::Schedule(_) => "schedule",
            Command::Db(db) => db.name(),
            Command::Doctor(_) => "doctor",
            Command::Completions { .. } => "completions",
            Command::Man => "man",
        }
    }
}

/// How a command ended that didn't end in an [`Error`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    /// Done, or nothing to do.
    Done,
    /// Nothing was committed, and something failed.
    Failed,
    /// A file is wrong.
    Invalid,
    /// A guard refused at least one template.
    Refused,
    /// Committed, but something is behind.
    Behind,
    /// Another publisher was in the way.
    Locked,
    /// A plan with changes, where that was asked for.
    Changes,
}

impl Outcome {
    fn exit_code(self) -> u8 {
        match self {
            Outcome::Done => 0,
            Outcome::Failed => 1,
            Outcome::Invalid => 2,
            Outcome::Refused => 3,
            Outcome::Behind => 4,
            Outcome::Locked => 5,
            Outcome::Changes => 10,
        }
    }
}

/// Parses the command line, runs the command, and reports how it ended.
pub fn main() -> ExitCode {
    let cli = match parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version come here too; clap knows which stream and which code each takes.
            let _ = error.print();
            if error.exit_code() != 0 && wants_json() {
                let shown = error.render().to_string();
                let message = shown.lines().next().unwrap_or_default().trim_start_matches("error: ").to_owned();
                let usage = Error::usage(message, "see `tintype --help`");
                print::json(&print::error_json("tintype", &usage));
            }
            return u8::try_from(error.exit_code()).map_or(ExitCode::from(2), ExitCode::from);
        }
    };
    print::set_color(cli.global.color);
    cli.global.show_config();
    if let Err(error) = start_logging(&cli.global) {
        if cli.global.format == Format::Json {
            print::json(&print::error_json(cli.command.name(), &error));
        }
        print::error(&error);
        return error.exit_code().into();
    }
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => {
            print::note(&format!("can't start: {error}"));
            return ExitCode::FAILURE;
        }
    };
    let name = cli.command.name();
    let has_parent = cli.global.stop_with_stdin;
    let context = Context::new(cli.global, name);
    let progress = Arc::clone(&context.progress);
    let command = Box::pin(run(&context, cli.command));
    let command = async { context.explained(command.await).await };
    let result = runtime.block_on(until_signal(&progress, has_parent, command));
    // Threads that still work on an interrupted build end with the process.
    runtime.shutdown_background();
    let lost = || {
        let reason = print::lost_output()?.to_owned();
        Some(Error::Local { action: "write to", object: "stdout".to_owned(), reason })
    };
    match result.and_then(|outcome| lost().map_or(Ok(outcome), Err)) {
        Ok(outcome) => outcome.exit_code().into(),
        Err(error) => {
            context.error(&error);
            error.exit_code().into()
        }
    }
}

fn parse() -> Result<Cli, clap::Error> {
    let mut command = without_empty_variables(Cli::command(), &|name| std::env::var_os(name));
    let mut matches = command.try_get_matches_from_mut(std::env::args_os())?;
    Cli::from_arg_matches_mut(&mut matches).map_err(|error| error.format(&mut command))
}

/// An empty environment variable counts as unset, as in the configuration; clap would take it for a value.
fn without_empty_variables(command: clap::Command, variable: &impl Fn(&OsStr) -> Option<OsString>) -> clap::Command {
    let unset = |argument: Arg| {
        let Some(name) = argument.get_env().filter(|name| variable(name).is_some_and(|value| value.is_empty())) else {
            return argument;
        };
        // The help goes on naming the variable.
        let help = argument.get_help().map(ToString::to_string).unwrap_or_default();
        let help = format!("{help} [env: {}=]", name.to_string_lossy());
        argument.env(Resettable::Reset).help(help)
    };
    command.mut_args(unset).mut_subcommands(|command| without_empty_variables(command, variable))
}

/// Whether the command line asks for JSON, as far as one can tell when it can't be understood.
fn wants_json() -> bool {
    let words: Vec<_> = std::env::args_os().collect();
    let pair = |pair: &[OsString]| pair[0] == "--format" && pair[1] == "json";
    words.windows(2).any(pair) || words.iter().any(|word| word == "--format=json")
}

fn start_logging(global: &Global) -> Result<(), Error> {
    let directives = std::env::var("TINTYPE_LOG").ok().filter(|text| !text.is_empty());
    crate::logging::start(Logging {
        verbosity: if global.quiet { -1 } else { i8::try_from(global.verbose).unwrap_or(2) },
        directives: directives.as_deref(),
        json: global.format == Format::Json,
        color: print::has_color(),
    })
}

async fn run(context: &Context, command: Command) -> Result<Outcome, Error> {
    match command {
        Command::Init(init) => init.run(context).await,
        Command::Demo(demo) => demo.run(context).await,
        Command::Check(check) => check.run(context).await,
        Command::Plan(plan) => plan.run(context).await,
        Command::Publish(publish) => {
            measured(context, publish.metrics.file.clone(), Box::pin(publish.run(context))).await
        }
        Command::Republish(republish) => {
            measured(context, republish.metrics.file.clone(), Box::pin(republish.run(context))).await
        }
        Command::Rollback(rollback) => {
            measured(context, rollback.metrics.file.clone(), Box::pin(rollback.run(context))).await
        }
        Command::Resume(resume) => resume.run(context).await,
        Command::Status(status) => status.run(context).await,
        Command::Releases(releases) => releases.run(context).await,
        Command::Get(get) => get.run(context).await,
        Command::Verify(verify) => Box::pin(verify.run(context)).await,
        Command::Prune(prune) => measured(context, prune.metrics.file.clone(), Box::pin(prune.run(context))).await,
        Command::Purge(purge) => purge.run(context).await,
        Command::Serve(serve) => Box::pin(serve.run(context)).await,
        Command::Schedule(schedule) => Box::pin(schedule.run(context)).await,
        Command::Db(db) => Box::pin(db.run(context)).await,
        Command::Doctor(doctor) => doctor.run(context).await,
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "tintype", &mut script);
            print::data(&script);
            Ok(Outcome::Done)
        }
        Command::Man => {
            let mut page = Vec::new();
            let rendered = clap_mangen::Man::new(Cli::command()).render(&mut page);
            rendered.map_err(|error| Error::Local {
                action: "write",
                object: "the manual page".to_owned(),
                reason: error.to_string(),
            })?;
            print::data(&page);
            Ok(Outcome::Done)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }

    #[test]
    fn an_empty_variable_is_unset_and_still_in_the_help() {
        let mut command = without_empty_variables(Cli::command(), &|_| Some(OsString::new()));
        command.build();
        let publish = command.find_subcommand_mut("publish").unwrap();
        assert!(publish.get_arguments().all(|argument| argument.get_env().is_none()));
        let help = publish.render_help().to_string();
        assert!(help.contains("TINTYPE_AUTHOR") && help.contains("TINTYPE_CONFIG"), "{help}");
    }
}
