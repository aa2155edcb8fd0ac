//! Constraints of new that the database judges at the commit: what violates them becomes a dead letter or a mark, and
//! never the fault of the caller or of the rows beside it.

use dualwrite::{ErrorKind, Stage};

use crate::support::db::{PostgresDb, Scratch, TestDb as _, on_all_databases};
use crate::support::notes::{Notes, World, plain};
use crate::support::sql::Sql;

on_all_databases!(
    a_row_that_a_deferred_constraint_refuses_is_a_dead_letter_and_the_rest_is_copied,
    a_mirror_write_that_one_refuses_marks_its_key_and_the_callers_write_stays,
    constraints_of_the_application_stay_as_it_set_them,
);

/// `new_note` again, with a deferred foreign key; `word`s must be among `allowed`.
async fn with_deferred<D: Sql>(world: &World<D>) -> bool {
    let new = D::sql(
        "DROP TABLE new_note; CREATE TABLE new_note (id INTEGER PRIMARY KEY, word TEXT NOT NULL \
         REFERENCES allowed (word) DEFERRABLE INITIALLY DEFERRED)",
        "ALTER TABLE new_note ADD CONSTRAINT new_word_allowed FOREIGN KEY (word) REFERENCES allowed (word) \
         DEFERRABLE INITIALLY DEFERRED;
         CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \
         IF NEW.word = 'triggered' THEN RAISE EXCEPTION 'PLANTED %', NEW.word; END IF; RETURN NULL; END $$;
         CREATE CONSTRAINT TRIGGER late AFTER INSERT OR UPDATE ON new_note DEFERRABLE INITIALLY DEFERRED \
         FOR EACH ROW EXECUTE FUNCTION refuse()",
        "",
    );
    if new.is_empty() {
        return false; // MySQL and MariaDB defer nothing
    }
    world.db.execute("CREATE TABLE allowed (word VARCHAR(40) PRIMARY KEY)").await;
    world.db.execute("INSERT INTO allowed SELECT DISTINCT word FROM old_note").await;
    world.db.execute("INSERT INTO allowed VALUES ('triggered'), ('fine')").await;
    world.db.execute(new).await;
    true
}

fn refused<D: Sql>() -> (&'static [i64], &'static str) {
    match D::NAME {
        "postgres" => (
            &[5, 6],
            "UPDATE old_note SET word = CASE id WHEN 5 THEN 'PLANTED' ELSE 'triggered' END \
                       WHERE id IN (5, 6)",
        ),
        _ => (&[5], "UPDATE old_note SET word = 'PLANTED' WHERE id = 5"),
    }
}

async fn a_row_that_a_deferred_constraint_refuses_is_a_dead_letter_and_the_rest_is_copied<
    D: Sql,
>(
    db: Scratch<D>,
) {
    let world = World::with(db, Stage::DualWrite, 30, plain).await;
    if !with_deferred(&world).await {
        return;
    }
    let (keys, update) = refused::<D>();
    world.db.execute(update).await;
    let would = world.migration.backfill().dry_run().await.unwrap();
    assert_eq!(would.failed, keys.len() as u64, "{would:?}");
    let done = world.migration.backfill().batch(7).run().await.unwrap();
    assert_eq!((done.complete, done.failed), (true, keys.len() as u64));
    assert_eq!(done.migrated, 30 - keys.len() as u64);
    let letters = world.migration.dead_letters().await.unwrap();
    let mut named: Vec<i64> = letters.iter().map(|letter| letter.key.parse().unwrap()).collect();
    named.sort_unstable();
    assert_eq!(named, keys);
    assert!(letters.iter().all(|letter| !letter.error.contains("PLANTED")), "{letters:?}");
    // One key by itself, and the retry of letters.
    let failed = world.migration.copy(&5_i64).await.unwrap_err();
    assert_eq!(failed.kind(), ErrorKind::CopyFailed, "{failed}");
    assert_eq!(world.migration.retry_dead_letters().await.unwrap(), 0);
    // A repair names it too, and goes on.
    let report = world.migration.verify().repair().run().await.unwrap();
    assert_eq!(report.failed, keys.len() as u64, "{report:?}");
    for key in keys {
        world.db.execute(&format!("UPDATE old_note SET word = 'fine' WHERE id = {key}")).await;
    }
    assert_eq!(world.migration.retry_dead_letters().await.unwrap(), keys.len() as u64);
    assert!(world.migration.verify().run().await.unwrap().is_clean());
}

async fn a_mirror_write_that_one_refuses_marks_its_key_and_the_callers_write_stays<D: Sql>(
    db: Scratch<D>,
) {
    let world = World::with(db, Stage::DualWrite, 9, plain).await;
    if !with_deferred(&world).await {
        return;
    }
    world.migration.backfill().run().await.unwrap();
    let words: &[&str] =
        if D::NAME == "postgres" { &["PLANTED", "triggered"] } else { &["PLANTED"] };
    for (word, id) in words.iter().zip(3_i64..) {
        let mut tx = world.begin().await;
        world.notes.save(&mut tx, 1, "fine").await.unwrap();
        world.notes.save(&mut tx, id, word).await.unwrap();
        world.notes.save(&mut tx, 2, "fine").await.unwrap();
        tx.commit().await.unwrap();
        let old = format!("SELECT count(*) FROM old_note WHERE id = {id} AND word = '{word}'");
        assert_eq!(world.db.number(&old).await, 1, "the caller's write is there");
        let marked = format!("SELECT count(*) FROM dualwrite_dirty WHERE key_text = '{id}'");
        assert_eq!(world.db.number(&marked).await, 1);
    }
    let fine = "SELECT count(*) FROM new_note WHERE word = 'fine' AND id IN (1, 2)";
    assert_eq!(world.db.number(fine).await, 2, "the writes beside it are on both sides");
}

/// A caller's own deferred constraint is violated for a while, around a dual write.
async fn constraints_of_the_application_stay_as_it_set_them<D: Sql>(db: Scratch<D>) {
    let world = World::with(db, Stage::DualWrite, 9, plain).await;
    if !with_deferred(&world).await {
        return;
    }
    world
        .db
        .execute(
            "CREATE TABLE parent (id BIGINT PRIMARY KEY);
             CREATE TABLE child (id BIGINT REFERENCES parent (id) DEFERRABLE INITIALLY DEFERRED)",
        )
        .await;
    let mut tx = world.begin().await;
    D::run(&mut tx, "INSERT INTO child VALUES (1)").await.unwrap();
    world.notes.save(&mut tx, 1, "fine").await.unwrap();
    // Between the two, new is as late as ever: its constraints are deferred again.
    if D::NAME == "postgres" {
        D::run(&mut tx, "INSERT INTO new_note (id, word) VALUES (90, 'later')").await.unwrap();
        D::run(&mut tx, "INSERT INTO allowed VALUES ('later')").await.unwrap();
    }
    D::run(&mut tx, "INSERT INTO parent VALUES (1)").await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(world.db.number("SELECT count(*) FROM child").await, 1);
    assert_eq!(world.db.number("SELECT count(*) FROM dualwrite_dirty").await, 0);
    assert_eq!(world.db.number("SELECT count(*) FROM new_note WHERE word = 'fine'").await, 1);
}

/// Uniqueness and exclusion can be deferred as well.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn uniqueness_and_exclusion_are_judged_before_the_commit_on_postgres() {
    for constraint in ["UNIQUE (word)", "EXCLUDE USING btree (word WITH =)", "UNIQUE (word, id)"] {
        let Some(db) = PostgresDb::fresh("deferred_unique").await else { return };
        let world = World::with(db, Stage::DualWrite, 30, plain).await;
        world
            .db
            .execute(&format!(
                "ALTER TABLE new_note ADD CONSTRAINT word_once {constraint} DEFERRABLE INITIALLY DEFERRED;
                 UPDATE old_note SET word = 'PLANTED' WHERE id IN (5, 6)"
            ))
            .await;
        let refused = u64::from(constraint != "UNIQUE (word, id)");
        let done = world.migration.backfill().batch(7).run().await.unwrap();
        assert_eq!((done.complete, done.failed), (true, refused), "{constraint}");
        let letters = world.migration.dead_letters().await.unwrap();
        assert_eq!(letters.len() as u64, refused, "{constraint}");
        assert!(letters.iter().all(|letter| letter.error.contains("word_once")), "{letters:?}");
        assert!(!format!("{letters:?}").contains("PLANTED"), "{letters:?}");

        // A mirror write marks its key, and those beside it are on both sides.
        let mut tx = world.begin().await;
        world.notes.save(&mut tx, 1, "fine").await.unwrap();
        world.notes.save(&mut tx, 9, "PLANTED").await.unwrap();
        world.notes.save(&mut tx, 2, "fine too").await.unwrap();
        tx.commit().await.unwrap();
        let old = "SELECT count(*) FROM old_note WHERE word = 'PLANTED'";
        assert_eq!(world.db.number(old).await, 3, "{constraint}: the caller's write is there");
        let new = "SELECT count(*) FROM new_note WHERE word LIKE 'fine%'";
        assert_eq!(world.db.number(new).await, 2, "{constraint}");
        let counters = world.migration.status().await.unwrap().counters;
        assert_eq!(counters.mirror_failed, refused, "{constraint}");
    }
}
