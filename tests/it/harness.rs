//! The tests' own tools do what the other tests rely on.

use sqlx::{Connection, Database};

use crate::support::chinook;
use crate::support::db::{Scratch, TestDb, database_name, on_all_databases};

on_all_databases!(
    answers_in_text,
    is_open_to_other_pools_and_processes,
    is_nobody_elses,
    goes_with_its_scratch,
    stays_when_a_test_panics,
    holds_chinook,
);

async fn answers_in_text<D: TestDb>(db: Scratch<D>) {
    db.execute(
        "CREATE TABLE t (id INTEGER PRIMARY KEY, word VARCHAR(20));
         INSERT INTO t VALUES (1, 'one; and more'), (2, NULL), (3, 'Grüße 🙂')",
    )
    .await;
    let rows = db.rows("SELECT id, word FROM t ORDER BY id").await;
    let text = |text: &str| Some(text.to_owned());
    assert_eq!(
        rows,
        [[text("1"), text("one; and more")], [text("2"), None], [text("3"), text("Grüße 🙂")]]
    );
    assert_eq!(db.number("SELECT count(*) FROM t WHERE word IS NULL").await, 1);
    let version = D::sql("SELECT sqlite_version()", "SHOW server_version", "SELECT version()");
    assert_eq!(db.rows(version).await.len(), 1);
}

async fn is_open_to_other_pools_and_processes<D: TestDb>(db: Scratch<D>) {
    db.execute("CREATE TABLE t (id INTEGER PRIMARY KEY); INSERT INTO t VALUES (1)").await;
    let other = db.another_pool(1).await;
    let seen = D::rows(&other, "SELECT id FROM t").await.unwrap();
    assert_eq!(seen, [[Some("1".to_owned())]]);
    let mut held = Vec::new();
    for _ in 0..3 {
        held.push(db.pool().acquire().await.unwrap());
    }
    assert!(connects::<D>(&db.url()).await);
}

async fn is_nobody_elses<D: TestDb>(db: Scratch<D>) {
    let other = D::fresh("is_nobody_elses, again").await.unwrap();
    db.execute("CREATE TABLE t (id INTEGER PRIMARY KEY)").await;
    other.execute("CREATE TABLE t (id INTEGER PRIMARY KEY)").await;
}

async fn goes_with_its_scratch<D: TestDb>(db: Scratch<D>) {
    let url = db.url();
    // Not even a transaction that somebody forgot keeps it.
    db.execute("CREATE TABLE t (id INTEGER PRIMARY KEY)").await;
    let forgotten = db.another_pool(1).await;
    D::execute(&forgotten, "BEGIN; INSERT INTO t VALUES (1)").await.unwrap();
    assert!(connects::<D>(&url).await);
    drop(db);
    assert!(!connects::<D>(&url).await);
}

async fn stays_when_a_test_panics<D: TestDb>(db: Scratch<D>) {
    let (url, place) = (db.url(), db.place());
    let test = tokio::spawn(async move {
        let _db = db;
        panic!("as a test that fails");
    });
    assert!(test.await.unwrap_err().is_panic());
    assert!(connects::<D>(&url).await);
    place.remove();
    assert!(!connects::<D>(&url).await);
}

async fn connects<D: TestDb>(url: &str) -> bool {
    <D::Db as Database>::Connection::connect(url).await.is_ok()
}

async fn holds_chinook<D: TestDb>(db: Scratch<D>) {
    let Some(()) = chinook::load(&db).await else {
        return;
    };
    assert_eq!(db.number("SELECT count(*) FROM Customer").await, 59);
    assert_eq!(db.number("SELECT count(*) FROM Invoice").await, 412);
    assert_eq!(db.number("SELECT count(*) FROM Track").await, 3503);
    let entries = D::sql("PlaylistTrack", "playlist_track", "PlaylistTrack");
    assert_eq!(db.number(&format!("SELECT count(*) FROM {entries}")).await, 8715);
    let first = D::sql(
        "SELECT Email, City FROM Customer WHERE CustomerId = 1",
        "SELECT email, city FROM customer WHERE customer_id = 1",
        "SELECT Email, City FROM Customer WHERE CustomerId = 1",
    );
    let text = |text: &str| Some(text.to_owned());
    assert_eq!(db.rows(first).await, [[text("luisg@embraer.com.br"), text("São José dos Campos")]]);
}

#[test]
fn database_names_fit_every_database() {
    let name =
        database_name("it::some_behaviour::Käse & a name that is much too long for it::mysql");
    assert!(name.len() <= 63, "{name}");
    assert!(name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_'));
    assert_ne!(database_name("same"), database_name("same"));
}

#[test]
fn only_the_preamble_of_a_script_is_cut() {
    let script = "\u{feff}/* use it */\nDROP DATABASE IF EXISTS c;\nCREATE DATABASE c;\n\\c c;\nUSE `c`;\n\
                  CREATE TABLE t (s TEXT);\nINSERT INTO t VALUES ('\nUSE me');\n";
    let kept = "/* use it */\nCREATE TABLE t (s TEXT);\nINSERT INTO t VALUES ('\nUSE me');\n";
    assert_eq!(chinook::without_preamble(script), kept);
}
