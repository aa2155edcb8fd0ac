//! Removals: what nothing takes the place of is dropped in phases, and whoever uses it in between is named.

mod guarded;
mod http;

use std::time::Duration;

use dualwrite::{
    ErrorKind, Runtime,
    operator::Operator,
    removal::{Removal, RemovalPhase, RemovalReport},
};
use serde_json::Value;

use crate::support::db::{Scratch, on_all_databases};
use crate::support::sql::Sql;

on_all_databases!(
    a_table_goes_in_phases_and_can_be_brought_back_until_it_is_dropped,
    a_column_goes_in_phases_and_can_be_brought_back_until_it_is_dropped,
    each_phase_waits_and_names_who_writes_in_between,
    a_call_that_goes_on_reading_is_named_by_the_process,
    a_process_hears_of_a_phase_and_stops,
    a_column_that_rows_need_is_not_stopped,
    what_depends_on_it_keeps_its_name,
    a_wrong_step_is_refused_and_changes_nothing,
    the_declaration_stays_what_it_was_once_a_phase_has_begun,
    it_is_driven_from_the_terminal,
);

const HOUR: Duration = Duration::from_secs(60 * 60);

async fn tables<D: Sql>(db: &Scratch<D>) {
    db.execute(
        "CREATE TABLE fax (id BIGINT PRIMARY KEY, number VARCHAR(20));
         CREATE TABLE customer (id BIGINT PRIMARY KEY, name VARCHAR(20), fax VARCHAR(20));
         INSERT INTO fax VALUES (1, '1'), (2, '2');
         INSERT INTO customer VALUES (1, 'a', '1')",
    )
    .await;
}

fn table() -> Removal {
    Removal::new().table("fax").wait(HOUR)
}

fn column() -> Removal {
    Removal::new().column("customer", "fax").wait(HOUR)
}

/// A service has declared it; and an operator beside it.
async fn declared<D: Sql>(db: &Scratch<D>, removal: Removal) -> (Runtime<D::Db>, Operator) {
    tables(db).await;
    let runtime = Runtime::builder(db.pool().clone()).start().await.unwrap();
    runtime.removal("old-fax", removal).await.unwrap();
    (runtime, Operator::new(db.another_pool(3).await))
}

/// As if all that had been two hours ago.
async fn age<D: Sql>(db: &Scratch<D>) {
    db.execute("UPDATE dualwrite_removal SET phase_at = phase_at - 7200000000").await;
    db.execute("UPDATE dualwrite_removal_use SET minute = minute - 120").await;
}

async fn report(operator: &Operator) -> RemovalReport {
    operator.removal("old-fax").report().await.unwrap()
}

/// Takes it so far.
async fn to<D: Sql>(db: &Scratch<D>, operator: &Operator, phase: RemovalPhase) {
    let removal = operator.removal("old-fax");
    if phase >= RemovalPhase::WritesStopped {
        removal.stop_writes("ada", "nobody writes it").await.unwrap();
        age(db).await;
    }
    if phase >= RemovalPhase::ReadsStopped {
        removal.stop_reads("ada", "nobody reads it").await.unwrap();
        age(db).await;
    }
    if phase >= RemovalPhase::Renamed {
        removal.rename("ada", "out of the way").await.unwrap();
        age(db).await;
    }
    assert_eq!(report(operator).await.phase, phase);
}

async fn goes<D: Sql>(db: &Scratch<D>, removal: Removal, question: &str) {
    let (runtime, operator) = declared(db, removal).await;
    let removal = operator.removal("old-fax");
    let there = async || D::rows(db.pool(), question).await.is_ok();
    to(db, &operator, RemovalPhase::Renamed).await;
    assert!(!there().await, "whoever uses it fails");
    let writes = "UPDATE customer SET name = 'b' WHERE id = 1; INSERT INTO customer (id, name) VALUES (7, 'x')";
    db.execute(writes).await;

    removal.restore("bob", "the night report reads it").await.unwrap();
    assert!(there().await);
    let state = report(&operator).await;
    assert_eq!((state.phase, state.uses.len()), (RemovalPhase::InUse, 0));
    db.execute("INSERT INTO fax VALUES (9, '9'); UPDATE customer SET fax = '2' WHERE id = 1").await;
    let uses = "SELECT count(*) FROM dualwrite_removal_use";
    assert_eq!(db.number(uses).await, 0, "nobody is watched any more");

    db.execute("DELETE FROM fax WHERE id = 9").await;
    to(db, &operator, RemovalPhase::Renamed).await;
    let refused = removal.drop_for_good("ada", "over").await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Blocked);
    assert!(refused.to_string().contains("no backup was confirmed"), "{refused}");
    removal.confirm_backup("ada", "restored", "2 rows").await.unwrap();
    let ran = removal.drop_for_good("ada", "over").await.unwrap();
    assert_eq!(ran.len(), 1, "{ran:?}");
    assert!(!there().await);
    let state = report(&operator).await;
    assert_eq!((state.phase, state.next), (RemovalPhase::Dropped, None));
    db.execute("UPDATE customer SET name = 'c' WHERE id = 1").await;
    let refused = removal.restore("ada", "no").await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::IllegalMove);
    let what: Vec<String> =
        removal.events().await.unwrap().into_iter().map(|event| event.what).collect();
    let expected = [
        "dropped",
        "backup",
        "renamed",
        "reads_stopped",
        "writes_stopped",
        "restored",
        "renamed",
        "reads_stopped",
        "writes_stopped",
    ];
    assert_eq!(what, expected);
    runtime.shutdown().await.unwrap();
}

async fn a_table_goes_in_phases_and_can_be_brought_back_until_it_is_dropped<D: Sql>(
    db: Scratch<D>,
) {
    goes(&db, table(), "SELECT number FROM fax").await;
    assert_eq!(db.number("SELECT count(*) FROM customer").await, 2);
}

async fn a_column_goes_in_phases_and_can_be_brought_back_until_it_is_dropped<D: Sql>(
    db: Scratch<D>,
) {
    goes(&db, column(), "SELECT fax FROM customer").await;
    assert_eq!(db.number("SELECT count(*) FROM fax").await, 2);
    let columns = D::sql(
        "SELECT count(*) FROM pragma_table_info('customer')",
        "SELECT count(*) FROM information_schema.columns WHERE table_name = 'customer'",
        "SELECT count(*) FROM information_schema.columns WHERE table_schema = DATABASE() AND table_name = 'customer'",
    );
    assert_eq!(db.number(columns).await, 2);
}

/// Whoever writes, by what the database knows of connections.
fn writer<D: Sql>() -> &'static str {
    D::sql("a connection to the file", "postgres", "root@")
}

async fn each_phase_waits_and_names_who_writes_in_between<D: Sql>(db: Scratch<D>) {
    let both = Removal::new().table("fax").column("customer", "fax").wait(HOUR);
    let (runtime, operator) = declared(&db, both).await;
    let removal = operator.removal("old-fax");
    for phase in [RemovalPhase::WritesStopped, RemovalPhase::ReadsStopped] {
        match phase {
            RemovalPhase::WritesStopped => removal.stop_writes("ada", "x").await.unwrap(),
            _ => removal.stop_reads("ada", "x").await.unwrap(),
        }
        let next = async || match phase {
            RemovalPhase::WritesStopped => removal.stop_reads("ada", "x").await,
            _ => removal.rename("ada", "x").await,
        };
        let refused = next().await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Blocked, "{phase}");
        assert!(refused.to_string().contains("must last for"), "{phase}: {refused}");
        for write in [
            "INSERT INTO fax VALUES (3, '3')",
            "UPDATE fax SET number = '4' WHERE id = 3",
            "DELETE FROM fax WHERE id = 3",
            "UPDATE customer SET fax = CASE fax WHEN '5' THEN '6' ELSE '5' END WHERE id = 1",
            "INSERT INTO customer VALUES (3, 'c', '3')",
        ] {
            age(&db).await;
            assert!(report(&operator).await.missing.is_empty(), "{phase}, before {write}");
            db.execute(write).await;
            let state = report(&operator).await;
            let [one] = state.missing.as_slice() else { panic!("{phase} {write}: {state:?}") };
            assert!(one.contains(&format!("write by {}", writer::<D>())), "{write}: {one}");
            let refused = next().await.unwrap_err();
            assert!(refused.to_string().contains(writer::<D>()), "{refused}");
            assert_eq!(report(&operator).await.phase, phase, "nothing has changed");
        }
        // What leaves the column alone is no use of it.
        age(&db).await;
        db.execute(
            "UPDATE customer SET name = 'd' WHERE id = 3; DELETE FROM customer WHERE id = 3",
        )
        .await;
        db.execute(
            "INSERT INTO customer (id, name) VALUES (4, 'e'); DELETE FROM customer WHERE id = 4",
        )
        .await;
        assert!(report(&operator).await.missing.is_empty(), "{phase}");
    }
    removal.rename("ada", "x").await.unwrap();
    runtime.shutdown().await.unwrap();
}

async fn a_call_that_goes_on_reading_is_named_by_the_process<D: Sql>(db: Scratch<D>) {
    let (runtime, operator) = declared(&db, table()).await;
    let switch = runtime.removal("old-fax", table()).await.unwrap();
    assert!(switch.may_read("night_report").await && switch.may_write("save").await);
    assert!(report(&operator).await.uses.is_empty(), "it is in use");
    to(&db, &operator, RemovalPhase::WritesStopped).await;
    // A process that starts now goes by the phase at once.
    let switch = runtime.removal("old-fax", table()).await.unwrap();
    assert!(switch.may_read("night_report").await && !switch.may_write("save").await);
    let state = report(&operator).await;
    let [used] = state.uses.as_slice() else { panic!("{state:?}") };
    assert_eq!((&*used.kind, used.ago_s), ("read", 0));
    assert!(used.who.contains(runtime.instance()) && used.who.contains("night_report"), "{used}");
    assert!(state.missing.is_empty(), "reads go on in this phase");
    // It has read when reads were stopped already.
    operator.removal("old-fax").stop_reads("ada", "x").await.unwrap();
    db.execute("UPDATE dualwrite_removal SET phase_at = phase_at - 7200000000").await;
    let state = report(&operator).await;
    assert!(state.missing[0].contains("night_report"), "{state:?}");
    age(&db).await;
    operator.removal("old-fax").rename("ada", "x").await.unwrap();
    runtime.shutdown().await.unwrap();
}

async fn a_process_hears_of_a_phase_and_stops<D: Sql>(db: Scratch<D>) {
    tables(&db).await;
    let (builder, clock) = Runtime::builder(db.pool().clone()).manual_clock();
    let runtime = builder.start().await.unwrap();
    let switch = runtime.removal("old-fax", table()).await.unwrap();
    let operator = Operator::new(db.another_pool(3).await);
    assert!(switch.may_write("save").await);
    to(&db, &operator, RemovalPhase::ReadsStopped).await;
    assert!(switch.may_write("save").await, "it has not heard of it");
    clock.advance(dualwrite::defaults::REMOVAL_PHASE_KNOWN_FOR);
    assert!(!switch.may_write("save").await && !switch.may_read("show").await);
    operator.removal("old-fax").restore("bob", "needed").await.unwrap();
    clock.advance(dualwrite::defaults::REMOVAL_PHASE_KNOWN_FOR);
    assert!(switch.may_write("save").await && switch.may_read("show").await);
    runtime.shutdown().await.unwrap();
}

async fn a_column_that_rows_need_is_not_stopped<D: Sql>(db: Scratch<D>) {
    let (runtime, operator) = declared(&db, Removal::new().column("owner", "fax").wait(HOUR)).await;
    let removal = operator.removal("old-fax");
    let refused = removal.stop_writes("ada", "x").await.unwrap_err();
    assert!(refused.to_string().contains("there is no column owner.fax"), "{refused}");
    db.execute("CREATE TABLE owner (id BIGINT PRIMARY KEY, fax VARCHAR(20) NOT NULL)").await;
    let refused = removal.stop_writes("ada", "x").await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Blocked);
    let text = refused.to_string();
    assert!(text.contains("NOT NULL without a default"), "{text}");
    match text.split("run: ").nth(1) {
        Some(statement) => db.execute(statement).await,
        None => {
            assert_eq!(D::NAME, "sqlite", "{text}");
            db.execute(
                "DROP TABLE owner; CREATE TABLE owner (id BIGINT PRIMARY KEY, fax VARCHAR(20))",
            )
            .await;
        }
    }
    removal.stop_writes("ada", "x").await.unwrap();
    db.execute("INSERT INTO owner (id) VALUES (1)").await;
    runtime.shutdown().await.unwrap();
}

async fn what_depends_on_it_keeps_its_name<D: Sql>(db: Scratch<D>) {
    let (runtime, operator) = declared(&db, table()).await;
    db.execute("CREATE VIEW numbers AS SELECT number FROM fax").await;
    to(&db, &operator, RemovalPhase::ReadsStopped).await;
    let refused = operator.removal("old-fax").rename("ada", "x").await.unwrap_err();
    assert!(refused.to_string().contains("the view"), "{refused}");
    assert_eq!(db.number("SELECT count(*) FROM numbers").await, 2);
    db.execute("DROP VIEW numbers").await;
    operator.removal("old-fax").rename("ada", "x").await.unwrap();
    runtime.shutdown().await.unwrap();
}

async fn a_wrong_step_is_refused_and_changes_nothing<D: Sql>(db: Scratch<D>) {
    let (runtime, operator) = declared(&db, table()).await;
    let removal = operator.removal("old-fax");
    let kinds = [
        removal.stop_reads("ada", "x").await.unwrap_err().kind(),
        removal.rename("ada", "x").await.unwrap_err().kind(),
        removal.drop_for_good("ada", "x").await.unwrap_err().kind(),
    ];
    assert_eq!(kinds, [ErrorKind::IllegalMove; 3]);
    for (by, because) in [("", "x"), ("ada", " ")] {
        let refused = removal.stop_writes(by, because).await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::InvalidInput);
    }
    let unknown = operator.removal("nothing").report().await.unwrap_err();
    assert_eq!(unknown.kind(), ErrorKind::UnknownMigration);
    assert!(unknown.to_string().contains("no removal `nothing`"), "{unknown}");
    let wrong = runtime.removal("Not A Name", table()).await.unwrap_err();
    assert_eq!(wrong.kind(), ErrorKind::InvalidInput);
    let state = report(&operator).await;
    assert_eq!((state.phase, removal.events().await.unwrap().len()), (RemovalPhase::InUse, 0));
    assert_eq!(db.number("SELECT count(*) FROM fax").await, 2);
    runtime.shutdown().await.unwrap();
}

async fn the_declaration_stays_what_it_was_once_a_phase_has_begun<D: Sql>(db: Scratch<D>) {
    let (runtime, operator) = declared(&db, table()).await;
    runtime.removal("old-fax", column()).await.unwrap();
    assert_eq!(report(&operator).await.objects, ["column customer.fax"]);
    to(&db, &operator, RemovalPhase::WritesStopped).await;
    runtime.removal("old-fax", table()).await.unwrap();
    assert_eq!(report(&operator).await.objects, ["column customer.fax"]);
    assert_eq!(operator.removals().await.unwrap(), ["old-fax"]);
    runtime.shutdown().await.unwrap();
}

async fn run(url: &str, arguments: &[&str]) -> (u8, String, String) {
    let arguments = [&["dualwrite", "--database", url, "removal"][..], arguments].concat();
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let code = dualwrite_cli::run(arguments, &mut out, &mut err).await;
    let [out, err] = [out, err].map(|text| String::from_utf8(text).unwrap());
    (code, out, err)
}

async fn it_is_driven_from_the_terminal<D: Sql>(db: Scratch<D>) {
    let (runtime, _) = declared(&db, table()).await;
    let url = &*db.url();
    let give = async |command: &str, more: &[&str]| {
        let said = [&[command, "old-fax", "--by", "ada", "--because", "over"][..], more].concat();
        run(url, &said).await
    };
    assert_eq!(run(url, &["list"]).await.1, "old-fax\n");
    assert_eq!(give("stop-writes", &[]).await.0, 0);
    let (code, out, _) = run(url, &["status", "old-fax"]).await;
    assert!(code == 1 && out.contains("must last for"), "{out}");
    assert_eq!(give("stop-reads", &[]).await.0, dualwrite_cli::REFUSED);
    age(&db).await;
    assert_eq!(give("stop-reads", &[]).await.0, 0);
    age(&db).await;
    assert_eq!(give("rename", &[]).await.0, 0);
    age(&db).await;
    assert_eq!(give("drop", &[]).await.0, dualwrite_cli::REFUSED);
    assert_eq!(give("backup", &["--", "sh", "-c", "exit 3"]).await.0, 1);
    let (code, _, err) = give("backup", &["--", "sh", "-c", "echo 2 rows"]).await;
    assert_eq!((code, &*err), (0, ""));
    let (code, out, err) = give("drop", &[]).await;
    assert!(code == 0 && out.contains("DROP TABLE"), "{out}{err}");
    let (_, out, _) = run(url, &["--output", "json", "events", "old-fax"]).await;
    let events: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(events.as_array().unwrap().len(), 5, "{events}");
    assert!(events[1]["detail"].as_str().unwrap().contains("2 rows"), "{events}");
    assert_eq!(run(url, &["status", "nothing"]).await.0, dualwrite_cli::UNKNOWN);
    runtime.shutdown().await.unwrap();
}
