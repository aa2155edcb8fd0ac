//! The control tables that are shipped: each migration file has the checksum that is committed. After the first release a
//! file that was shipped does not change any more; what is new goes into the next file.

use std::fmt::Write as _;
use std::path::Path;

use sqlx::migrate::Migrator;

const RECORDED: &str = include_str!("checksums/control.txt");
const RENEW: &str = "UPDATE=1 cargo test --test it checksums";

/// A line for each shipped file: database, version, checksum as sqlx stores it.
async fn shipped() -> String {
    let mut found = String::new();
    for database in ["mysql", "postgres", "sqlite"] {
        let folder =
            Path::new(env!("CARGO_MANIFEST_DIR")).join("dualwrite/migrations").join(database);
        let files = std::fs::read_dir(&folder).unwrap().count();
        let migrator = Migrator::new(folder).await.unwrap();
        assert_eq!(migrator.iter().count(), files, "sqlx does not see each file of {database}");
        for migration in migrator.iter() {
            let checksum = migration.checksum.iter().fold(String::new(), |mut text, byte| {
                _ = write!(text, "{byte:02x}");
                text
            });
            _ = writeln!(found, "{database} {:04} {checksum}", migration.version);
        }
    }
    found
}

#[tokio::test]
async fn shipped_control_migrations_have_the_checksums_that_are_committed() {
    let found = shipped().await;
    if std::env::var_os("UPDATE").is_some() {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/checksums/control.txt");
        return std::fs::write(file, found).unwrap();
    }
    assert!(
        found == RECORDED,
        "a control migration was changed. Before the first release: `{RENEW}`. After it: take the change back, and write \
         a file `0002_….sql` for each database\n{found}"
    );
}
