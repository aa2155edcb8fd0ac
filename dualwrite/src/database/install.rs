//! Makes and upgrades the control tables.

use crate::database::{SqlSafeStr as _, safe};
use crate::error::{Error, is_undefined_table};

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

/// Fails where the tables are those of another release. Where there are none it succeeds: the statement that reads
/// them reports it.
pub(crate) async fn check_version<C: sqlx::migrate::Migrate>(
    migrator: &sqlx::migrate::Migrator,
    conn: &mut C,
) -> Result<(), Error> {
    use crate::error::ErrorKind;
    use sqlx::migrate::MigrateError;
    let applied = match conn.list_applied_migrations(&migrator.table_name).await {
        Ok(applied) => applied,
        Err(MigrateError::Execute(error)) if is_undefined_table(&error) => return Ok(()),
        Err(MigrateError::Execute(error)) => {
            return Err(Error::database("reading the version of the control tables", error));
        }
        Err(error) => return Err(install_error(error)),
    };
    for one in &applied {
        match migrator.iter().find(|known| known.version == one.version) {
            None => return Err(install_error(MigrateError::VersionMissing(one.version))),
            Some(known) if known.checksum != one.checksum => {
                return Err(install_error(MigrateError::VersionMismatch(one.version)));
            }
            Some(_) => {}
        }
    }
    let is_applied = |version: i64| applied.iter().any(|one| one.version == version);
    if let Some(missing) = migrator.iter().find(|known| !is_applied(known.version)) {
        let message = format!(
            "the control tables lack version {}, which this release needs; upgrade the service first, or use the \
             release of dualwrite that it uses",
            missing.version
        );
        return Err(Error::new(ErrorKind::Unsupported, message));
    }
    Ok(())
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
                 upgrade dualwrite in this process first"
            ),
        ),
        MigrateError::VersionMismatch(version) => (
            ErrorKind::NewerControlTables,
            format!(
                "version {version} of the control tables was made by another build of dualwrite; use the build that \
                 the service uses"
            ),
        ),
        _ => (ErrorKind::Database, "the control tables could not be made".to_owned()),
    };
    Error::new(kind, message).caused_by(error)
}
