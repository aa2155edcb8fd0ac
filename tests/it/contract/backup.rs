//! `dualwrite contract backup --into FILE`: made, restored, and compared with what is to go.

use dualwrite::contract::{ContractDecision, EvidenceKind};

use super::world::{Over, over};
use crate::support::db::{PostgresDb, Scratch, TestDb, on_all_databases};
use crate::support::dump::can_be_dumped;
use crate::support::sql::Sql;
use crate::support::wait::until;

on_all_databases!(a_backup_is_made_restored_and_compared);

async fn backup(url: &str, more: &[&str]) -> (u8, String) {
    let arguments = [
        &[
            "dualwrite",
            "--database",
            url,
            "contract",
            "backup",
            "notes",
            "--by",
            "ada",
            "--because",
            "last",
        ],
        more,
    ]
    .concat();
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let code = dualwrite_cli::run(arguments, &mut out, &mut err).await;
    out.extend(err);
    (code, String::from_utf8(out).unwrap())
}

/// Whether a backup is confirmed.
async fn is_there<D: Sql>(over: &Over<D>) -> bool {
    match over.check().await {
        ContractDecision::Allowed { .. } => true,
        ContractDecision::Refused { missing } => {
            !missing.iter().any(|one| one.kind == EvidenceKind::Backup)
        }
    }
}

async fn unbacked<D: Sql>(db: Scratch<D>) -> Over<D> {
    let over = over(db).await;
    over.execute("DELETE FROM dualwrite_contract_event").await;
    assert!(!is_there(&over).await);
    over
}

async fn a_backup_is_made_restored_and_compared<D: Sql>(db: Scratch<D>) {
    if !can_be_dumped(&db).await {
        return;
    }
    let over = unbacked(db).await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("backup");
    let (url, into) = (&*over.db.url(), file.to_str().unwrap());
    let (code, out) = backup(url, &["--into", into]).await;
    if D::NAME == "mysql" {
        assert!(code == dualwrite_cli::WRONG_USE && out.contains("a command of yours"), "{out}");
        assert!(!file.exists() && !is_there(&over).await);
        return;
    }
    assert!(code == 0 && is_there(&over).await, "{out}");
    let event = over.operator.contract("notes").events().await.unwrap().swap_remove(0);
    assert!(event.detail.contains("old_note") && event.detail.contains("5 rows"), "{event:?}");
    assert!(file.metadata().unwrap().len() > 0);

    over.execute("DELETE FROM dualwrite_contract_event").await;
    let (code, out) = backup(url, &["--into", into]).await;
    assert!(code == dualwrite_cli::WRONG_USE && out.contains("is there already"), "{out}");
    let (code, out) = backup(url, &[]).await;
    assert_eq!(code, dualwrite_cli::WRONG_USE, "{out}");
    assert!(!is_there(&over).await);
}

/// Programs that do what those of PostgreSQL do, and something else.
#[cfg(unix)]
#[tokio::test]
async fn a_dump_that_is_not_what_is_there_confirms_nothing() {
    use std::os::unix::fs::PermissionsExt as _;

    let test = "a_dump_that_is_not_what_is_there";
    let Some(db) = PostgresDb::fresh(test).await else { return };
    if !can_be_dumped(&db).await {
        return;
    }
    let over = unbacked(db).await;
    let folder = tempfile::tempdir().unwrap();
    let program = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    };
    let url = &*over.db.url();
    let with = folder.path().to_str().unwrap().to_owned();
    let databases = "SELECT count(*) FROM pg_database WHERE datname LIKE 'dualwrite\\_restore\\_%'";
    let give = async |file: &str| {
        let into = folder.path().join(file);
        backup(url, &["--into", into.to_str().unwrap(), "--programs", &with]).await
    };
    program("pg_dump", "exec pg_dump \"$@\"");
    // The last argument of pg_restore is the file, and the database is in `--dbname=`.
    let lossy = "pg_restore \"$@\" || exit 1\nfor a in \"$@\"; do case \"$a\" in --dbname=*) u=\"${a#--dbname=}\";; esac; done\n";
    for (change, told) in [
        ("DELETE FROM old_note WHERE id = 3", "4 rows"),
        ("UPDATE old_note SET word = 'x' WHERE id = 3", "5 rows"),
    ] {
        program("pg_restore", &format!("{lossy}psql -q -c \"{change}\" \"$u\""));
        let (code, out) = give(&format!("backup_{}", told.len() + change.len())).await;
        assert_eq!(code, 1, "{out}");
        let expected = "no backup is confirmed: public.old_note has 5 rows";
        assert!(out.contains(expected) && out.contains(told), "{out}");
        assert!(!is_there(&over).await);
        // Those of other tests go, too.
        until("the scratch database is gone", async || over.db.number(databases).await == 0).await;
    }
    program("pg_restore", "echo out of space >&2; exit 3");
    let (code, out) = give("broken").await;
    assert!(code == 1 && out.contains("out of space"), "{out}");
    assert!(!is_there(&over).await);
    until("the scratch database is gone", async || over.db.number(databases).await == 0).await;
}
