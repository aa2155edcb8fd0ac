//! `dualwrite expand …`: whether everything new is there, and the files that make it.

use std::fmt::Write as _;

use clap::Subcommand;
use dualwrite::{expand::ExpandPlan, migration::ExpandReport, operator::Operator, printable};

use crate::answer::{Answer, Destination, Question, as_json, write, yes};
use crate::failure::Exit;

#[derive(Debug, Subcommand)]
pub(crate) enum Expand {
    /// Says whether everything new is there and can hold what old holds
    ///
    /// Exit codes: 0 it is; 1 something is missing, or it failed; 2 wrong arguments.
    Check(Question),
    /// Prints the statements that make what is missing, or writes them as migration files
    Plan {
        #[command(flatten)]
        question: Question,
        #[command(flatten)]
        destination: Destination,
    },
    /// Prints the statements that make new columns NOT NULL and give them defaults, once everything is copied
    ///
    /// Exit codes: 0 they can be applied; 1 something stands against that, and no file was written; 2 wrong arguments.
    Tighten {
        #[command(flatten)]
        question: Question,
        #[command(flatten)]
        destination: Destination,
    },
}

/// Does it.
pub(crate) async fn obey(operator: &Operator, command: Expand) -> Result<Answer, Exit> {
    match command {
        Expand::Check(Question { name, json }) => {
            let report = operator.expand(&name).check().await?;
            let text = if json { as_json(&report)? } else { checked(&report) };
            Ok(Answer { text, yes: report.is_ready() })
        }
        Expand::Tighten { question: Question { name, json }, destination } => {
            let plan = operator.expand(&name).tighten().await?;
            let yes = plan.by_hand.is_empty();
            let text = match (destination.into, destination.version) {
                (Some(folder), Some(version)) if yes => write(&plan.files(version), &folder)?,
                _ if json => as_json(&plan)?,
                _ => planned(&plan),
            };
            Ok(Answer { text, yes })
        }
        Expand::Plan { question: Question { name, json }, destination } => {
            let plan = operator.expand(&name).plan().await?;
            match (destination.into, destination.version) {
                (Some(folder), Some(version)) => {
                    let written = write(&plan.files(version), &folder)?;
                    Ok(yes(written + &by_hand(&plan)))
                }
                _ if json => as_json(&plan).map(yes),
                _ => Ok(yes(planned(&plan))),
            }
        }
    }
}

fn checked(report: &ExpandReport) -> String {
    let name = &report.migration;
    let mut text = match report.is_ready() {
        true => format!("{name}: both sides can be written\n"),
        false => format!("{name}: the new side is not ready\n"),
    };
    for finding in &report.findings {
        let _ = writeln!(text, "  {}", printable(&finding.to_string()));
    }
    text
}

fn planned(plan: &ExpandPlan) -> String {
    let mut text = String::new();
    if plan.statements.is_empty() {
        text.push_str("-- no statement is missing\n");
    }
    for statement in &plan.statements {
        let alone = if statement.no_transaction { "-- outside a transaction:\n" } else { "" };
        let _ = writeln!(text, "{alone}{};", statement.up);
    }
    text + &by_hand(plan)
}

fn by_hand(plan: &ExpandPlan) -> String {
    let lines = plan.by_hand.iter();
    lines.map(|finding| format!("-- by hand: {}\n", printable(&finding.to_string()))).collect()
}
