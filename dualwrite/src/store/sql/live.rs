//! What the running database says of tables, for whoever judges schema changes. It only reads.

use super::{Conn, SqlControl};
use crate::database::Backend;
use crate::database::sealed::Adapter as _;
use crate::error::Error;
use crate::expand::names::table_name;
use crate::expand::spell::table as quoted;
use crate::preflight::live::{Live, LiveTable, SMALL_TABLE_ROWS};

impl<DB: Backend> SqlControl<DB> {
    /// There may be no control tables.
    pub(super) async fn live_in(&self, names: &[String]) -> Result<Live, Error> {
        let reading = async {
            let mut lent = self.catalogue.lend().await?;
            lent.busy();
            let live = read_live::<DB>(&mut lent, names).await;
            lent.ended(live)
        };
        self.catalogue.within("reading how large the tables are", reading).await
    }
}

async fn read_live<DB: Backend>(conn: &mut Conn<DB>, names: &[String]) -> sqlx::Result<Live> {
    let mut live = Live::default();
    for name in names {
        live.tables.extend(one::<DB>(conn, name).await?);
    }
    // Not everybody may ask.
    if let Some(sql) = DB::Adapter::REPLICAS
        && let Ok(rows) = DB::Adapter::fetch(conn, sql, &[]).await
    {
        live.replicas = rows.first().and_then(|row| row.unsigned(0).ok());
    }
    Ok(live)
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
