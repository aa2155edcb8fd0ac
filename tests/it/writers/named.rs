//! Writers that no trigger of the library sees, and sequences that are behind: they are named, and `Complete` waits.

use std::marker::PhantomData;

use dualwrite::{
    Blocker, BoxError, Copied, CopyKeys, ErrorKind, Gate, Migration, Move, Runtime, Stage, Tx,
    copy::KeySource, preflight::HazardKind, verify::StaleKind,
};

use super::seen::{on, stale};
use crate::support::db::{Scratch, on_all_databases};
use crate::support::notes::{World, plain};
use crate::support::sql::Sql;

on_all_databases!(
    a_cascade_is_named_and_complete_waits_for_a_word_and_a_verification,
    a_trigger_of_the_application_is_named_until_it_is_gone,
    a_trigger_of_the_library_that_is_missing_is_named,
    a_record_of_a_stopped_writer_is_taken_back_with_the_generation,
    sequences_of_new_go_on_where_old_ends,
);

pub(crate) async fn ramped_down<D: Sql>(db: Scratch<D>) -> World<D> {
    let world = World::with(db, Stage::DualWrite, 10, plain).await;
    world.migration.backfill().run().await.unwrap();
    assert!(world.migration.verify().run().await.unwrap().proven);
    for stage in [Stage::Shadow, Stage::Live, Stage::RampDown] {
        world.migration.advance(stage).await.unwrap();
    }
    world
}

pub(crate) async fn add_cascade<D: Sql>(db: &Scratch<D>) {
    db.execute("CREATE TABLE author (id BIGINT PRIMARY KEY)").await;
    db.execute("INSERT INTO author VALUES (1)").await;
    let inline =
        "ALTER TABLE old_note ADD COLUMN author BIGINT REFERENCES author (id) ON DELETE CASCADE";
    let apart = "ALTER TABLE old_note ADD COLUMN author BIGINT, ADD CONSTRAINT of_author \
                 FOREIGN KEY (author) REFERENCES author (id) ON DELETE CASCADE";
    db.execute(D::sql(inline, inline, apart)).await;
}

/// What stands before a move, but for instances that catch up by themselves.
pub(crate) async fn blockers(migration: &Migration, requested: Move) -> Vec<Blocker> {
    let mut found = migration.readiness(requested).await.unwrap();
    found.retain(|blocker| blocker.gate != Gate::Drained);
    found
}

pub(super) async fn kinds(migration: &Migration) -> Vec<HazardKind> {
    migration.hazards().await.unwrap().into_iter().map(|one| one.kind).collect()
}

async fn a_cascade_is_named_and_complete_waits_for_a_word_and_a_verification<D: Sql>(
    db: Scratch<D>,
) {
    let world = ramped_down(db).await;
    let migration = &world.migration;
    assert_eq!(blockers(migration, Move::Advance(Stage::Complete)).await, []);
    add_cascade(&world.db).await;
    // On MySQL that makes the table anew.
    assert!(migration.verify().run().await.unwrap().proven);
    let hazards = migration.hazards().await.unwrap();
    let [cascade] = hazards.as_slice() else { panic!("{hazards:?}") };
    assert_eq!(cascade.kind, HazardKind::ForeignKey);
    assert!(
        cascade.name.contains("foreign key") && cascade.name.contains("old_note"),
        "{cascade:?}"
    );
    assert!(cascade.detail.contains("author"), "{cascade:?}");
    for requested in
        [Move::Advance(Stage::Complete), Move::Ramp(dualwrite::Percent::new(1).unwrap())]
    {
        let blockers = blockers(migration, requested).await;
        let [blocker] = blockers.as_slice() else { panic!("{blockers:?}") };
        assert_eq!(blocker.gate, Gate::Released);
        assert!(blocker.reason.starts_with(&cascade.name), "{}", blocker.reason);
    }
    migration.advance(Stage::Complete).await.unwrap_err();

    for (name, because) in [("nobody", "x"), (cascade.name.as_str(), " ")] {
        let refused = migration.writer_stopped(name, "ada", because).await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::InvalidInput, "{refused}");
    }
    migration.writer_stopped(&cascade.name, "ada", "authors are only added now").await.unwrap();
    let stopped = migration.status().await.unwrap().hazards[0].stopped.clone().unwrap();
    assert_eq!((&*stopped.actor, &*stopped.reason), ("ada", "authors are only added now"));
    assert_eq!(stale(migration).await, [StaleKind::Writer]);
    let refused = migration.advance(Stage::Complete).await.unwrap_err();
    assert!(refused.to_string().contains("[verified] what a stopped writer wrote"), "{refused}");
    assert!(migration.verify().run().await.unwrap().proven);
    migration.advance(Stage::Complete).await.unwrap();
}

async fn a_trigger_of_the_application_is_named_until_it_is_gone<D: Sql>(db: Scratch<D>) {
    let world = ramped_down(db).await;
    world.db.execute("CREATE TABLE log (id BIGINT PRIMARY KEY)").await;
    let body = "UPDATE old_note SET word = 'shouted' WHERE id = NEW.id;";
    let trigger = match D::NAME {
        "postgres" => format!(
            "CREATE FUNCTION shout() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {body} \
             RETURN NULL; END $$; CREATE TRIGGER shout AFTER INSERT ON log \
             FOR EACH ROW EXECUTE FUNCTION shout()"
        ),
        _ => format!("CREATE TRIGGER shout AFTER INSERT ON log FOR EACH ROW BEGIN {body} END"),
    };
    world.db.execute(&trigger).await;
    let hazards = world.migration.hazards().await.unwrap();
    let [found] = hazards.as_slice() else { panic!("{hazards:?}") };
    assert_eq!((found.kind, &*found.name), (HazardKind::Trigger, "trigger shout on log"));
    world.migration.advance(Stage::Complete).await.unwrap_err();
    world
        .db
        .execute(D::sql("DROP TRIGGER shout", "DROP TRIGGER shout ON log", "DROP TRIGGER shout"))
        .await;
    assert_eq!(kinds(&world.migration).await, []);
    assert_eq!(
        stale(&world.migration).await,
        [StaleKind::Writer],
        "nobody said that it was stopped"
    );
    world.migration.advance(Stage::Complete).await.unwrap_err();
    assert!(world.migration.verify().run().await.unwrap().proven);
    world.migration.advance(Stage::Complete).await.unwrap();
}

async fn a_trigger_of_the_library_that_is_missing_is_named<D: Sql>(db: Scratch<D>) {
    let world = ramped_down(db).await;
    world.migration.install_trigger().await.unwrap();
    assert_eq!(kinds(&world.migration).await, []);
    let names = D::sql(
        "SELECT name FROM sqlite_master WHERE name LIKE 'dualwrite_watch%_upd'",
        "SELECT min(tgname)::text FROM pg_trigger WHERE tgname LIKE 'dualwrite_watch%'",
        "SELECT trigger_name FROM information_schema.triggers \
         WHERE trigger_schema = DATABASE() AND trigger_name LIKE 'dualwrite_watch%_upd'",
    );
    let name = world.db.rows(names).await[0][0].clone().unwrap();
    world
        .db
        .execute(&match D::NAME {
            "postgres" => format!("ALTER TABLE old_note DISABLE TRIGGER {name}"),
            _ => format!("DROP TRIGGER {name}"),
        })
        .await;
    assert_eq!(kinds(&world.migration).await, [HazardKind::Watch]);
    let refused = world.migration.advance(Stage::Complete).await.unwrap_err();
    assert!(refused.to_string().contains("run `install_trigger` again"), "{refused}");
    // What is written meanwhile, nobody sees: with the trigger back, the proof of before says nothing.
    world.db.execute("UPDATE old_note SET word = 'unseen' WHERE id = 1").await;
    world.migration.install_trigger().await.unwrap();
    assert_eq!(kinds(&world.migration).await, []);
    let refused = world.migration.advance(Stage::Complete).await.unwrap_err();
    assert!(refused.blockers().iter().any(|found| found.gate == Gate::Verified), "{refused}");
    world.db.execute("UPDATE new_note SET word = 'unseen' WHERE id = 1").await;
    assert!(world.migration.verify().run().await.unwrap().proven);
    world.migration.advance(Stage::Complete).await.unwrap();
}

async fn a_record_of_a_stopped_writer_is_taken_back_with_the_generation<D: Sql>(db: Scratch<D>) {
    let world = World::with(db, Stage::DualWrite, 2, plain).await;
    add_cascade(&world.db).await;
    let name = world.migration.hazards().await.unwrap()[0].name.clone();
    world.migration.writer_stopped(&name, "ada", "for now").await.unwrap();
    assert!(world.migration.hazards().await.unwrap()[0].stopped.is_some());
    world.migration.step_back(Stage::Off).await.unwrap();
    assert!(world.migration.hazards().await.unwrap()[0].stopped.is_none());
}

/// Things with a number that the database gives.
struct CopyThings<D: Sql>(PhantomData<D>);

impl<D: Sql> CopyKeys for CopyThings<D> {
    type Database = D::Db;
    type Key = i64;

    fn source(&self) -> KeySource {
        KeySource::table("thing").column("id")
    }

    fn new_source(&self) -> Option<KeySource> {
        Some(KeySource::table("new_thing").column("id"))
    }

    async fn copy(&self, tx: &mut Tx<'_, D::Db>, keys: &[i64]) -> Result<Copied, BoxError> {
        let mut copied = Copied::default();
        for key in keys {
            D::run(tx, &format!("DELETE FROM new_thing WHERE id = {key}")).await?;
            let sql =
                format!("INSERT INTO new_thing (id, n) SELECT id, n FROM thing WHERE id = {key}");
            copied.migrated += D::run(tx, &sql).await?;
        }
        Ok(copied)
    }

    async fn differing(&self, _: &mut Tx<'_, D::Db>, _: &[i64]) -> Result<Vec<i64>, BoxError> {
        Ok(Vec::new())
    }
}

/// Things at `RampDown` whose sequence of new is behind.
pub(crate) async fn things_behind<D: Sql>(db: &Scratch<D>) -> (Runtime<D::Db>, Migration) {
    let id = D::sql(
        "INTEGER PRIMARY KEY AUTOINCREMENT",
        "BIGINT GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY",
        "BIGINT AUTO_INCREMENT PRIMARY KEY",
    );
    db.execute(&format!(
        "CREATE TABLE thing (id {id}, n BIGINT); CREATE TABLE new_thing (id {id}, n BIGINT)"
    ))
    .await;
    for n in 1..=20 {
        db.execute(&format!("INSERT INTO thing (n) VALUES ({n})")).await;
    }
    // Their numbers were given out, and are in nobody's table any more.
    db.execute("DELETE FROM thing WHERE n > 15").await;
    let runtime = Runtime::builder(db.pool().clone()).start().await.unwrap();
    let copy = CopyThings::<D>(PhantomData);
    let migration = runtime.migration("things").backfill(copy).register().await.unwrap();
    migration.advance(Stage::DualWrite).await.unwrap();
    migration.backfill().run().await.unwrap();
    assert!(migration.verify().run().await.unwrap().proven);
    for stage in [Stage::Shadow, Stage::Live, Stage::RampDown] {
        migration.advance(stage).await.unwrap();
    }
    (runtime, migration)
}

async fn sequences_of_new_go_on_where_old_ends<D: Sql>(db: Scratch<D>) {
    let (_runtime, migration) = things_behind(&db).await;
    let blockers = blockers(&migration, Move::Advance(Stage::Complete)).await;
    let [blocker] = blockers.as_slice() else { panic!("{blockers:?}") };
    assert_eq!(blocker.gate, Gate::Sequences);
    let hazard = migration.hazards().await.unwrap().remove(0);
    let repair = hazard.repair.unwrap();
    assert!(blocker.reason.ends_with(&repair), "{}", blocker.reason);
    migration.advance(Stage::Complete).await.unwrap_err();
    assert_eq!(migration.advance_sequences().await.unwrap(), [repair]);
    assert_eq!(migration.advance_sequences().await.unwrap(), Vec::<String>::new());
    assert_eq!(stale(&migration).await, [], "nothing was written");
    // Old goes on giving out numbers until then.
    let insert = "INSERT INTO thing (n) VALUES (21)";
    db.execute(insert).await;
    db.execute("INSERT INTO new_thing (id, n) SELECT id, n FROM thing WHERE n = 21").await;
    migration.advance(Stage::Complete).await.unwrap();
    db.execute("INSERT INTO new_thing (n) VALUES (22)").await;
    assert!(db.number("SELECT id FROM new_thing WHERE n = 22").await > 21);
}

on!(MySqlDb:
    a_table_that_was_truncated_is_noticed_on_mysql,
    partitions_that_change_are_noticed_on_mysql,
    a_sequence_that_new_draws_from_goes_on_where_old_ends_on_mysql,
    a_counter_that_an_update_has_passed_is_named_on_mysql,
);
on!(PostgresDb:
    a_partition_that_goes_is_noticed_on_postgres,
    what_the_trigger_sees_is_not_named_on_postgres,
    a_subscription_is_named_until_the_trigger_fires_for_it_on_postgres,
);

/// `thing` and `new_thing`, of which the first has 15 rows, and the command that repairs what is behind.
async fn things_with<D: Sql>(db: &Scratch<D>, tables: &str) -> (Runtime<D::Db>, Migration) {
    db.execute(tables).await;
    for n in 1..=15 {
        db.execute(&format!("INSERT INTO thing (id, n) VALUES ({n}, {n})")).await;
    }
    let runtime = Runtime::builder(db.pool().clone()).start().await.unwrap();
    let copy = CopyThings::<D>(PhantomData);
    let migration = runtime.migration("things").backfill(copy).register().await.unwrap();
    migration.advance(Stage::DualWrite).await.unwrap();
    migration.backfill().run().await.unwrap();
    (runtime, migration)
}

/// The server keeps numbers in its memory that it may still give.
async fn a_sequence_that_new_draws_from_goes_on_where_old_ends_on_mysql<D: Sql>(db: Scratch<D>) {
    for options in ["", "NOCACHE", "CACHE 50000", "INCREMENT BY 7", "START WITH 10"] {
        let tables = format!(
            "CREATE SEQUENCE numbers {options};
             CREATE TABLE thing (id BIGINT PRIMARY KEY, n BIGINT);
             CREATE TABLE new_thing (id BIGINT PRIMARY KEY DEFAULT NEXTVAL(numbers), n BIGINT);
             INSERT INTO new_thing (n) VALUES (0); DELETE FROM new_thing"
        );
        let (runtime, migration) = things_with(&db, &tables).await;
        let hazards = migration.hazards().await.unwrap();
        let [behind] = hazards.as_slice() else { panic!("{options}: {hazards:?}") };
        assert_eq!(behind.kind, HazardKind::Sequence);
        assert!(behind.name.ends_with("numbers"), "{behind:?}");
        let repair = behind.repair.clone().unwrap();
        assert_eq!(migration.advance_sequences().await.unwrap(), [repair], "{options}");
        assert_eq!(kinds(&migration).await, [], "{options}");
        db.execute("INSERT INTO new_thing (n) VALUES (22)").await;
        let id = db.number("SELECT id FROM new_thing WHERE n = 22").await;
        assert!(id > 15, "{options}: {id}");
        // One sequence for both gives no number twice.
        db.execute("ALTER TABLE thing MODIFY id BIGINT DEFAULT NEXTVAL(numbers)").await;
        db.execute("INSERT INTO thing (n) VALUES (23)").await;
        assert_eq!(kinds(&migration).await, [], "{options}");
        migration.step_back(Stage::Off).await.unwrap();
        runtime.shutdown().await.unwrap();
        db.execute("DROP TABLE thing; DROP TABLE new_thing; DROP SEQUENCE numbers").await;
    }
}

/// It follows what is inserted, and not what is updated; and it knows nothing of rows that are not copied.
async fn a_counter_that_an_update_has_passed_is_named_on_mysql<D: Sql>(db: Scratch<D>) {
    let tables = "CREATE TABLE thing (id BIGINT PRIMARY KEY, n BIGINT);
                  CREATE TABLE new_thing (id BIGINT AUTO_INCREMENT PRIMARY KEY, n BIGINT)";
    let (_runtime, migration) = things_with(&db, tables).await;
    assert_eq!(kinds(&migration).await, []);
    db.execute("INSERT INTO thing VALUES (30, 30)").await;
    assert_eq!(kinds(&migration).await, [HazardKind::Sequence]);
    migration.advance_sequences().await.unwrap();
    assert_eq!(kinds(&migration).await, []);
    db.execute("UPDATE new_thing SET id = 10031 WHERE id = 15").await;
    let counter = "SELECT auto_increment FROM information_schema.tables \
                   WHERE table_schema = DATABASE() AND table_name = 'new_thing'";
    if db.number(counter).await <= 10_031 {
        assert_eq!(kinds(&migration).await, [HazardKind::Sequence]);
        migration.advance_sequences().await.unwrap();
    }
    db.execute("INSERT INTO new_thing (n) VALUES (31)").await;
    assert!(db.number("SELECT id FROM new_thing WHERE n = 31").await > 10_031);
}

async fn a_table_that_was_truncated_is_noticed_on_mysql<D: Sql>(db: Scratch<D>) {
    let world = World::with(db, Stage::DualWrite, 10, plain).await;
    world.migration.backfill().run().await.unwrap();
    world.migration.install_trigger().await.unwrap();
    assert!(world.migration.verify().run().await.unwrap().proven);
    world.migration.advance(Stage::Shadow).await.unwrap();
    assert_eq!(blockers(&world.migration, Move::Advance(Stage::Live)).await, []);
    world.db.execute("TRUNCATE old_note").await;
    let blockers = blockers(&world.migration, Move::Advance(Stage::Live)).await;
    assert_eq!(blockers.iter().map(|one| one.gate).collect::<Vec<_>>(), [Gate::Verified]);
    assert_eq!(stale(&world.migration).await, [StaleKind::Reshaped]);
    world.migration.advance(Stage::Live).await.unwrap_err();
    assert_eq!(world.migration.verify().run().await.unwrap().missing_in_old, 10);
    world.migration.verify().repair().run().await.unwrap();
    assert!(world.migration.verify().run().await.unwrap().proven);
    world.migration.advance(Stage::Live).await.unwrap();
}

async fn watched_things<D: Sql>(db: &Scratch<D>) -> (Runtime<D::Db>, Migration) {
    let runtime = Runtime::builder(db.pool().clone()).start().await.unwrap();
    let copy = CopyThings::<D>(PhantomData);
    let migration = runtime.migration("things").backfill(copy).register().await.unwrap();
    migration.install_trigger().await.unwrap();
    assert_eq!(kinds(&migration).await, []);
    assert_eq!(stale(&migration).await, []);
    (runtime, migration)
}

async fn partitions_that_change_are_noticed_on_mysql<D: Sql>(db: Scratch<D>) {
    db.execute(
        "CREATE TABLE thing (id BIGINT PRIMARY KEY, n BIGINT) PARTITION BY RANGE (id)
             (PARTITION a VALUES LESS THAN (10), PARTITION b VALUES LESS THAN (20),
              PARTITION c VALUES LESS THAN (30));
         CREATE TABLE new_thing (id BIGINT PRIMARY KEY, n BIGINT);
         CREATE TABLE away (id BIGINT PRIMARY KEY, n BIGINT)",
    )
    .await;
    let (_runtime, migration) = watched_things(&db).await;
    let changes = [
        "ALTER TABLE thing TRUNCATE PARTITION a",
        "ALTER TABLE thing EXCHANGE PARTITION b WITH TABLE away",
        "ALTER TABLE thing DROP PARTITION c",
    ];
    for change in changes {
        db.execute(change).await;
        migration.hazards().await.unwrap();
        assert_eq!(stale(&migration).await, [StaleKind::Reshaped], "{change}");
        db.execute("DELETE FROM dualwrite_stale").await;
    }
}

async fn a_partition_that_goes_is_noticed_on_postgres<D: Sql>(db: Scratch<D>) {
    db.execute(
        "CREATE TABLE thing (id BIGINT PRIMARY KEY, n BIGINT) PARTITION BY RANGE (id);
         CREATE TABLE thing_1 PARTITION OF thing FOR VALUES FROM (0) TO (10);
         CREATE TABLE thing_2 PARTITION OF thing FOR VALUES FROM (10) TO (20);
         CREATE TABLE new_thing (id BIGINT PRIMARY KEY, n BIGINT)",
    )
    .await;
    let (_runtime, migration) = watched_things(&db).await;
    db.execute("ALTER TABLE thing DETACH PARTITION thing_2").await;
    migration.hazards().await.unwrap();
    assert_eq!(stale(&migration).await, [StaleKind::Reshaped]);
    db.execute("DELETE FROM dualwrite_stale").await;
    // One that comes has no trigger for TRUNCATE yet.
    db.execute("CREATE TABLE thing_3 PARTITION OF thing FOR VALUES FROM (20) TO (30)").await;
    assert_eq!(kinds(&migration).await, [HazardKind::Watch]);
    migration.install_trigger().await.unwrap();
    assert_eq!(kinds(&migration).await, []);
}

async fn what_the_trigger_sees_is_not_named_on_postgres<D: Sql>(db: Scratch<D>) {
    let world = World::with(db, Stage::DualWrite, 2, plain).await;
    add_cascade(&world.db).await;
    assert_eq!(kinds(&world.migration).await, [HazardKind::ForeignKey]);
    world.migration.install_trigger().await.unwrap();
    assert_eq!(kinds(&world.migration).await, []);
    world.db.execute("CREATE TABLE log (id BIGINT PRIMARY KEY)").await;
    let rule =
        "CREATE RULE shout AS ON INSERT TO log DO ALSO DELETE FROM old_note WHERE id = NEW.id";
    world.db.execute(rule).await;
    assert_eq!(kinds(&world.migration).await, [HazardKind::Rule]);
    world.migration.remove_trigger().await.unwrap();
    assert_eq!(kinds(&world.migration).await, [HazardKind::ForeignKey, HazardKind::Rule]);
}

async fn a_subscription_is_named_until_the_trigger_fires_for_it_on_postgres<D: Sql>(
    db: Scratch<D>,
) {
    let world = World::with(db, Stage::DualWrite, 2, plain).await;
    assert_eq!(kinds(&world.migration).await, []);
    // As one that a publisher feeds, without the publisher.
    world
        .db
        .execute(
            "CREATE SUBSCRIPTION feed CONNECTION 'dbname=nowhere' PUBLICATION shop
                 WITH (connect = false, enabled = false, slot_name = NONE);
             SET allow_system_table_mods = on;
             INSERT INTO pg_subscription_rel (srsubid, srrelid, srsubstate)
                 SELECT oid, 'old_note'::regclass, 'r' FROM pg_subscription
                 WHERE subname = 'feed'
                     AND subdbid = (SELECT oid FROM pg_database WHERE datname = current_database());
             RESET allow_system_table_mods",
        )
        .await;
    assert_eq!(kinds(&world.migration).await, [HazardKind::Replication]);
    let hazard = world.migration.hazards().await.unwrap().remove(0);
    assert!(hazard.name.starts_with("logical replication into old_note"), "{}", hazard.name);
    world.migration.install_trigger().await.unwrap();
    assert_eq!(kinds(&world.migration).await, []);
    world.migration.remove_trigger().await.unwrap();
    assert_eq!(kinds(&world.migration).await, [HazardKind::Replication]);
    world.db.execute("DROP SUBSCRIPTION feed").await;
    assert_eq!(kinds(&world.migration).await, []);
}
