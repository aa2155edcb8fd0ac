//! What the running database says of tables, for whoever judges schema changes. It only reads.

use std::time::Duration;

use super::{Conn, SqlControl};
use crate::clock;
use crate::database::Backend;
use crate::database::sealed::Adapter as _;
use crate::error::{Error, ErrorKind};
use crate::expand::declared::table_name;
use crate::expand::spell::table as quoted;
use crate::preflight::live::{Live, LiveTable, SMALL_TABLE_ROWS};

/// How long a look at the catalogue may take, as a whole: of many tables it takes many statements, and one that somebody
/// has locked makes it wait.
const WITHIN: Duration = Duration::from_secs(30);

/// Reads within that time.
pub(super) async fn looked<T>(
    doing: &str,
    reading: impl Future<Output = sqlx::Result<T>>,
) -> Result<T, Error> {
    match clock::limit(WITHIN, reading).await {
        Ok(read) => read.map_err(|error| Error::database(doing, error)),
        Err(()) => {
            let message = format!(
                "{doing} took longer than {WITHIN:?}; look for a transaction that holds a lock on one of them, and try \
                 again"
            );
            Err(Error::new(ErrorKind::Timeout, message))
        }
    }
}

impl<DB: Backend> SqlControl<DB> {
    /// On a connection of the application's, for there may be no control tables.
    pub(super) async fn live_in(&self, names: &[String]) -> Result<Live, Error> {
        let reading = async {
            let mut conn = self.pool.acquire().await?;
            let mut live = Live::default();
            for name in names {
                live.tables.extend(one::<DB>(&mut conn, name).await?);
            }
            // Not everybody may ask.
            if let Some(sql) = DB::Adapter::REPLICAS
                && let Ok(rows) = DB::Adapter::fetch(&mut conn, sql, &[]).await
            {
                live.replicas = rows.first().and_then(|row| row.unsigned(0).ok());
            }
            Ok(live)
        };
        looked("looking at the tables", reading).await
    }
}

/// `None` where there is no such table.
async fn one<DB: Backend>(conn: &mut Conn<DB>, name: &str) -> sqlx::Result<Option<LiveTable>> {
    let own = table_name(name);
    let values = [own.schema.as_deref().unwrap_or_default().into(), own.name.as_str().into()];
    let rows = DB::Adapter::fetch(conn, DB::Adapter::TABLE_SIZE, &values).await?;
    let Some(row) = rows.first() else { return Ok(None) };
    let number = |column| {
        Ok::<_, sqlx::Error>(row.optional_integer(column)?.and_then(|n| u64::try_from(n).ok()))
    };
    let mut table = LiveTable {
        name: name.to_owned(),
        rows_estimated: number(0)?,
        bytes: number(1)?,
        written: number(2)?,
        ..LiveTable::default()
    };
    let from = quoted(name, &DB::Adapter::DIALECT);
    let limit = SMALL_TABLE_ROWS + 1;
    let sql = format!("SELECT count(*) FROM (SELECT 1 AS one FROM {from} LIMIT {limit}) some_rows");
    let counted = DB::Adapter::fetch(conn, &sql, &[]).await?;
    table.rows = counted.first().map(|row| row.unsigned(0)).transpose()?.unwrap_or_default();
    for row in &DB::Adapter::fetch(conn, DB::Adapter::FOREIGN_KEYS_TO, &values).await? {
        let other = row.text(0)?.to_owned();
        if !table.referenced_by.contains(&other) {
            table.referenced_by.push(other);
        }
    }
    Ok(Some(table))
}
