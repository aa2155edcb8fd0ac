//! From a generated expand to a generated contract, under traffic: a rename, a type change and a split of the customers of a
//! real sample database. The contract is refused for each piece that is missing, in turn, and allowed at the end.

use std::collections::BTreeMap;
use std::num::ParseIntError;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use dualwrite::{
    Dual, DualTable as _, ErrorKind, Gate, Migration, Move, Runtime, Side, Stage,
    contract::{Contract, ContractDecision, EvidenceKind},
    copy::ConvertColumns,
    expand::Expand,
    operator::Operator,
};
use sqlx::migrate::{Migrate, Migrator};

use super::world::age;
use crate::support::chinook;
use crate::support::db::{Scratch, on_all_databases};
use crate::support::dump::can_be_dumped;
use crate::support::sql::Sql;

on_all_databases!(a_migration_goes_from_the_first_alter_to_the_last_drop_under_traffic);

const HOUR: Duration = Duration::from_secs(60 * 60);
const OLD: [&str; 3] = ["email", "full_name", "rep"];

#[derive(Dual)]
#[dual(table = "contact", key = "id")]
struct Contact {
    id: i64,
    #[dual(new = email_address)]
    email: String,
    email_address: Option<String>,
    #[dual(new = (first_name, last_name), forward = split, backward = join)]
    full_name: String,
    first_name: Option<String>,
    last_name: Option<String>,
    #[dual(new = rep_id, forward = number, backward = text)]
    rep: String,
    rep_id: Option<i64>,
}

fn split(name: &str) -> Result<(String, String), &'static str> {
    let (last, first) = name.split_once(", ").ok_or("only one name")?;
    Ok((first.to_owned(), last.to_owned()))
}

fn join(first: &str, last: &str) -> String {
    format!("{last}, {first}")
}

fn number(rep: &str) -> Result<i64, ParseIntError> {
    rep.parse()
}

fn text(rep: i64) -> String {
    rep.to_string()
}

fn expand<D: Sql>() -> Expand
where
    Contact: ConvertColumns<D::Db>,
{
    let expand = Expand::of_columns::<Contact, D::Db>();
    let expand = expand.typed("first_name", "varchar(40)").typed("last_name", "varchar(40)");
    expand.index("contact", ["last_name", "first_name"])
}

fn contract<D: Sql>() -> Contract {
    let contract = Contract::new().complete_for(HOUR).rollback_window(HOUR / 2).approval("dba");
    let contract = OLD.iter().fold(contract, |contract, old| contract.column("contact", *old));
    // There the code that writes the new side fills the old columns, which cannot be relaxed.
    if D::NAME == "sqlite" { contract.old_filled() } else { contract }
}

/// The customers of Chinook, as rows of a table of the same shape everywhere.
async fn contacts<D: Sql>(db: &Scratch<D>) -> Option<()> {
    chinook::load(db).await?;
    let collation = D::sql("", "", " DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin");
    db.execute(&format!(
        "CREATE TABLE contact (id BIGINT PRIMARY KEY, email VARCHAR(60) NOT NULL, full_name VARCHAR(80) NOT NULL, \
         rep VARCHAR(10) NOT NULL){collation}"
    ))
    .await;
    db.execute(D::sql(
        "INSERT INTO contact SELECT CustomerId, Email, LastName || ', ' || FirstName, SupportRepId FROM Customer",
        "INSERT INTO contact SELECT customer_id, email, last_name || ', ' || first_name, support_rep_id::text FROM customer",
        "INSERT INTO contact SELECT CustomerId, Email, CONCAT(LastName, ', ', FirstName), SupportRepId FROM Customer",
    ))
    .await;
    db.execute("CREATE UNIQUE INDEX contact_email ON contact (email)").await;
    Some(())
}

/// Writes one contact after the other, until it is to end; answers with what was acknowledged.
async fn traffic<D: Sql>(
    pool: sqlx::Pool<D::Db>,
    migration: Migration,
    end: Arc<AtomicBool>,
    mut number: i64,
) -> BTreeMap<i64, i64> {
    let mut written = BTreeMap::new();
    while !end.load(Relaxed) || written.len() < 10 {
        number += 1;
        let (id, n) = (1 + number % 59, number);
        let mut tx = migration.begin(&pool).await.unwrap();
        let write = migration.write("save", &mut tx, &id).columns(|columns, mut tx| {
            Box::pin(async move {
                let old = format!("email = '{n}@example.com', full_name = 'L{n}, F{n}', rep = '{n}'");
                let new = format!(
                    "email_address = '{n}@example.com', first_name = 'F{n}', last_name = 'L{n}', rep_id = {n}"
                );
                let mut set = Vec::new();
                set.extend(columns.write(Side::Old).then_some(old));
                set.extend(columns.write(Side::New).then_some(new));
                D::run_on(&mut tx, &format!("UPDATE contact SET {} WHERE id = {id}", set.join(", "))).await
            })
        });
        write.run().await.unwrap();
        tx.commit().await.unwrap();
        written.insert(id, n);
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    written
}

/// What is acknowledged is there.
async fn is_there<D: Sql>(db: &Scratch<D>, written: &BTreeMap<i64, i64>) {
    assert!(written.len() > 5, "there was traffic");
    for (id, n) in written {
        let same = format!(
            "SELECT count(*) FROM contact WHERE id = {id} AND email_address = '{n}@example.com' \
             AND first_name = 'F{n}' AND last_name = 'L{n}' AND rep_id = {n}"
        );
        assert_eq!(db.number(&same).await, 1, "write {n} of {id}");
    }
}

/// These pieces are missing, a run is refused for them, and a dry run, too, changes nothing.
async fn lacks<D: Sql>(db: &Scratch<D>, operator: &Operator, expected: &[EvidenceKind]) {
    let contract = operator.contract("contacts");
    let ContractDecision::Refused { missing } = contract.check().await.unwrap() else {
        panic!("allowed without {expected:?}")
    };
    let kinds: Vec<EvidenceKind> = missing.iter().map(|one| one.kind).collect();
    assert_eq!(kinds, expected, "{missing:?}");
    let refused = contract.run().by("ada").because("over").await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Blocked);
    for kind in expected {
        assert!(refused.to_string().contains(&format!("[{kind}]")), "{refused}");
    }
    assert!(!contract.run().dry_run().await.unwrap().decision.is_allowed());
    let all = format!(
        "SELECT count(*) FROM contact WHERE id = 1 AND {} IS NOT NULL",
        OLD.join(" IS NOT NULL AND ")
    );
    assert_eq!(db.number(&all).await, 1, "nothing was dropped");
}

async fn a_migration_goes_from_the_first_alter_to_the_last_drop_under_traffic<D: Sql>(
    db: Scratch<D>,
) where
    Contact: ConvertColumns<D::Db>,
    <D::Db as sqlx::Database>::Connection: Migrate,
{
    let Some(()) = contacts(&db).await else { return };
    let pool = db.another_pool(4).await;
    let runtime = Runtime::builder(pool.clone()).release("both").start().await.unwrap();
    let registration =
        runtime.migration("contacts").expand(expand::<D>()).contract(contract::<D>());
    let migration = registration.backfill(Contact::copy_columns()).register().await.unwrap();
    let operator = Operator::new(db.another_pool(3).await);

    // Expand: refused without, generated, applied by sqlx, and undone once on the way.
    let blockers = migration.readiness(Move::Advance(Stage::DualWrite)).await.unwrap();
    assert!(blockers.iter().any(|blocker| blocker.gate == Gate::Expanded), "{blockers:?}");
    let folder = tempfile::tempdir().unwrap();
    for file in migration.expand().plan().await.unwrap().files(1) {
        std::fs::write(folder.path().join(&file.name), &file.text).unwrap();
    }
    let migrator = Migrator::new(folder.path().to_owned()).await.unwrap();
    migrator.run(db.pool()).await.unwrap();
    migrator.undo(db.pool(), 0).await.unwrap();
    migrator.run(db.pool()).await.unwrap();
    assert!(migration.expand().check().await.unwrap().is_ready());

    let end = Arc::new(AtomicBool::new(false));
    let writer = traffic::<D>(pool.clone(), migration.clone(), Arc::clone(&end), 1_000);
    let writer = tokio::spawn(writer);
    migration.install_trigger().await.unwrap();
    migration.advance(Stage::DualWrite).await.unwrap();
    migration.backfill().run().await.unwrap();
    if D::NAME != "sqlite" {
        for statement in migration.contract().relaxing().await.unwrap() {
            db.execute(&statement).await;
        }
    }
    assert!(migration.verify().run().await.unwrap().is_clean());
    use EvidenceKind as Kind;
    for stage in [Stage::Shadow, Stage::Live, Stage::RampDown] {
        migration.advance(stage).await.unwrap();
        let early = operator.contract("contacts").run().by("ada").because("early").await;
        let text = early.unwrap_err().to_string();
        assert!(text.contains("[complete]") && text.contains("[instances]"), "{text}");
    }
    let mut last = None;
    for _ in 0..100 {
        last = migration.advance(Stage::Complete).await.err();
        if last.is_none() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert!(last.is_none(), "{last:?}");
    end.store(true, Relaxed);
    is_there(&db, &writer.await.unwrap()).await;

    // Contract: each piece is brought after the other.
    let all = [
        Kind::Complete,
        Kind::RollbackWindow,
        Kind::Instances,
        Kind::Writes,
        Kind::Backup,
        Kind::Approval,
    ];
    lacks(&db, &operator, &all).await;
    age(&db, 40 * 60).await;
    let left = [Kind::Complete, Kind::Instances, Kind::Writes, Kind::Backup, Kind::Approval];
    lacks(&db, &operator, &left).await;
    age(&db, 2 * 60 * 60).await;
    lacks(&db, &operator, &[Kind::Instances, Kind::Backup, Kind::Approval]).await;
    runtime.shutdown().await.unwrap();
    lacks(&db, &operator, &[Kind::Backup, Kind::Approval]).await;
    // The release that knows the new side alone, and its traffic.
    let next = Runtime::builder(pool.clone()).release("new").start().await.unwrap();
    let registration = next.migration("contacts").new_only().contract(contract::<D>());
    let copy = Contact::copy_columns();
    let new_only = registration.backfill(copy).register().await.unwrap();
    lacks(&db, &operator, &[Kind::Backup, Kind::Approval]).await;
    let file = folder.path().join("backup");
    let backup = match D::NAME != "mysql" && can_be_dumped(&db).await {
        false => vec!["--", "echo", "restored"],
        true => vec!["--into", file.to_str().unwrap()],
    };
    let said = ["contract", "backup", "contacts", "--by", "ada", "--because", "before the drop"];
    let url = db.url();
    let arguments = [&["dualwrite", "--database", &*url][..], &said, &backup].concat();
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let code = dualwrite_cli::run(arguments, &mut out, &mut err).await;
    assert_eq!(code, 0, "{}", String::from_utf8_lossy(&err));
    lacks(&db, &operator, &[Kind::Approval]).await;
    operator
        .contract("contacts")
        .approve("grace", "no release reads the old columns")
        .await
        .unwrap();

    let end = Arc::new(AtomicBool::new(false));
    let writer = traffic::<D>(pool.clone(), new_only, Arc::clone(&end), 500_000);
    let writer = tokio::spawn(writer);
    let contract = operator.contract("contacts");
    let looked = contract.run().dry_run().await.unwrap();
    assert!(looked.decision.is_allowed() && !looked.ended, "{looked:?}");
    assert_eq!(db.number("SELECT count(email) FROM contact").await, 59, "a dry run drops nothing");
    let done = contract.run().by("ada").because("over").attempts(60).await.unwrap();
    assert!(done.ended, "{done:?}");
    assert_eq!(done.statements, looked.statements);
    end.store(true, Relaxed);
    is_there(&db, &writer.await.unwrap()).await;
    for old in OLD {
        assert!(D::rows(db.pool(), &format!("SELECT {old} FROM contact")).await.is_err(), "{old}");
    }
    assert_eq!(db.number("SELECT count(email_address) FROM contact").await, 59);
    next.shutdown().await.unwrap();
}
