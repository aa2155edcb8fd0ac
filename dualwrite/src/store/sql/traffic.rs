//! The calls of each side by the minute in a SQL database: each instance adds what it counted.

use futures_util::future::BoxFuture;

use crate::control::traffic::{TRAFFIC_MINUTES, Traffic, TrafficSlot};
use crate::database::sealed::Adapter as _;
use crate::database::{Backend, Dialect, SqlRow, SqlValue};
use crate::error::Error;
use crate::observe::traffic::{CLASSES, SideTraffic};
use crate::stages::stage::Side;
use crate::store::sql::SqlControl;

const MINUTE_US: i64 = 60_000_000;
const KEPT_US: i64 = (TRAFFIC_MINUTES as i64 + 10) * MINUTE_US;

fn columns() -> Vec<String> {
    let durations = (0..CLASSES).map(|class| format!("h{class:02}"));
    ["calls", "errors"].map(str::to_owned).into_iter().chain(durations).collect()
}

/// One statement for both sides.
fn add(dialect: &Dialect, name: &str, sides: &[SideTraffic; 2]) -> (String, Vec<SqlValue>) {
    let columns = columns();
    let names: Vec<&str> = columns.iter().map(String::as_str).collect();
    let row = format!("(?, ?, {{now}} - {{now}} % {MINUTE_US}{})", ", ?".repeat(columns.len()));
    let (mut rows, mut values) = (Vec::new(), Vec::new());
    for (side, traffic) in [Side::New, Side::Old].into_iter().zip(sides.iter().rev()) {
        if traffic.calls == 0 {
            continue;
        }
        rows.push(row.as_str());
        values.extend([name.into(), side.as_str().into()]);
        values.extend([traffic.calls.into(), traffic.errors.into()]);
        values.extend(traffic.durations.map(SqlValue::from));
    }
    let sql = format!(
        "INSERT INTO dualwrite_traffic (migration, side, minute, {}) VALUES {}{}",
        names.join(", "),
        rows.join(", "),
        dialect.upsert_added("dualwrite_traffic", "migration, side, minute", &names),
    );
    (sql, values)
}

fn slot_of(row: &SqlRow) -> sqlx::Result<TrafficSlot> {
    let mut traffic =
        SideTraffic { calls: row.unsigned(2)?, errors: row.unsigned(3)?, ..SideTraffic::default() };
    for (class, count) in traffic.durations.iter_mut().enumerate() {
        *count = row.unsigned(4 + class)?;
    }
    let side = if row.text(0)? == "old" { Side::Old } else { Side::New };
    Ok(TrafficSlot { side, at: row.moment(1)?, traffic })
}

impl<DB: Backend> Traffic for SqlControl<DB> {
    fn add_traffic<'a>(
        &'a self,
        name: &'a str,
        sides: &'a [SideTraffic; 2],
        forget: bool,
    ) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(async move {
            let doing = "adding the calls of a minute";
            let (sql, values) = add(&DB::Adapter::DIALECT, name, sides);
            if !values.is_empty() {
                self.execute(doing, &sql, &values).await?;
            }
            if forget {
                let sql = format!(
                    "DELETE FROM dualwrite_traffic WHERE migration = ? AND minute < {{now}} - {KEPT_US}"
                );
                self.execute(doing, &sql, &[name.into()]).await?;
            }
            Ok(())
        })
    }

    fn traffic<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<Vec<TrafficSlot>, Error>> {
        Box::pin(async move {
            let doing = "reading the calls of the last hour";
            let since = i64::from(TRAFFIC_MINUTES) * MINUTE_US;
            let sql = format!(
                "SELECT side, minute, {} FROM dualwrite_traffic WHERE migration = ? \
                 AND minute > {{now}} - {since} ORDER BY minute, side",
                columns().join(", ")
            );
            let rows = self.fetch(doing, &sql, &[name.into()]).await?;
            let slots = rows.iter().map(slot_of).collect::<sqlx::Result<_>>();
            slots.map_err(|error| Error::database(doing, error).of(name))
        })
    }
}
