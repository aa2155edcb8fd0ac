//! The schema beside the control tables: what the catalogue says of old, and one statement that changes it.

use super::{Conn, SqlControl};
use crate::clock;
use crate::contract::declared::Contract;
use crate::contract::shape::{OldShape, OldTable, Reference, Trigger, View};
use crate::control::contracts::AlterLimits;
use crate::database::Backend;
use crate::database::sealed::Adapter as _;
use crate::error::{Error, ErrorKind, is_serialization};
use crate::preflight::schema::TableName;

const ALTERING: &str = "changing the schema";

pub(super) async fn read_shape<DB: Backend>(
    conn: &mut Conn<DB>,
    contract: &Contract,
) -> sqlx::Result<OldShape> {
    let mut names: Vec<(String, TableName)> = Vec::new();
    for object in contract.objects() {
        if !names.iter().any(|(declared, _)| *declared == object.table) {
            names.push((object.table.clone(), object.table_name()));
        }
    }
    let tables: Vec<TableName> = names.iter().map(|(_, name)| name.clone()).collect();
    let found = DB::Adapter::catalogue(conn, &tables).await?;
    let mut shape = OldShape::default();
    for ((declared, name), table) in names.into_iter().zip(found) {
        let values = [name.schema.as_deref().unwrap_or_default().into(), name.name.as_str().into()];
        let rows = DB::Adapter::fetch(conn, DB::Adapter::FOREIGN_KEYS_TO, &values).await?;
        let mut references = Vec::with_capacity(rows.len());
        for row in &rows {
            references.push(Reference {
                table: row.text(0)?.to_owned(),
                name: row.text(1)?.to_owned(),
                column: row.text(2)?.to_owned(),
            });
        }
        let mut indexed = Vec::new();
        if let Some(sql) = DB::Adapter::INDEXED_COLUMNS {
            for row in &DB::Adapter::fetch(conn, sql, &values).await? {
                indexed.push((row.text(0)?.to_owned(), row.text(1)?.to_owned()));
            }
        }
        shape.tables.push(OldTable { declared, table, references, indexed });
    }
    for row in &DB::Adapter::fetch(conn, DB::Adapter::VIEWS, &[]).await? {
        let text = row.optional_text(1)?.unwrap_or_default().to_owned();
        shape.views.push(View { name: row.text(0)?.to_owned(), text });
    }
    for row in &DB::Adapter::fetch(conn, DB::Adapter::TRIGGERS, &[]).await? {
        let (name, table) = (row.text(0)?.to_owned(), row.text(1)?.to_owned());
        let text = row.optional_text(2)?.unwrap_or_default().to_owned();
        shape.triggers.push(Trigger { name, table, text });
    }
    Ok(shape)
}

impl<DB: Backend> SqlControl<DB> {
    /// On a connection of its own, which is closed afterwards; in a database in memory, on one of the application's.
    pub(super) async fn alter_in(&self, sql: &str, limits: AlterLimits) -> Result<bool, Error> {
        let source = DB::Adapter::control_source(&self.pool, limits.statement);
        let altering = clock::limit(limits.statement, async {
            match &source {
                Some(source) => {
                    let mut conn = source.acquire().await?.detach();
                    for setting in DB::Adapter::alter_settings(limits.lock, limits.statement) {
                        DB::Adapter::run_text(&mut conn, setting).await?;
                    }
                    DB::Adapter::run_text(&mut conn, sql.to_owned()).await
                }
                None => {
                    let mut conn = self.pool.acquire().await?;
                    DB::Adapter::run_text(&mut conn, sql.to_owned()).await
                }
            }
        });
        match altering.await {
            Ok(Ok(())) => Ok(true),
            Ok(Err(error)) if DB::Adapter::is_lock_timeout(&error) || is_serialization(&error) => {
                Ok(false)
            }
            Ok(Err(error)) => Err(Error::database(ALTERING, error)),
            Err(()) => {
                let message = format!(
                    "a statement that changes the schema did not end within {:?}; look whether the server still runs \
                     it",
                    limits.statement
                );
                Err(Error::new(ErrorKind::Timeout, message))
            }
        }
    }
}
