//! Texts of users inside statements of the library: what looks like a place for a value, or like the clock, stays what
//! it is.

use dualwrite::{CopySql, DualTable as _, ErrorKind, Mapping, Runtime, Stage, copy::KeySource};

use crate::support::db::{Scratch, on_all_databases};
use crate::support::sql::Sql;

on_all_databases!(
    what_a_text_says_is_written_as_it_stands,
    expressions_of_a_mapping_hold_what_they_like,
    expressions_of_a_derived_copy_hold_what_they_like,
    a_place_for_a_value_is_refused_by_name,
);

async fn tables<D: Sql>(db: &Scratch<D>, rows: i64) {
    db.execute(
        "CREATE TABLE old_text (id BIGINT PRIMARY KEY, word VARCHAR(80) NOT NULL);
         CREATE TABLE new_text (id BIGINT PRIMARY KEY, word VARCHAR(80) NOT NULL)",
    )
    .await;
    for id in 1..=rows {
        db.execute(&format!("INSERT INTO old_text VALUES ({id}, 'w{id}')")).await;
    }
}

fn source<D: Sql>() -> CopySql<D::Db, i64> {
    CopySql::new(KeySource::table("old_text").column("id"))
        .new_source(KeySource::table("new_text").column("id"))
}

async fn what_a_text_says_is_written_as_it_stands<D: Sql>(db: Scratch<D>) {
    tables(&db, 3).await;
    // Literals with braces, the clock's name and places; comments; operators; quoted names.
    let copy = source::<D>()
        .copying(D::sql(
            "INSERT INTO new_text (id, word) /* ? {{now}} $1 */ \
             SELECT r.id, r.word || ' {{now}} ? $1 :x' || (json_extract('{{\"a\":\"?\"}}', '$.a')) \
             FROM {rows} r WHERE true ON CONFLICT (id) DO UPDATE SET \"word\" = excluded.word -- ?",
            "INSERT INTO new_text (id, word) /* ? {{now}} /* $1 */ */ \
             SELECT r.id, r.word || ' {{now}} ? $1 :x' || $t$?$t$ FROM {rows} r \
             WHERE '{{\"a\":1}}'::jsonb ? 'a' AND '{{\"a\":1}}'::jsonb ?| ARRAY['a', '$2'] \
             ON CONFLICT (id) DO UPDATE SET \"word\" = excluded.word -- ?",
            "INSERT INTO new_text (id, word) /* ? {{now}} $1 */ \
             SELECT r.id, CONCAT(r.word, ' {{now}} ? $1 :x', '?') FROM {rows} r \
             ON DUPLICATE KEY UPDATE `word` = VALUES(word) # ?",
        ))
        .removing(
            "DELETE FROM new_text WHERE {id} AND word <> '?' \
             AND NOT EXISTS (SELECT 1 FROM old_text o WHERE o.id = new_text.id)",
        );
    let runtime = Runtime::builder(db.pool().clone()).start().await.unwrap();
    let migration = runtime.migration("texts").backfill(copy).register().await.unwrap();
    migration.advance(Stage::DualWrite).await.unwrap();
    let done = migration.backfill().run().await.unwrap();
    assert_eq!((done.migrated, done.failed), (3, 0), "{:?}", migration.dead_letters().await);
    let wanted = |id: i64| vec![Some(format!("w{id} {{now}} ? $1 :x?"))];
    let rows = db.rows("SELECT word FROM new_text ORDER BY id").await;
    assert_eq!(rows, (1..=3).map(wanted).collect::<Vec<_>>());
    // And by keys, as a repair does.
    db.execute("UPDATE old_text SET word = 'x' WHERE id = 2").await;
    migration.copy(&2_i64).await.unwrap();
    let rows = db.rows("SELECT word FROM new_text WHERE id = 2").await;
    assert_eq!(rows, [[Some("x {now} ? $1 :x?".to_owned())]]);
    runtime.shutdown().await.unwrap();
}

async fn expressions_of_a_mapping_hold_what_they_like<D: Sql>(db: Scratch<D>) {
    tables(&db, 3).await;
    let copy = source::<D>()
        .copying(D::sql(
            "INSERT INTO new_text SELECT r.id, r.word FROM {rows} r WHERE true \
             ON CONFLICT (id) DO UPDATE SET word = excluded.word",
            "INSERT INTO new_text SELECT r.id, r.word FROM {rows} r \
             ON CONFLICT (id) DO UPDATE SET word = excluded.word",
            "INSERT INTO new_text SELECT r.id, r.word FROM {rows} r \
             ON DUPLICATE KEY UPDATE word = VALUES(word)",
        ))
        .compared_by(|| {
            Mapping::new().expression(
                "tagged",
                D::sql(
                    "word || '{now} ? $1'",
                    "word || '{now} ? $1' || ('{\"a\":1}'::jsonb ? 'a')::text",
                    "CONCAT(word, '{now} ? $1')",
                ),
                D::sql(
                    "word || '{now} ? $1' -- what it was",
                    "word || '{now} ? $1' || 'true' -- what it was",
                    "CONCAT(word, '{now} ? $1') -- what it was",
                ),
            )
        });
    let runtime = Runtime::builder(db.pool().clone()).start().await.unwrap();
    let migration = runtime.migration("texts").backfill(copy).register().await.unwrap();
    migration.advance(Stage::DualWrite).await.unwrap();
    migration.backfill().run().await.unwrap();
    assert!(migration.verify().run().await.unwrap().is_clean());
    db.execute("UPDATE new_text SET word = 'other' WHERE id = 2").await;
    assert_eq!(migration.verify().run().await.unwrap().differing, 1);
    runtime.shutdown().await.unwrap();
}

#[derive(dualwrite::Dual)]
#[dual(table = "worded", key = "id")]
struct Worded {
    id: i64,
    #[dual(
        new = tagged,
        forward = tag,
        backward = untag,
        sql = "REPLACE(word, 'x', '{now} ? $1')"
    )]
    word: String,
    tagged: Option<String>,
}

fn tag(word: &str) -> String {
    word.replace('x', "{now} ? $1")
}

fn untag(tagged: &str) -> String {
    tagged.replace("{now} ? $1", "x")
}

async fn expressions_of_a_derived_copy_hold_what_they_like<D: Sql>(db: Scratch<D>)
where
    Worded: dualwrite::copy::ConvertColumns<D::Db>,
{
    db.execute(
        "CREATE TABLE worded (id BIGINT PRIMARY KEY, word VARCHAR(80) NOT NULL, tagged VARCHAR(80));
         INSERT INTO worded VALUES (1, 'axb', NULL), (2, 'c', NULL)",
    )
    .await;
    let runtime = Runtime::builder(db.pool().clone()).start().await.unwrap();
    let copy = Worded::copy_columns();
    let migration = runtime.migration("worded").backfill(copy).register().await.unwrap();
    migration.advance(Stage::DualWrite).await.unwrap();
    migration.backfill().run().await.unwrap();
    let rows = db.rows("SELECT tagged FROM worded ORDER BY id").await;
    assert_eq!(rows, [[Some("a{now} ? $1b".to_owned())], [Some("c".to_owned())]]);
    assert!(migration.verify().run().await.unwrap().is_clean());
    runtime.shutdown().await.unwrap();
}

async fn a_place_for_a_value_is_refused_by_name<D: Sql>(db: Scratch<D>) {
    tables(&db, 0).await;
    let runtime = Runtime::builder(db.pool().clone()).start().await.unwrap();
    let statement = D::sql(
        "UPDATE new_text SET word = :word WHERE {id}",
        "UPDATE new_text SET word = $1 WHERE {id}",
        "UPDATE new_text SET word = ? WHERE {id}",
    );
    let place = D::sql(":word", "$1", "?");
    let refused = runtime.migration("texts").backfill(source::<D>().copying(statement)).register();
    let refused = refused.await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::InvalidInput);
    assert!(refused.to_string().contains(&format!("a place for a value, `{place}`")), "{refused}");
    let inside = "UPDATE new_text SET word = '{id}' WHERE {id}";
    let refused = runtime.migration("texts").backfill(source::<D>().copying(inside)).register();
    let refused = refused.await.unwrap_err();
    assert!(refused.to_string().contains("stands in a literal"), "{refused}");
    runtime.shutdown().await.unwrap();
}
