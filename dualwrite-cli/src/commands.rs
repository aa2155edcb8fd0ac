//! The commands to one migration: subcommands made from the list that the page has, too.

use std::collections::HashMap;
use std::fs::File;
use std::io::Read as _;

use clap::builder::NonEmptyStringValueParser;
use clap::{Arg, ArgAction, ArgMatches};
use dualwrite::{
    Epoch,
    operator::{COMMANDS, Command, CommandOptions, CommandOutcome, CommandSpec, Operator},
};

use crate::UNREADABLE;
use crate::failure::Exit;

/// More than any command takes.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// Adds a subcommand for each command of the list.
pub(crate) fn with_commands(tool: clap::Command) -> clap::Command {
    COMMANDS.iter().fold(tool, |tool, spec| tool.subcommand(subcommand(spec)))
}

fn subcommand(spec: &'static CommandSpec) -> clap::Command {
    let own = spec.fields.iter().map(|field| {
        let argument = Arg::new(field.name).long(field.name).help(field.about);
        let argument = match field.is_text {
            true => argument
                .value_name("FILE")
                .help(format!("A file with {}, or `-` for standard input", field.about)),
            false => argument,
        };
        match field.is_flag {
            true => argument.action(ArgAction::SetTrue),
            false => argument.required(field.required),
        }
    });
    clap::Command::new(spec.name)
        .about(spec.about)
        .arg(Arg::new("migration").required(true).help("The migration"))
        .args(own)
        .arg(
            Arg::new("by")
                .long("by")
                .env("DUALWRITE_ACTOR")
                .required(true)
                .value_parser(NonEmptyStringValueParser::new())
                .help("Who gives the command, for the audit; at most 100 bytes"),
        )
        .arg(
            Arg::new("because")
                .long("because")
                .required(true)
                .value_parser(NonEmptyStringValueParser::new())
                .help("Why, for the audit"),
        )
        .arg(
            Arg::new("expect-epoch")
                .long("expect-epoch")
                .value_parser(clap::value_parser!(u64))
                .help("Only if nobody has moved the migration since this epoch"),
        )
        .arg(
            Arg::new("dry-run")
                .long("dry-run")
                .action(ArgAction::SetTrue)
                .help("Say what would happen, and what stands against it, and do nothing"),
        )
}

/// The command of these arguments, if it is one of the list.
pub(crate) fn find(matches: &ArgMatches) -> Option<(&'static CommandSpec, &ArgMatches)> {
    let (name, matches) = matches.subcommand()?;
    Some((COMMANDS.iter().find(|spec| spec.name == name)?, matches))
}

/// A command with what belongs to it.
pub(crate) struct Given {
    migration: String,
    command: Command,
    options: CommandOptions,
}

impl Given {
    /// Carries it out.
    pub(crate) async fn execute(&self, operator: &Operator) -> Result<CommandOutcome, Exit> {
        let Self { migration, command, options } = self;
        Ok(operator.command(migration, command, options).await?)
    }
}

/// Understands it, before anybody connects to a database.
pub(crate) fn parse(spec: &CommandSpec, matches: &ArgMatches) -> Result<Given, Exit> {
    let text = |name: &str| matches.get_one::<String>(name).cloned().unwrap_or_default();
    let field = |name: &str| {
        let field = spec.fields.iter().find(|field| field.name == name)?;
        match field.is_flag {
            true => Some(matches.get_flag(name).to_string()),
            false => matches.get_one::<String>(name).cloned(),
        }
    };
    let mut texts = HashMap::new();
    for text in spec.fields.iter().filter(|field| field.is_text) {
        if let Some(path) = matches.get_one::<String>(text.name) {
            texts.insert(text.name, read(path)?);
        }
    }
    let field = |name: &str| texts.get(name).cloned().or_else(|| field(name));
    let command = Command::parse(spec.name, field)?;
    let mut options = CommandOptions::new(text("by"), text("because"));
    options = options.dry_run(matches.get_flag("dry-run"));
    if let Some(epoch) = matches.get_one::<u64>("expect-epoch") {
        options = options.expecting(Epoch(*epoch));
    }
    Ok(Given { migration: text("migration"), command, options })
}

/// The text of a file, or of standard input.
fn read(path: &str) -> Result<String, Exit> {
    let mut text = String::new();
    let found = match path {
        "-" => std::io::stdin().take(FILE_BYTES_MAX).read_to_string(&mut text),
        path => {
            File::open(path).and_then(|file| file.take(FILE_BYTES_MAX).read_to_string(&mut text))
        }
    };
    let failed = |error| Exit { text: format!("cannot read `{path}`: {error}"), code: UNREADABLE };
    found.map(|_| text).map_err(failed)
}

/// In words.
pub(crate) fn described(outcome: &CommandOutcome) -> String {
    let dry = if outcome.dry_run { "dry run: " } else { "" };
    let mut text = format!("{dry}{}: {}\n", outcome.migration, outcome.text);
    for blocker in &outcome.blockers {
        text.push_str(&format!("  {blocker}\n"));
    }
    if let Some(way_back) = &outcome.way_back {
        text.push_str(&format!("  way back: {way_back}\n"));
    }
    text
}
