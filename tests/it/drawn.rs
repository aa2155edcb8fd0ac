//! Whole migrations of drawn schemas: types of keys and values, lengths, collations, NULL, keys of several
//! columns. While rows are copied and verified, callers write; some mirrors fail. An oracle in plain SQL says
//! at the end whether every row arrived.
//!
//! A few of them in each test run. A soak: `DUALWRITE_DRAWN_CASES=1000 tests/run drawn`, with
//! `DUALWRITE_DRAWN_SEED` for other ones, or for those of a run that failed.

use std::env;
use std::marker::PhantomData;

use dualwrite::{Backend, Error, ErrorKind, Migration, Runtime, Stage, Tx};
use uuid::Uuid;

mod columns;
mod schema;

use schema::{DrawnKey, POSTGRES_TYPES, Schema};

use crate::support::db::{Scratch, on_all_databases};
use crate::support::dice::Dice;
use crate::support::notice;
use crate::support::sql::Sql;

on_all_databases!(every_row_of_a_drawn_schema_arrives);

/// Cases of one run, on each database.
const CASES: u64 = 10;
const SEED: u64 = 2026;
/// How often a move is tried whose gate waits for keys to be copied again.
const TRIES: usize = 50;

#[dualwrite::repository]
trait Rows<DB: Backend, K: DrawnKey> {
    #[write(key = key)]
    async fn run(
        &self,
        tx: &mut Tx<'_, DB>,
        key: &K,
        statement: &str,
        new_fails: bool,
    ) -> Result<(), sqlx::Error>;
}

struct Table<D> {
    name: &'static str,
    database: PhantomData<fn() -> D>,
}

impl<D: Sql, K: DrawnKey> Rows<D::Db, K> for Table<D> {
    async fn run(
        &self,
        tx: &mut Tx<'_, D::Db>,
        _key: &K,
        statement: &str,
        new_fails: bool,
    ) -> Result<(), sqlx::Error> {
        if new_fails && self.name == "new_row" {
            D::run(tx, "INSERT INTO nowhere VALUES (1)").await?;
        }
        D::run(tx, &statement.replace("{table}", self.name)).await.map(drop)
    }
}

fn setting(name: &str, usual: u64) -> u64 {
    env::var(name).map_or(usual, |text| text.parse().expect("a number"))
}

async fn every_row_of_a_drawn_schema_arrives<D: Sql>(db: Scratch<D>) {
    let (seed, cases) =
        (setting("DUALWRITE_DRAWN_SEED", SEED), setting("DUALWRITE_DRAWN_CASES", CASES));
    notice(&format!("{}: {cases} drawn schemas from the seed {seed}", D::NAME));
    if D::NAME == "postgres" {
        db.execute(POSTGRES_TYPES).await;
    }
    let mut refused = 0;
    for number in 0..cases {
        if number % 100 == 0 && number > 0 {
            notice(&format!("{}: {number} drawn schemas arrived or were refused", D::NAME));
        }
        let mut dice = Dice::new(seed.wrapping_add(number.wrapping_mul(0x5851_f42d)));
        let name = format!("m{number}");
        let arrived = match dice.below(8) {
            0 => arrives::<D, i64>(&db, &name, dice).await,
            1 => arrives::<D, String>(&db, &name, dice).await,
            2 => arrives::<D, Uuid>(&db, &name, dice).await,
            3 => arrives::<D, (i64, i64)>(&db, &name, dice).await,
            4 => arrives::<D, (i64, String)>(&db, &name, dice).await,
            5 => arrives::<D, (String, i64)>(&db, &name, dice).await,
            6 => arrives::<D, (String, String)>(&db, &name, dice).await,
            _ => arrives::<D, (Uuid, String)>(&db, &name, dice).await,
        };
        refused += u64::from(!arrived);
        db.execute("DROP TABLE old_row; DROP TABLE new_row").await;
    }
    assert!(refused * 2 <= cases, "{refused} of {cases} schemas were refused");
}

/// One migration from `Off` to `Complete`; `false` where the preflight refuses the schema.
async fn arrives<D: Sql, K: DrawnKey>(db: &Scratch<D>, name: &str, mut dice: Dice) -> bool {
    let schema = Schema::<D, K>::draw(&mut dice);
    db.execute(&schema.tables()).await;
    // The tables are made anew for each case: statements that are prepared for the old ones go with their pool.
    let pool = db.another_pool(5).await;
    for _ in 0..dice.below(60) {
        let (_, key) = schema.key(&mut dice);
        let insert = schema.upsert(&mut dice, &key).replace("{table}", "old_row");
        D::execute(&pool, &insert)
            .await
            .unwrap_or_else(|error| panic!("{}: {error}", schema.shown()));
    }
    let runtime = in_time(async || Runtime::builder(pool.clone()).start().await).await.unwrap();
    let registration = runtime.migration(name).backfill(schema.copy());
    let arrived = match registration.register().await {
        Ok(migration) => {
            let mut case = Case { schema, migration, pool: pool.clone(), dice, failures_left: 4 };
            case.live(db).await;
            true
        }
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::Unsupported, "{}: {error}", schema.shown());
            false
        }
    };
    runtime.shutdown().await.unwrap();
    pool.close().await;
    arrived
}

/// Tries again what a machine with much to do did not do in time; it goes on where it was.
async fn in_time<T>(work: impl AsyncFn() -> Result<T, Error>) -> Result<T, Error> {
    for _ in 0..TRIES {
        match work().await {
            Err(error) if error.kind() == ErrorKind::Timeout => {}
            done => return done,
        }
    }
    work().await
}

struct Case<D: Sql, K: DrawnKey> {
    schema: Schema<D, K>,
    migration: Migration,
    pool: sqlx::Pool<D::Db>,
    dice: Dice,
    /// Mirror writes that may still be made to fail: more of them shut the gate before `Live`.
    failures_left: u8,
}

impl<D: Sql, K: DrawnKey> Case<D, K> {
    async fn live(&mut self, db: &Scratch<D>) {
        self.writes(5).await;
        self.goes_to(Stage::DualWrite).await;
        self.writes(5).await;
        let migration = self.migration.clone();
        let backfill = in_time(async || migration.backfill().batch(3).run().await);
        let (progress, ()) = tokio::join!(backfill, self.writes(15));
        let progress =
            progress.unwrap_or_else(|error| panic!("{}: {error:?}", self.schema.shown()));
        assert_eq!(progress.failed, 0, "{}", self.schema.shown());
        let verification = in_time(async || migration.verify().batch(4).run().await);
        let (report, ()) = tokio::join!(verification, self.writes(10));
        let report = report.unwrap_or_else(|error| panic!("{}: {error:?}", self.schema.shown()));
        assert_eq!(report.unexplained, 0, "{}", self.schema.shown());
        self.agree(db).await;
        self.is_verified().await;
        for stage in [Stage::Shadow, Stage::Live, Stage::RampDown] {
            self.goes_to(stage).await;
            self.writes(5).await;
        }
        self.agree(db).await;
        self.goes_to(Stage::Complete).await;
        let [old, ..] = self.schema.counts(db).await;
        self.writes(5).await;
        assert_eq!(self.schema.counts(db).await[0], old, "{}: old is written", self.schema.shown());
    }

    /// All keys that wait are copied, and the two tables are the same.
    async fn agree(&self, db: &Scratch<D>) {
        self.repair().await;
        let [old, new, pairs] = self.schema.counts(db).await;
        assert!(
            old == new && new == pairs,
            "{}: {old} rows of old, {new} of new, {pairs} agree",
            self.schema.shown()
        );
    }

    async fn repair(&self) {
        let repaired = in_time(async || self.migration.repair().await).await;
        repaired.unwrap_or_else(|error| panic!("{}: {error:?}", self.schema.shown()));
    }

    /// The proof that the gates ask for.
    async fn is_verified(&self) {
        let verify = async || self.migration.verify().batch(7).restart().run().await;
        let report = in_time(verify).await.unwrap();
        assert!(report.is_clean(), "{}: {report:?}", self.schema.shown());
    }

    async fn goes_to(&self, stage: Stage) {
        for _ in 0..TRIES {
            match self.migration.advance(stage).await {
                Ok(_) => return,
                Err(error) if error.kind() == ErrorKind::Blocked => self.repair().await,
                Err(error) if error.kind() == ErrorKind::Timeout => {} // a machine with much to do
                Err(error) => panic!("{}: {stage}: {error}", self.schema.shown()),
            }
        }
        let blocked = self.migration.advance(stage).await;
        panic!("{}: {stage}: {blocked:?}", self.schema.shown());
    }

    async fn writes(&mut self, count: usize) {
        let table = |name| Table::<D> { name, database: PhantomData };
        let rows = DualRows::new(&self.migration, table("old_row"), table("new_row"));
        for _ in 0..count {
            let (key, literals) = self.schema.key(&mut self.dice);
            let statement = self.schema.statement(&mut self.dice, &literals);
            // At `Live` and later the new side is the caller's.
            let may_fail = self.failures_left > 0 && self.migration.position().stage < Stage::Live;
            let new_fails = may_fail && self.dice.one_in(5);
            self.failures_left -= u8::from(new_fails);
            while let Err(error) = self.write(&rows, &key, &statement, new_fails).await {
                let retryable = Error::find(&error).is_some_and(Error::is_retryable);
                assert!(retryable, "{}: {statement}: {error}", self.schema.shown());
            }
        }
    }

    async fn write(
        &self,
        rows: &impl Rows<D::Db, K>,
        key: &K,
        statement: &str,
        new_fails: bool,
    ) -> Result<(), sqlx::Error> {
        let mut tx = self.migration.begin(&self.pool).await?;
        rows.run(&mut tx, key, statement, new_fails).await?;
        Ok(tx.commit().await?)
    }
}
