//! Makes and upgrades the control tables.

use crate::database::{SqlSafeStr as _, safe};
use crate::error::Error;

/// Runs the embedded sqlx migrations of the control tables under their own history table, so that they
/// cannot collide with the application's.
pub(crate) fn migrator(sql: &'static str) -> sqlx::migrate::Migrator {
    use sqlx::migrate::{Migration, MigrationType, Migrator};
    let first = Migration::new(
        1,
        "control tables".into(),
        MigrationType::Simple,
        safe(sql).into_sql_str(),
        false,
    );
    let mut migrator = Migrator::with_migrations(vec![first]);
    migrator.dangerous_set_table_name("_dualwrite_migrations");
    migrator
}

/// Whether the tables are there already: then nothing is locked, and the role of the service need not be
/// allowed to make any.
pub(crate) async fn is_installed<C: sqlx::migrate::Migrate>(
    migrator: &sqlx::migrate::Migrator,
    conn: &mut C,
) -> bool {
    let table = &migrator.table_name;
    let Ok(applied) = conn.list_applied_migrations(table).await else { return false };
    let is_dirty = !matches!(conn.dirty_version(table).await, Ok(None));
    let applied = applied.iter().map(|one| (one.version, &one.checksum));
    !is_dirty && applied.eq(migrator.iter().map(|one| (one.version, &one.checksum)))
}

/// Explains a failed installation.
pub(crate) fn install_error(error: sqlx::migrate::MigrateError) -> Error {
    use crate::error::ErrorKind;
    use sqlx::migrate::MigrateError;
    let (kind, message) = match &error {
        MigrateError::VersionMissing(version) => (
            ErrorKind::NewerControlTables,
            format!(
                "the control tables are at version {version}, which this release does not know; \
                 upgrade dualwrite in this service before it joins"
            ),
        ),
        MigrateError::VersionMismatch(version) => (
            ErrorKind::NewerControlTables,
            format!(
                "version {version} of the control tables was made by another build of dualwrite"
            ),
        ),
        _ => (ErrorKind::Database, "the control tables could not be made".to_owned()),
    };
    Error::new(kind, message).caused_by(error)
}
