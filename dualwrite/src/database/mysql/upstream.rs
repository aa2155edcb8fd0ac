//! Whom a replica of MySQL or MariaDB follows, and how far it is behind. No table says that on all versions.

use sqlx::mysql::MySqlRow;
use sqlx::{Column, MySqlConnection, Row};

use super::decode;
use crate::database::{SqlValue, Upstream};
use crate::error::is_lost;

/// MariaDB has the first, for all that it follows at once; MySQL the second.
const STATEMENTS: [&str; 2] = ["SHOW ALL SLAVES STATUS", "SHOW REPLICA STATUS"];

pub(super) async fn upstreams(conn: &mut MySqlConnection) -> sqlx::Result<Vec<Upstream>> {
    let mut refused = None;
    for sql in STATEMENTS {
        match sqlx::raw_sql(sql).fetch_all(&mut *conn).await {
            Ok(rows) => return rows.iter().map(upstream).collect(),
            Err(error) if is_lost(&error) => return Err(error),
            // The first says more than the second of a right that is missing.
            Err(error) => refused = refused.or(Some(error)),
        }
    }
    refused.map_or(Ok(Vec::new()), Err)
}

fn upstream(row: &MySqlRow) -> sqlx::Result<Upstream> {
    let values = decode(row, row.len())?.0;
    let at = |names: [&str; 2]| {
        row.columns().iter().position(|column| names.contains(&column.name())).map(|at| &values[at])
    };
    let number = |names| match at(names) {
        Some(SqlValue::Integer(number)) => number.and_then(|number| u64::try_from(number).ok()),
        Some(SqlValue::Text(Some(text))) => text.parse().ok(),
        _ => None,
    };
    let host = match at(["Master_Host", "Source_Host"]) {
        Some(SqlValue::Text(Some(host))) => host.clone(),
        _ => "its primary".to_owned(),
    };
    let port = number(["Master_Port", "Source_Port"]).map(|port| format!(":{port}"));
    Ok(Upstream {
        host: host + &port.unwrap_or_default(),
        behind_s: number(["Seconds_Behind_Master", "Seconds_Behind_Source"]),
    })
}
