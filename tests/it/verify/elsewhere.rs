//! New on another server of the same kind: hashes of chunks, and what differs in them.

use std::collections::BTreeMap;
use std::marker::PhantomData;

use dualwrite::verify::KeyDifferenceKind::{Different, MissingInNew, MissingInOld};
use dualwrite::{BoxError, Copied, CopyKeys, Mapping, Runtime, Stage, Tx, copy::KeySource};

use super::people::People;
use crate::support::db::{Scratch, on_all_databases};

struct CopyOver<D: People> {
    there: sqlx::Pool<D::Db>,
    database: PhantomData<D>,
}

impl<D: People> CopyKeys for CopyOver<D> {
    type Database = D::Db;
    type Key = i64;

    fn source(&self) -> KeySource {
        KeySource::table("place").column("id")
    }

    fn mapping(&self) -> Option<Mapping<D::Db>> {
        let there = KeySource::table("spot").column("id");
        let mapping = Mapping::new().column("a", "a").column("b", "c");
        Some(mapping.new_on(self.there.clone(), there))
    }

    async fn copy(&self, tx: &mut Tx<'_, D::Db>, keys: &[i64]) -> Result<Copied, BoxError> {
        let mut copied = Copied::default();
        for id in keys {
            let delete = format!("DELETE FROM spot WHERE id = {id}");
            D::execute(&self.there, &delete).await?;
            let sql = format!("SELECT a, b FROM place WHERE id = {id}");
            for row in D::read(tx, &sql).await? {
                let quoted = |value: &Option<String>| {
                    value.as_ref().map_or("NULL".to_owned(), |value| format!("'{value}'"))
                };
                let values: Vec<String> = row.iter().map(quoted).collect();
                let sql = format!("INSERT INTO spot VALUES ({id}, {})", values.join(", "));
                D::execute(&self.there, &sql).await?;
                copied.migrated += 1;
            }
        }
        Ok(copied)
    }
}

const ROWS: u32 = 2_600;

async fn fill<D: People>(db: &Scratch<D>, table: &str, last: &str) {
    let text = "VARCHAR(60)";
    db.execute(&format!("CREATE TABLE {table} (id BIGINT PRIMARY KEY, a {text}, {last} {text})"))
        .await;
    let rows: Vec<String> = (1..=ROWS)
        .map(|id| format!("({id}, 'a {id}', {})", if id % 2 == 0 { "NULL" } else { "'x'" }))
        .collect();
    db.execute(&format!("INSERT INTO {table} VALUES {}", rows.join(", "))).await;
}

async fn another_server_is_compared_by_hashes<D: People>(db: Scratch<D>) {
    let Some(there) = D::fresh("verify::elsewhere::there").await else { return };
    fill(&db, "place", "b").await;
    fill(&there, "spot", "c").await;
    let runtime = Runtime::builder(db.pool().clone()).start().await.unwrap();
    let copy = CopyOver::<D> { there: there.pool().clone(), database: PhantomData };
    let migration = runtime.migration("places").backfill(copy).register().await.unwrap();
    migration.advance(Stage::DualWrite).await.unwrap();
    let report = migration.verify().run().await.unwrap();
    assert_eq!((report.compared, report.proven), (u64::from(ROWS), true));

    let planted = [
        ("DELETE FROM spot WHERE id = 1", "1", MissingInNew, &[][..]),
        ("DELETE FROM spot WHERE id = 2600", "2600", MissingInNew, &[]),
        ("INSERT INTO spot VALUES (0, 'a', NULL)", "0", MissingInOld, &[]),
        ("INSERT INTO spot VALUES (9000, 'a', NULL)", "9000", MissingInOld, &[]),
        ("UPDATE spot SET a = 'A 3' WHERE id = 3", "3", Different, &["a"]),
        ("UPDATE spot SET a = 'a 5 ' WHERE id = 5", "5", Different, &["a"]),
        ("UPDATE spot SET c = '' WHERE id = 1400", "1400", Different, &["b"]),
        ("UPDATE spot SET c = '<null>' WHERE id = 1402", "1402", Different, &["b"]),
        ("UPDATE spot SET c = 'N' WHERE id = 1404", "1404", Different, &["b"]),
        ("UPDATE spot SET c = 'NULL' WHERE id = 1406", "1406", Different, &["b"]),
        // Two rows that exchange what they say: their hashes must not cancel out.
        ("UPDATE spot SET a = 'a 2002' WHERE id = 2001", "2001", Different, &["a"]),
        ("UPDATE spot SET a = 'a 2001' WHERE id = 2002", "2002", Different, &["a"]),
    ];
    for (sql, ..) in planted {
        there.execute(sql).await;
    }
    db.execute("UPDATE place SET a = 'a|b', b = 'c' WHERE id = 2501").await;
    there.execute("UPDATE spot SET a = 'a', c = 'b|c' WHERE id = 2501").await;
    let mut expected: BTreeMap<_, _> = planted
        .iter()
        .map(|(_, key, kind, fields)| ((*key).to_owned(), (*kind, fields.to_vec())))
        .collect();
    expected.insert("2501".to_owned(), (Different, vec!["a", "b"]));
    for batch in [10_000, 700] {
        let report = migration.verify().batch(batch).run().await.unwrap();
        let found: BTreeMap<_, _> = report
            .differences
            .iter()
            .map(|found| {
                let fields = found.fields.iter().map(String::as_str).collect();
                (found.key.clone(), (found.kind, fields))
            })
            .collect();
        assert_eq!(found, expected);
    }

    let would = migration.verify().repair().dry_run().await.unwrap();
    assert_eq!((would.copied, would.removed, would.failed), (11, 2, 0), "{would:?}");
    assert_eq!(migration.verify().run().await.unwrap().differing, 13, "nothing was written");
    let did = migration.verify().repair().run().await.unwrap();
    assert_eq!((did.copied, did.removed, did.failed), (11, 2, 0), "{did:?}");
    assert!(migration.verify().run().await.unwrap().proven);
}

on_all_databases!(another_server_is_compared_by_hashes);
