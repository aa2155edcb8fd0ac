//! Doing what was asked for.

use dualwrite::Operator;

use crate::arguments::{Command, Order, Output, Rate, Which};
use crate::connect::connect;
use crate::failure::Exit;
use crate::queries::answer;
use crate::show;

/// Does it, and answers with what is to be printed.
pub(crate) async fn obey(url: &str, command: Command, output: Output) -> Result<String, Exit> {
    let operator = connect(url).await?;
    match command {
        Command::Backfill(order) => give(&operator, order).await,
        command => view(&operator, &command, output).await,
    }
}

/// What a view shows.
pub(crate) async fn view(
    operator: &Operator,
    command: &Command,
    output: Output,
) -> Result<String, Exit> {
    match command {
        Command::Status { name, json } => {
            status(operator, name.as_deref(), *json || output == Output::Json).await
        }
        Command::Query(query) => answer(operator, query.clone(), output).await,
        // Answered without a database.
        Command::Schema(_) | Command::Completions { .. } => Ok(String::new()),
        Command::Backfill(_)
        | Command::Contract(_)
        | Command::Doctor(_)
        | Command::Removal(_)
        | Command::Expand(_) => Ok(String::new()), // answers by its exit code, too
    }
}

async fn status(operator: &Operator, name: Option<&str>, json: bool) -> Result<String, Exit> {
    let failed = |error: serde_json::Error| Exit::other(format!("this cannot be JSON: {error}"));
    let text = match name {
        Some(name) => {
            let found = operator.migration(name).await?;
            if json { serde_json::to_string_pretty(&found) } else { Ok(show::migration(&found)) }
        }
        None => {
            let found = operator.migrations().await?;
            if json { serde_json::to_string_pretty(&found) } else { Ok(show::migrations(&found)) }
        }
    };
    Ok(format!("{}\n", text.map_err(failed)?.trim_end()))
}

async fn give(operator: &Operator, order: Order) -> Result<String, Exit> {
    let of = |which: &Which| (which.name.clone(), which.reverse);
    let (name, reverse) = match &order {
        Order::Start { which, .. } | Order::Rate { which, .. } => of(which),
        Order::Pause(which) | Order::Resume(which) | Order::Cancel(which) => of(which),
    };
    let backfill = operator.backfill(&name);
    let backfill = if reverse { backfill.reverse() } else { backfill };
    let side = if reverse { "old" } else { "new" };
    // What is done, and, where nothing took the order, why and what to do.
    let (taken, done, nothing) = match order {
        Order::Start { by, because, workers, rate, .. } => (
            backfill.workers(workers).rate(rate).start(&by, &because).await?,
            "started; `dualwrite status` shows who runs it, and what it waits for",
            "was started already and has not ended; change its rate, or cancel it first",
        ),
        Order::Pause(_) => (
            backfill.pause().await?,
            "paused; it goes on with `dualwrite backfill resume`",
            "does not run; start it, or see in `dualwrite status` whether it is complete",
        ),
        Order::Resume(_) => (
            backfill.resume().await?,
            "may go on; whoever runs it does so within a second, and where nobody does, start it",
            "is not paused, and nobody runs it; start it, also where it was cancelled",
        ),
        Order::Cancel(_) => (
            backfill.cancel().await?,
            "cancelled; what is copied stays copied",
            "is not under way; there is nothing to end",
        ),
        Order::Rate { rate: Rate(keys), .. } => (
            backfill.set_rate(keys).await?,
            "has its new rate",
            "is not under way; start it with --rate",
        ),
    };
    let described = |what: &str| format!("the backfill of `{name}` toward {side} {what}");
    if taken {
        Ok(format!("{}\n", described(done)))
    } else {
        Err(Exit::refused(described(nothing)))
    }
}
