//! The fence in a transaction that somebody else began, for PostgreSQL.
//!
//! `LOCK TABLE` takes no snapshot, so a transaction whose first statement this is sees all that passed the fence
//! before, at every level. Where it has a snapshot already (`REPEATABLE READ`, `SERIALIZABLE`), the row of the migration
//! is read by that one, and the procedure of its epoch is looked for in the catalogue as it is: where the two do not
//! meet, the snapshot is older than the last change of the position. A transaction without a number of its own has
//! neither written anything nor locked a row.

use std::fmt::Write as _;

use sqlx::PgConnection;

use crate::database::postgres::{NO_TRANSACTION, OURS, PostgresAdapter, has_code};
use crate::database::sealed::Adapter as _;
use crate::database::{Adoption, Pin, SqlValue};

const IN_FAILED_TRANSACTION: &str = "25P02";

pub(super) async fn take_fence(conn: &mut PgConnection, pins: &[Pin]) -> sqlx::Result<Adoption> {
    match PostgresAdapter::run(conn, "SAVEPOINT dualwrite_adopt").await {
        Ok(()) => {}
        Err(error) if has_code(&error, NO_TRANSACTION) => return Ok(Adoption::Ended),
        Err(error) if has_code(&error, IN_FAILED_TRANSACTION) => return Ok(Adoption::Ended),
        Err(error) => return Err(error),
    }
    let adopted = lock_and_look(conn, pins).await;
    let sql = match adopted {
        Ok(Adoption::Held) => held(pins),
        _ => "ROLLBACK TO SAVEPOINT dualwrite_adopt;RELEASE SAVEPOINT dualwrite_adopt".to_owned(),
    };
    PostgresAdapter::run_text(conn, sql).await?;
    adopted
}

async fn lock_and_look(conn: &mut PgConnection, pins: &[Pin]) -> sqlx::Result<Adoption> {
    let mut sql = String::new();
    for pin in pins {
        let fence = pin.fence;
        let _ = write!(sql, "LOCK TABLE ONLY dualwrite_fence_{fence} IN ROW EXCLUSIVE MODE;"); // a String takes all
    }
    PostgresAdapter::run_text(conn, sql).await?;
    for pin in pins {
        let fence = pin.fence;
        // Of a fence that this transaction holds already it may have written since.
        let sql = format!(
            "SELECT CASE WHEN fence = {fence} AND to_regprocedure('dualwrite_fence_' || fence || '_' || epoch || '_' \
             || token || '()') IS NOT NULL THEN 1::bigint ELSE 0::bigint END, \
             CASE WHEN txid_current_if_assigned() IS NULL \
             OR current_setting('dualwrite.adopted_{fence}', true) IS NOT DISTINCT FROM '1' \
             THEN 1::bigint ELSE 0::bigint END FROM dualwrite_migration WHERE name = ?"
        );
        let rows = PostgresAdapter::fetch(conn, &sql, &[SqlValue::from(&*pin.name)]).await?;
        // Where there is no such row, whoever reads the position says so.
        let Some(row) = rows.first() else { continue };
        if row.integer(1)? == 0 {
            return Ok(Adoption::Late);
        }
        if row.integer(0)? == 0 {
            return Ok(Adoption::Behind);
        }
    }
    Ok(Adoption::Held)
}

/// Both settings end with the transaction, and with a savepoint of the application's to which it goes back.
fn held(pins: &[Pin]) -> String {
    let mut sql = format!("RELEASE SAVEPOINT dualwrite_adopt;{OURS}");
    for pin in pins {
        let _ = write!(sql, ";SET LOCAL dualwrite.adopted_{}='1'", pin.fence); // a String takes all
    }
    sql
}
