//! What is in the database, by plain SQL.

use std::collections::{BTreeMap, BTreeSet};

use dualwrite::{Side, Stage};
use sqlx::Pool;

use crate::oracle::{Applied, Found, Row, Table};
use crate::service::{MIGRATIONS, Names, first_rows, notes};
use crate::support::db::Rows;
use crate::support::sql::Sql;

pub(crate) fn first_table() -> Table {
    first_rows().into_iter().map(|note| (note.id, row(note.version, note.word, note.n))).collect()
}

fn row(version: i64, word: String, n: i64) -> Row {
    Row { version, word, n }
}

async fn rows<D: Sql>(pool: &Pool<D::Db>, sql: &str) -> Rows {
    D::rows(pool, sql).await.unwrap_or_else(|error| panic!("{error}, in: {sql}"))
}

fn text(value: &Option<String>) -> String {
    value.clone().unwrap()
}

fn number(value: &Option<String>) -> i64 {
    value.as_deref().unwrap().parse().unwrap()
}

pub(crate) async fn applied<D: Sql>(pool: &Pool<D::Db>) -> Vec<Applied> {
    let sql = "SELECT op, migration, id, version, word FROM applied";
    let applied = |row: Vec<Option<String>>| Applied {
        op: text(&row[0]),
        migration: text(&row[1]),
        key: number(&row[2]),
        version: number(&row[3]),
        word: row[4].clone(),
    };
    rows::<D>(pool, sql).await.into_iter().map(applied).collect()
}

/// One for each migration.
pub(crate) async fn found<D: Sql>(pool: &Pool<D::Db>, lazy: bool) -> Vec<Found> {
    let mut all = Vec::new();
    for migration in MIGRATIONS {
        let complete = |phase: &str, generation: &str| {
            format!(
                "CASE WHEN EXISTS (SELECT 1 FROM dualwrite_backfill b WHERE b.migration = m.name AND \
                 b.phase = '{phase}' AND b.generation = m.{generation} AND b.state = 'complete') \
                 THEN 1 ELSE 0 END"
            )
        };
        let sql = format!(
            "SELECT stage, ramp, generation, old_generation, {}, {} \
             FROM dualwrite_migration m WHERE name = '{migration}'",
            complete("new", "generation"),
            complete("old", "old_generation")
        );
        let position: Vec<i64> = rows::<D>(pool, &sql).await[0].iter().map(number).collect();
        let marks = "SELECT side, key_text FROM dualwrite_dirty WHERE migration =";
        let marks = rows::<D>(pool, &format!("{marks} '{migration}'")).await;
        let drawn = format!("SELECT id, version FROM drawn WHERE migration = '{migration}'");
        let drawn = rows::<D>(pool, &drawn).await;
        all.push(Found {
            migration: migration.to_owned(),
            stage: Stage::from_code(position[0].try_into().unwrap()).unwrap(),
            ramp: position[1],
            lazy,
            first_generation: position[2] == 1,
            copied: position[4] == 1,
            old_is_whole: position[3] == 1 || position[5] == 1,
            marks: marks.iter().map(|row| (side(&row[0]), text(&row[1]))).collect(),
            old: table::<D>(pool, Names { migration, side: Side::Old }).await,
            new: table::<D>(pool, Names { migration, side: Side::New }).await,
            drawn: drawn.iter().map(|row| (number(&row[0]), number(&row[1]))).collect(),
        });
    }
    all
}

fn side(text: &Option<String>) -> Side {
    match text.as_deref() {
        Some("old") => Side::Old,
        _ => Side::New,
    }
}

async fn table<D: Sql>(pool: &Pool<D::Db>, names: Names) -> Table {
    let notes = notes(rows::<D>(pool, &names.select()).await);
    notes.into_iter().map(|note| (note.id, row(note.version, note.word, note.n))).collect()
}

/// How often each stage was entered.
pub(crate) async fn moves<D: Sql>(pool: &Pool<D::Db>) -> (u64, BTreeSet<Stage>) {
    let sql = "SELECT to_stage, count(*) FROM dualwrite_event GROUP BY to_stage";
    let counts: BTreeMap<i64, i64> =
        rows::<D>(pool, sql).await.iter().map(|row| (number(&row[0]), number(&row[1]))).collect();
    let stages = counts.keys().filter_map(|stage| Stage::from_code(u8::try_from(*stage).ok()?));
    (counts.values().sum::<i64>() as u64, stages.collect())
}

/// What holds at every moment: where both sides are written and both were copied, a key that differs is marked. One
/// statement, which sees one moment. Answers with the keys for which it does not hold, and with what was found in words;
/// an error where the server does not answer.
pub(crate) async fn unmarked<D: Sql>(
    pool: &Pool<D::Db>,
    migration: &str,
) -> Result<Vec<(i64, String)>, sqlx::Error> {
    let char = D::sql("TEXT", "TEXT", "CHAR");
    let sql = format!(
        "SELECT x.id, m.stage, m.ramp, m.epoch, m.generation, m.old_generation, x.was, x.is_new \
         FROM dualwrite_migration m JOIN (\
           SELECT o.id, o.version AS was, n.edition AS is_new FROM {migration} o LEFT JOIN {migration}_new n ON n.id = o.id \
             WHERE n.id IS NULL OR n.edition <> o.version OR n.label <> o.word OR n.hits <> o.n \
           UNION ALL SELECT n.id, NULL, n.edition FROM {migration}_new n LEFT JOIN {migration} o ON o.id = n.id \
             WHERE o.id IS NULL) x ON 1 = 1 \
         WHERE m.name = '{migration}' AND m.stage BETWEEN 1 AND 4 AND NOT (m.stage = 4 AND m.ramp > 0) \
         AND EXISTS (SELECT 1 FROM dualwrite_backfill b WHERE b.migration = m.name \
           AND b.phase = 'new' AND b.generation = m.generation AND b.state = 'complete') \
         AND (m.old_generation = 1 OR EXISTS (SELECT 1 FROM dualwrite_backfill b \
           WHERE b.migration = m.name AND b.phase = 'old' AND b.generation = m.old_generation \
           AND b.state = 'complete')) \
         AND NOT EXISTS (SELECT 1 FROM dualwrite_dirty d WHERE d.migration = m.name \
           AND d.key_text = CAST(x.id AS {char})) \
         AND NOT EXISTS (SELECT 1 FROM dualwrite_failure f WHERE f.migration = m.name \
           AND f.key_text = CAST(x.id AS {char}))"
    );
    let said = |row: &Vec<Option<String>>| {
        let shown = |at: usize| row[at].as_deref().unwrap_or("none");
        let text = format!(
            "both sides are written and copied, and they differ without a mark: stage {}, ramp {}, epoch {}, \
             generations {} and {}, version {} in old and {} in new",
            shown(1),
            shown(2),
            shown(3),
            shown(4),
            shown(5),
            shown(6),
            shown(7)
        );
        (number(&row[0]), text)
    };
    Ok(D::rows(pool, &sql).await?.iter().map(said).collect())
}
