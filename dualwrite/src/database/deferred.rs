//! Constraints that the database judges as late as at COMMIT, past every savepoint: what is needed to judge those of one
//! table before, and to leave the transaction as it was.

use crate::database::sealed::Adapter;
use crate::database::{SqlRow, SqlValue};

/// What of one table may be judged as late as at COMMIT.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[doc(hidden)]
pub enum Deferred {
    #[default]
    Nothing,
    /// Constraints and constraint triggers that can be judged by name. Under a savepoint that is rolled back they
    /// are deferred again as they were, whatever the application has set, and what their triggers did is undone.
    Named(String),
    /// Queries that find what violates a foreign key among the rows of a key, which each binds so many times.
    Asked(Vec<(String, usize)>),
}

impl Deferred {
    /// Judges what a transaction has done to the rows of these keys. The error is the database's own, or of its
    /// kind; on PostgreSQL only going back to an earlier savepoint helps then.
    pub(crate) async fn judge<A: Adapter>(
        &self,
        conn: &mut <A::Db as sqlx::Database>::Connection,
        keys: &[Vec<SqlValue>],
    ) -> sqlx::Result<bool> {
        match self {
            Self::Nothing => Ok(true),
            Self::Named(names) => {
                let sql = format!(
                    "SAVEPOINT dualwrite_judge;SET CONSTRAINTS {names} IMMEDIATE;\
                     ROLLBACK TO SAVEPOINT dualwrite_judge;RELEASE SAVEPOINT dualwrite_judge"
                );
                A::run_text(conn, sql).await.map(|()| true)
            }
            Self::Asked(queries) => {
                for key in keys {
                    if is_violated::<A>(queries, conn, key).await? {
                        return Ok(false);
                    }
                }
                Ok(true)
            }
        }
    }
}

async fn is_violated<A: Adapter>(
    queries: &[(String, usize)],
    conn: &mut <A::Db as sqlx::Database>::Connection,
    key: &[SqlValue],
) -> sqlx::Result<bool> {
    for (sql, times) in queries {
        let values: Vec<SqlValue> = (0..*times).flat_map(|_| key.iter().cloned()).collect();
        let found: Vec<SqlRow> = A::fetch(conn, sql, &values).await?;
        if !found.is_empty() {
            return Ok(true);
        }
    }
    Ok(false)
}
