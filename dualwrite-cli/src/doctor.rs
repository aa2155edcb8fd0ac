//! `dualwrite doctor`: what hurts migrations in the running database.

use std::fmt::Write as _;
use std::time::Duration;

use clap::Args;
use dualwrite::{
    doctor::{DoctorLimits, DoctorReport},
    operator::Operator,
    printable,
};

use crate::answer::{Answer, as_json};
use crate::arguments::Output;
use crate::failure::Exit;

#[derive(Args, Debug)]
pub(crate) struct Doctor {
    /// Looks at the tables of this migration alone
    name: Option<String>,
    /// How long a transaction may be open
    #[arg(long, value_name = "TIME", default_value = "1m", value_parser = humantime::parse_duration)]
    transaction_limit: Duration,
    /// How long one may wait for a lock, up to 10s
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = wait)]
    wait_limit: Duration,
    /// By how much a replica may be behind
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = humantime::parse_duration)]
    lag_limit: Duration,
}

/// SQLite's file is tried for so long.
fn wait(text: &str) -> Result<Duration, String> {
    let time = humantime::parse_duration(text).map_err(|error| error.to_string())?;
    match time.is_zero() || time > Duration::from_secs(10) {
        true => Err("give a time of up to 10s, as `500ms`".to_owned()),
        false => Ok(time),
    }
}

/// Looks.
pub(crate) async fn examine(
    operator: &Operator,
    asked: Doctor,
    output: Output,
) -> Result<Answer, Exit> {
    let limits = DoctorLimits {
        transaction: asked.transaction_limit,
        wait: asked.wait_limit,
        lag: asked.lag_limit,
    };
    let report = operator.doctor(asked.name.as_deref(), &limits).await?;
    let text = match output {
        Output::Json => as_json(&report)?,
        Output::Text => as_text(&report),
    };
    Ok(Answer { text, yes: report.is_healthy() })
}

fn as_text(report: &DoctorReport) -> String {
    let mut text = String::new();
    for finding in &report.findings {
        let _ = writeln!(text, "{}", printable(&finding.to_string()));
    }
    if report.is_healthy() {
        text.push_str("nothing was found that has to be seen to\n");
    }
    let tables = match report.tables.as_slice() {
        [] => "none: no migration has declared any".to_owned(),
        tables => tables.join(", "),
    };
    let _ = writeln!(text, "tables: {}", printable(&tables));
    for hidden in &report.not_seen {
        let _ = writeln!(text, "not looked at: {}", printable(hidden));
    }
    text
}
