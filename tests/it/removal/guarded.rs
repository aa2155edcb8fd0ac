//! The migrator that asks whether a removal is at its drop before a statement that drops what it names.

use dualwrite::{
    ErrorKind,
    migration::GuardedMigrator,
    operator::Operator,
    removal::{Removal, RemovalPhase},
};
use sqlx::migrate::{Migrate, Migration, MigrationType, Migrator};
use sqlx::{AssertSqlSafe, SqlSafeStr as _};

use super::{column, declared, report, table, to};
use crate::support::db::{Scratch, on_all_databases};
use crate::support::sql::Sql;

on_all_databases!(
    a_table_of_a_removal_is_dropped_by_a_file_when_its_phases_are_over,
    a_column_of_a_removal_is_dropped_by_a_file_when_its_phases_are_over,
);

fn migrator(sql: &str) -> Migrator {
    let file = |version, sql: &str| {
        let sql = AssertSqlSafe(sql.to_owned()).into_sql_str();
        Migration::new(version, "step".into(), MigrationType::Simple, sql, false)
    };
    let beside = "CREATE TABLE beside (id BIGINT PRIMARY KEY)";
    Migrator::with_migrations(vec![file(1, beside), file(2, sql)])
}

async fn goes<D: Sql>(db: &Scratch<D>, removal: Removal, sql: &str, question: &str)
where
    <D::Db as sqlx::Database>::Connection: Migrate,
{
    let (runtime, operator) = declared(db, removal).await;
    let files = migrator(sql);
    let guarded = GuardedMigrator::new(&files).by("pipeline").because("release 2");
    for phase in [RemovalPhase::InUse, RemovalPhase::ReadsStopped] {
        back_to(db, &operator, phase).await;
        let refused = guarded.run(db.pool()).await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Blocked, "{refused}");
        for told in ["file 2, line 1", "this removal names", "[phase]", phase_text(phase)] {
            assert!(refused.to_string().contains(told), "{told}: {refused}");
        }
        let found = guarded.check(db.pool()).await.unwrap();
        assert_eq!((&*found[0].migration, found[0].decision.is_allowed()), ("old-fax", false));
        assert!(D::rows(db.pool(), question).await.is_ok(), "nothing was dropped");
        assert!(D::rows(db.pool(), "SELECT id FROM beside").await.is_err(), "nor applied");
    }
    operator.removal("old-fax").confirm_backup("ada", "restored", "2 rows").await.unwrap();
    guarded.run(db.pool()).await.unwrap();
    assert!(D::rows(db.pool(), question).await.is_err(), "it is gone");
    let state = report(&operator).await;
    assert_eq!((state.phase, state.next), (RemovalPhase::Dropped, None));
    let newest = operator.removal("old-fax").events().await.unwrap().swap_remove(0);
    assert_eq!((&*newest.what, &*newest.actor), ("dropped", "pipeline"));
    assert!(guarded.check(db.pool()).await.unwrap().is_empty(), "it guards nothing any more");
    let triggers = D::sql(
        "SELECT count(*) FROM sqlite_schema WHERE type = 'trigger' AND name LIKE 'dualwrite_removal_%'",
        "SELECT count(*) FROM pg_proc WHERE proname LIKE 'dualwrite_removal_%'",
        "SELECT count(*) FROM information_schema.triggers WHERE trigger_schema = DATABASE() \
         AND trigger_name LIKE 'dualwrite_removal_%'",
    );
    assert_eq!(db.number(triggers).await, 0);
    runtime.shutdown().await.unwrap();
}

/// In `ReadsStopped` the next phase is the drop, but no backup was confirmed.
async fn back_to<D: Sql>(db: &Scratch<D>, operator: &Operator, phase: RemovalPhase) {
    if phase > RemovalPhase::InUse {
        to(db, operator, phase).await;
    }
}

fn phase_text(phase: RemovalPhase) -> &'static str {
    match phase {
        RemovalPhase::InUse => "it stands at in_use",
        _ => "no backup was confirmed",
    }
}

async fn a_table_of_a_removal_is_dropped_by_a_file_when_its_phases_are_over<D: Sql>(db: Scratch<D>)
where
    <D::Db as sqlx::Database>::Connection: Migrate,
{
    let removal = table().without_rename("a file drops it by its name");
    goes(&db, removal, "DROP TABLE fax", "SELECT number FROM fax").await;
}

async fn a_column_of_a_removal_is_dropped_by_a_file_when_its_phases_are_over<D: Sql>(db: Scratch<D>)
where
    <D::Db as sqlx::Database>::Connection: Migrate,
{
    let removal = column().without_rename("a file drops it by its name");
    let drop = "ALTER TABLE customer DROP COLUMN fax";
    goes(&db, removal, drop, "SELECT fax FROM customer").await;
}
