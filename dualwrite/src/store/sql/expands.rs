//! Expands in tables: what is declared, and what the catalogue says of it.

use futures_util::future::BoxFuture;

use super::{Conn, SqlControl};
use crate::control::expands::Expands;
use crate::database::sealed::Adapter as _;
use crate::database::{Backend, SqlRow};
use crate::error::{Error, ErrorKind, is_undefined_table};
use crate::expand::create::checks;
use crate::expand::declared::Expand;
use crate::expand::names::table_name;
use crate::expand::shape::{IndexDef, Known, NewShape, RuleDef};
use crate::preflight::live::{Live, SqlxRecord};
use crate::preflight::schema::{Table, TableName};
use crate::state::unknown_migration;

async fn read_shape<DB: Backend>(conn: &mut Conn<DB>, declared: &[&str]) -> sqlx::Result<NewShape> {
    let names: Vec<TableName> = declared.iter().map(|name| table_name(name)).collect();
    let found = DB::Adapter::catalogue(conn, &names).await?;
    let mut shape = NewShape::default();
    for (declared, table) in declared.iter().zip(found) {
        let known = match table {
            Some(table) => Some(known::<DB>(conn, table).await?),
            None => None,
        };
        shape.tables.push(((*declared).to_owned(), known));
    }
    Ok(shape)
}

async fn known<DB: Backend>(conn: &mut Conn<DB>, table: Table) -> sqlx::Result<Known> {
    let name = &table.name;
    let values = [name.schema.as_deref().unwrap_or_default().into(), name.name.as_str().into()];
    let (mut indexes, mut rules) = (Vec::new(), Vec::new());
    for row in &DB::Adapter::fetch(conn, DB::Adapter::TABLE_INDEXES, &values).await? {
        indexes.push(IndexDef {
            name: row.text(0)?.to_owned(),
            unique: row.integer(1)? == 1,
            valid: row.integer(2)? == 1,
            body: row.text(3)?.to_owned(),
        });
    }
    for row in &DB::Adapter::fetch(conn, DB::Adapter::TABLE_RULES, &values).await? {
        let text = row.text(2)?.trim_end_matches(" NOT VALID").to_owned();
        rules.push(RuleDef { name: row.text(0)?.to_owned(), valid: row.integer(1)? == 1, text });
    }
    if let Some(sql) = DB::Adapter::create_table(name).filter(|_| !table.is_view) {
        let rows = DB::Adapter::fetch(conn, &sql, &[]).await?;
        let text = rows.first().map(|row| row.optional_text(1)).transpose()?.flatten();
        rules.extend(checks(text.unwrap_or_default()));
    }
    Ok(Known { table, indexes, rules })
}

impl<DB: Backend> SqlControl<DB> {
    async fn expand_in(&self, name: &str) -> Result<Option<Expand>, Error> {
        let doing = "reading what is declared as new";
        let sql = "SELECT e.declared FROM dualwrite_migration m \
                   LEFT JOIN dualwrite_expand e ON e.migration = m.name WHERE m.name = ?";
        let rows = self.fetch(doing, sql, &[name.into()]).await?;
        let row = rows.first().ok_or_else(|| unknown_migration(name))?;
        let declared =
            row.optional_text(0).map_err(|error| Error::database(doing, error).of(name))?;
        let read = |text: &str| {
            serde_json::from_str(text).map_err(|_| {
                let message = "what is declared as new cannot be read; use the release of dualwrite that declared it";
                Error::new(ErrorKind::NewerControlTables, message).of(name)
            })
        };
        declared.map(read).transpose()
    }
}

impl<DB: Backend> Expands for SqlControl<DB> {
    fn declare_expand<'a>(
        &'a self,
        name: &'a str,
        expand: &'a Expand,
    ) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(async move {
            let declared = serde_json::to_string(expand).map_err(|_| {
                Error::new(ErrorKind::InvalidInput, "the expand is no JSON").of(name)
            })?;
            let sql = format!(
                "INSERT INTO dualwrite_expand (migration, declared) VALUES (?, ?){}",
                DB::Adapter::DIALECT.upsert("migration", &["declared"])
            );
            let values = [name.into(), declared.as_str().into()];
            self.execute("declaring what is new", &sql, &values).await.map(drop)
        })
    }

    fn expand<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<Option<Expand>, Error>> {
        Box::pin(self.expand_in(name))
    }

    fn live<'a>(&'a self, names: &'a [String]) -> BoxFuture<'a, Result<Live, Error>> {
        Box::pin(self.live_in(names))
    }

    fn sqlx_records(&self) -> BoxFuture<'_, Result<Vec<SqlxRecord>, Error>> {
        Box::pin(self.catalogue.within("reading what sqlx has applied", async {
            let sql = "SELECT version, CASE WHEN success THEN 1 + 0 * version ELSE 0 * version END \
                       FROM _sqlx_migrations ORDER BY version";
            let rows = match self.catalogue.lend().await?.fetch(sql, &[]).await {
                Err(error) if is_undefined_table(&error) => Vec::new(),
                rows => rows?,
            };
            let record = |row: &SqlRow| {
                Ok(SqlxRecord { version: row.integer(0)?, success: row.integer(1)? == 1 })
            };
            rows.iter().map(record).collect()
        }))
    }

    fn answers<'a>(&'a self, sql: &'a str) -> BoxFuture<'a, Result<bool, Error>> {
        Box::pin(async move {
            Ok(!self.catalogue.fetch("asking whether there are rows", sql, &[]).await?.is_empty())
        })
    }

    fn shape<'a>(&'a self, tables: &'a [&'a str]) -> BoxFuture<'a, Result<NewShape, Error>> {
        Box::pin(self.catalogue.within("reading what the new tables are", async {
            let mut lent = self.catalogue.lend().await?;
            lent.busy();
            let shape = read_shape::<DB>(&mut lent, tables).await;
            lent.ended(shape)
        }))
    }
}

#[cfg(test)]
#[cfg(all(feature = "postgres", feature = "mysql", feature = "sqlite"))]
mod tests {
    use crate::database::Backend;
    use crate::database::sealed::Adapter as _;
    use crate::expand::types::{Fit, fits};
    use crate::preflight::schema::Column;

    fn fit<DB: Backend>(declared: &str, has: &str) -> Fit {
        let column = Column { type_name: has.to_owned(), ..Column::default() };
        fits(declared, &column, &DB::Adapter::DIALECT)
    }

    #[test]
    fn a_type_is_the_same_in_every_spelling() {
        for (declared, has) in [
            ("int", "integer"),
            ("varchar(40)", "character varying(40)"),
            ("varchar(40)", "character varying(60)"),
            ("varchar(40)", "character varying"),
            ("decimal(10,2)", "numeric(10,2)"),
            ("timestamptz", "timestamp with time zone"),
            ("timestamp(3) with time zone", "timestamp(3) with time zone"),
            ("char", "character(1)"),
            ("int[]", "integer[]"),
            ("float8", "double precision"),
        ] {
            assert_eq!(fit::<sqlx::Postgres>(declared, has), Fit::Same, "{declared} {has}");
        }
        for (declared, has) in [
            ("int", "bigint"),
            ("varchar(40)", "character varying(20)"),
            ("text", "character varying(20)"),
            ("varchar", "character varying(20)"),
            ("int", "integer[]"),
            ("timestamptz", "timestamp without time zone"),
        ] {
            assert_eq!(fit::<sqlx::Postgres>(declared, has), Fit::Other, "{declared} {has}");
        }
        assert_eq!(fit::<sqlx::Postgres>("mood", "shop.mood"), Fit::Unknown);
        for (declared, has) in [
            ("INTEGER", "int(11)"),
            ("boolean", "tinyint(1)"),
            ("decimal", "decimal(10,0)"),
            ("int unsigned", "int(10) unsigned"),
            ("ENUM('a', 'b')", "enum('a','b')"),
            ("json", "longtext"),
        ] {
            assert_eq!(fit::<sqlx::MySql>(declared, has), Fit::Same, "{declared} {has}");
        }
        for (declared, has) in [("int", "int(10) unsigned"), ("enum('a','b')", "enum('a')")] {
            assert_eq!(fit::<sqlx::MySql>(declared, has), Fit::Other, "{declared} {has}");
        }
        assert_eq!(fit::<sqlx::Sqlite>("varchar(30)", "TEXT"), Fit::Same);
        assert_eq!(fit::<sqlx::Sqlite>("varchar(30)", "INTEGER"), Fit::Other);
    }
}
