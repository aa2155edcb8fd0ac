//! Doing what was asked for.

use dualwrite::operator::{COMMANDS, Operator};

use crate::arguments::{Command, Output};
use crate::connect::connect;
use crate::failure::Exit;
use crate::queries::answer;
use crate::show;

/// Does it, and answers with what is to be printed.
pub(crate) async fn obey(url: &str, command: Command, output: Output) -> Result<String, Exit> {
    let operator = connect(url).await?;
    view(&operator, &command, output).await
}

/// What took the place of `dualwrite backfill pause` and its like, which left no line in the audit.
pub(crate) fn replaced(given: &[String]) -> Exit {
    let order = given.first().map_or("", |order| order.as_str());
    let commands = COMMANDS.iter().map(|spec| spec.name);
    let known = commands.clone().find(|name| name.strip_prefix("backfill-") == Some(order));
    let instead = known.map_or_else(
        || commands.filter(|name| name.starts_with("backfill-")).collect::<Vec<_>>().join(", "),
        |name| format!("`dualwrite {name} MIGRATION --by WHO --because WHY`"),
    );
    Exit::wrong_use(format!(
        "there is no command `backfill` any more, because it left no line in the audit; give {instead}"
    ))
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
        Command::Backfill { .. }
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
