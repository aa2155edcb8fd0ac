//! Old and new columns of one row: one implementation, built for each set of columns, and every write
//! executed once.

use std::panic::{AssertUnwindSafe, catch_unwind};

use dualwrite::{
    Backend, Columns, Dual, DualTable, Migration, Percent, Runtime, Side, Stage, Tx,
    copy::ConvertColumns,
};

use crate::support::db::{Scratch, on_all_databases};
use crate::support::sql::Sql;
use crate::support::wait::until;

on_all_databases!(
    a_write_is_executed_once_at_every_stage_and_ramp,
    a_refused_new_value_is_undone_and_marked,
    a_refused_old_value_is_undone_and_marked,
    an_error_of_the_statement_itself_is_the_callers,
    a_planted_difference_is_found,
    two_implementations_of_one_row_are_refused,
);

#[derive(Clone, Debug, PartialEq, sqlx::FromRow, Dual)]
#[dual(table = "customer", key = "id")]
struct Customer {
    id: i64,
    #[dual(new = email_address)]
    email: String,
    email_address: Option<String>,
}

#[dualwrite::repository]
trait Customers<DB: Backend> {
    #[read(key = id)]
    async fn email(&self, id: i64) -> Result<Option<String>, sqlx::Error>;
    /// Counts, and sets the address.
    #[write(key = id)]
    async fn visit(&self, tx: &mut Tx<'_, DB>, id: i64, email: &str) -> Result<u64, sqlx::Error>;
    /// Whether it was active before.
    #[write(key = id)]
    async fn deactivate(&self, tx: &mut Tx<'_, DB>, id: i64) -> Result<bool, sqlx::Error>;
    /// The same, executed once by its own word.
    #[write(once)]
    async fn activate(&self, tx: &mut Tx<'_, DB>, id: i64) -> Result<bool, sqlx::Error>;
    /// An optimistic lock: whether the version was still this one.
    #[write(key = id)]
    async fn save(
        &self,
        tx: &mut Tx<'_, DB>,
        id: i64,
        version: i64,
        email: &str,
    ) -> Result<bool, sqlx::Error>;
    #[write(key_from = |created| *created, into = id)]
    async fn insert(
        &self,
        tx: &mut Tx<'_, DB>,
        id: Option<i64>,
        email: &str,
    ) -> Result<i64, sqlx::Error>;
    #[write(keys = ids)]
    async fn visit_all(&self, tx: &mut Tx<'_, DB>, ids: &[i64]) -> Result<u64, sqlx::Error>;
    #[write(filter)]
    async fn visit_active(&self, tx: &mut Tx<'_, DB>) -> Result<u64, sqlx::Error>;
}

struct SqlCustomers<D: Sql> {
    pool: sqlx::Pool<D::Db>,
    columns: Columns,
}

impl<D: Sql> SqlCustomers<D> {
    fn set(&self, email: &str) -> String {
        let names: Vec<&str> = self.written().collect();
        names.iter().map(|name| format!("{name} = '{email}'")).collect::<Vec<_>>().join(", ")
    }

    fn written(&self) -> impl Iterator<Item = &'static str> {
        let columns = self.columns;
        [(Side::Old, "email"), (Side::New, "email_address")]
            .into_iter()
            .filter(move |(side, _)| columns.write(*side))
            .map(|(_, name)| name)
    }
}

impl<D: Sql> Customers<D::Db> for SqlCustomers<D> {
    async fn email(&self, id: i64) -> Result<Option<String>, sqlx::Error> {
        let column = match self.columns.answer() {
            Side::Old => "email",
            Side::New => "email_address",
        };
        let sql = format!("SELECT {column} FROM customer WHERE id = {id}");
        Ok(D::rows(&self.pool, &sql).await?.pop().and_then(|mut row| row.pop().flatten()))
    }

    async fn visit(
        &self,
        tx: &mut Tx<'_, D::Db>,
        id: i64,
        email: &str,
    ) -> Result<u64, sqlx::Error> {
        let set = self.set(email);
        D::run(tx, &format!("UPDATE customer SET visits = visits + 1, {set} WHERE id = {id}")).await
    }

    async fn deactivate(&self, tx: &mut Tx<'_, D::Db>, id: i64) -> Result<bool, sqlx::Error> {
        let sql = format!("UPDATE customer SET active = 0 WHERE id = {id} AND active = 1");
        Ok(D::run(tx, &sql).await? == 1)
    }

    async fn activate(&self, tx: &mut Tx<'_, D::Db>, id: i64) -> Result<bool, sqlx::Error> {
        let sql = format!("UPDATE customer SET active = 1 WHERE id = {id} AND active = 0");
        Ok(D::run(tx, &sql).await? == 1)
    }

    async fn save(
        &self,
        tx: &mut Tx<'_, D::Db>,
        id: i64,
        version: i64,
        email: &str,
    ) -> Result<bool, sqlx::Error> {
        let set = self.set(email);
        let sql = format!(
            "UPDATE customer SET version = version + 1, {set} WHERE id = {id} AND version = {version}"
        );
        Ok(D::run(tx, &sql).await? == 1)
    }

    async fn insert(
        &self,
        tx: &mut Tx<'_, D::Db>,
        id: Option<i64>,
        email: &str,
    ) -> Result<i64, sqlx::Error> {
        assert_eq!(id, None, "there is one INSERT");
        let names: Vec<&str> = self.written().collect();
        let values = names.iter().map(|_| format!("'{email}'")).collect::<Vec<_>>().join(", ");
        let names = names.join(", ");
        let sql = format!("INSERT INTO customer ({names}) VALUES ({values}) RETURNING id");
        Ok(D::read(tx, &sql).await?[0][0].as_deref().unwrap().parse().unwrap())
    }

    async fn visit_all(&self, tx: &mut Tx<'_, D::Db>, ids: &[i64]) -> Result<u64, sqlx::Error> {
        let ids = ids.iter().map(i64::to_string).collect::<Vec<_>>().join(", ");
        D::run(tx, &format!("UPDATE customer SET visits = visits + 1 WHERE id IN ({ids})")).await
    }

    async fn visit_active(&self, tx: &mut Tx<'_, D::Db>) -> Result<u64, sqlx::Error> {
        D::run(tx, "UPDATE customer SET visits = visits + 1 WHERE active = 1").await
    }
}

const ROWS: i64 = 8;

struct Place<D: Sql> {
    db: Scratch<D>,
    runtime: Runtime<D::Db>,
    migration: Migration,
    customers: DualCustomers<SqlCustomers<D>, SqlCustomers<D>>,
}

impl<D: Sql> Place<D>
where
    Customer: ConvertColumns<D::Db>,
{
    async fn new(db: Scratch<D>) -> Self {
        let id = D::sql(
            "id INTEGER PRIMARY KEY AUTOINCREMENT",
            "id BIGINT GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY",
            "id BIGINT AUTO_INCREMENT PRIMARY KEY",
        );
        db.execute(&format!(
            "CREATE TABLE customer ({id}, email VARCHAR(50), email_address VARCHAR(50), \
             visits BIGINT NOT NULL DEFAULT 0, active INTEGER NOT NULL DEFAULT 1, \
             version BIGINT NOT NULL DEFAULT 1, \
             CONSTRAINT old_rule CHECK (email <> 'old refuses'), \
             CONSTRAINT new_rule CHECK (email_address <> 'new refuses'))"
        ))
        .await;
        for _ in 0..ROWS {
            db.execute("INSERT INTO customer (email) VALUES ('first')").await;
        }
        let runtime = Runtime::builder(db.pool().clone()).start().await.unwrap();
        let copy = Customer::copy_columns();
        let migration = runtime.migration("customers").backfill(copy).register().await.unwrap();
        let pool = db.pool().clone();
        let customers = DualCustomers::one_row(&migration, |columns| SqlCustomers {
            pool: pool.clone(),
            columns,
        });
        Self { db, runtime, migration, customers }
    }

    async fn go(&self, stage: Stage) {
        while self.migration.position().stage < stage {
            let next = self.migration.position().stage.next().unwrap();
            if next == Stage::Shadow {
                self.migration.backfill().run().await.unwrap();
                assert!(self.migration.verify().run().await.unwrap().is_clean());
            }
            self.migration.advance(next).await.unwrap();
        }
    }

    async fn begin(&self) -> Tx<'static, D::Db> {
        self.migration.begin(self.db.pool()).await.unwrap()
    }

    async fn row(&self, id: i64) -> [Option<String>; 2] {
        let sql = format!("SELECT email, email_address FROM customer WHERE id = {id}");
        self.db.rows(&sql).await.pop().unwrap().try_into().unwrap()
    }

    /// Every kind of write, and what each must have done.
    async fn write(&self, place: &str, round: i64) {
        let word = format!("{place}@example.com");
        for id in 1..=ROWS {
            let mut tx = self.begin().await;
            assert_eq!(self.customers.visit(&mut tx, id, &word).await.unwrap(), 1, "{place}");
            assert!(self.customers.deactivate(&mut tx, id).await.unwrap(), "{place}");
            assert!(!self.customers.deactivate(&mut tx, id).await.unwrap(), "{place}");
            assert!(self.customers.activate(&mut tx, id).await.unwrap(), "{place}");
            assert!(self.customers.save(&mut tx, id, round, &word).await.unwrap(), "{place}");
            assert!(!self.customers.save(&mut tx, id, round, &word).await.unwrap(), "{place}");
            tx.commit().await.unwrap();
            assert_eq!(self.customers.email(id).await.unwrap().as_deref(), Some(&*word), "{place}");
        }
        let mut tx = self.begin().await;
        let all: Vec<i64> = (1..=ROWS).collect();
        assert_eq!(self.customers.visit_all(&mut tx, &all).await.unwrap(), ROWS as u64, "{place}");
        let active = self.customers.visit_active(&mut tx).await.unwrap();
        assert_eq!(active, (ROWS + round - 1) as u64, "{place}");
        let created = self.customers.insert(&mut tx, None, &word).await.unwrap();
        tx.commit().await.unwrap();
        assert_eq!(self.customers.email(created).await.unwrap(), Some(word), "{place}");
        let sql =
            format!("SELECT count(*) FROM customer WHERE id <= {ROWS} AND visits <> {}", round * 3);
        assert_eq!(self.db.number(&sql).await, 0, "{place}: a visit counts once");
        let sql = format!(
            "SELECT count(*) FROM customer WHERE id <= {ROWS} AND version <> {}",
            round + 1
        );
        assert_eq!(self.db.number(&sql).await, 0, "{place}");
        assert_eq!(self.db.number("SELECT count(*) FROM customer").await, ROWS + round, "{place}");
    }
}

async fn a_write_is_executed_once_at_every_stage_and_ramp<D: Sql>(db: Scratch<D>)
where
    Customer: ConvertColumns<D::Db>,
{
    let place = Place::new(db).await;
    let mut round = 0;
    for stage in Stage::ALL {
        place.go(stage).await;
        for ramp in [0, 50, 100] {
            if ramp > 0 && stage == Stage::Complete {
                break;
            }
            if ramp > 0 {
                place.migration.ramp_to(Percent::new(ramp).unwrap()).await.unwrap();
            }
            round += 1;
            place.write(&format!("{stage}-{ramp}"), round).await;
        }
    }
    let [old, new] = place.row(1).await;
    assert!(old.unwrap().starts_with("ramp_down-"), "`Complete` leaves the old column alone");
    assert_eq!(new.as_deref(), Some("complete-0@example.com"));
}

async fn a_refused_new_value_is_undone_and_marked<D: Sql>(db: Scratch<D>)
where
    Customer: ConvertColumns<D::Db>,
{
    let place = Place::new(db).await;
    place.go(Stage::DualWrite).await;
    let mut tx = place.begin().await;
    assert_eq!(place.customers.visit(&mut tx, 1, "new refuses").await.unwrap(), 1);
    let marks = "SELECT key_text FROM dualwrite_dirty WHERE side = 'new'";
    assert_eq!(D::texts(&mut tx, marks).await.unwrap(), ["1"]);
    let made = place.customers.insert(&mut tx, None, "new refuses").await.unwrap();
    assert!(D::texts(&mut tx, marks).await.unwrap().contains(&made.to_string()));
    let ids = [2, 3];
    place.customers.visit_all(&mut tx, &ids).await.unwrap();
    assert_eq!(D::texts(&mut tx, marks).await.unwrap().len(), 2, "nothing was refused there");
    tx.commit().await.unwrap();
    let [old, new] = place.row(1).await;
    assert_eq!((old.as_deref(), new), (Some("new refuses"), None));
    assert_eq!(place.db.number("SELECT visits FROM customer WHERE id = 1").await, 1);
    let status = place.migration.status().await.unwrap();
    assert_eq!(status.counters.mirror_failed, 2);
}

async fn a_refused_old_value_is_undone_and_marked<D: Sql>(db: Scratch<D>)
where
    Customer: ConvertColumns<D::Db>,
{
    let place = Place::new(db).await;
    place.go(Stage::Live).await;
    let mut tx = place.begin().await;
    assert_eq!(place.customers.visit(&mut tx, 1, "old refuses").await.unwrap(), 1);
    let marks = "SELECT key_text FROM dualwrite_dirty WHERE side = 'old'";
    assert_eq!(D::texts(&mut tx, marks).await.unwrap(), ["1"]);
    tx.commit().await.unwrap();
    let [old, new] = place.row(1).await;
    assert_eq!((old.as_deref(), new.as_deref()), (Some("first"), Some("old refuses")));
    assert_eq!(place.db.number("SELECT visits FROM customer WHERE id = 1").await, 1);
}

async fn an_error_of_the_statement_itself_is_the_callers<D: Sql>(db: Scratch<D>)
where
    Customer: ConvertColumns<D::Db>,
{
    let place = Place::new(db).await;
    place.go(Stage::DualWrite).await;
    let mut tx = place.begin().await;
    place.customers.visit(&mut tx, 1, "it's no SQL").await.unwrap_err();
    tx.commit().await.unwrap_err();
    assert_eq!(place.migration.status().await.unwrap().dirty_new, 0);
    assert_eq!(place.db.number("SELECT visits FROM customer WHERE id = 1").await, 0);
}

async fn a_planted_difference_is_found<D: Sql>(db: Scratch<D>)
where
    Customer: ConvertColumns<D::Db>,
{
    let place = Place::new(db).await;
    place.go(Stage::Shadow).await;
    assert_eq!(place.customers.email(1).await.unwrap().as_deref(), Some("first"));
    place.db.execute("UPDATE customer SET email_address = 'planted' WHERE id = 2").await;
    assert_eq!(place.customers.email(2).await.unwrap().as_deref(), Some("first"));
    let both = async || {
        let methods = place.migration.status().await.unwrap().methods;
        let email = methods.iter().find(|method| method.method == "email").unwrap();
        (email.compared.equal, email.compared.different) == (1, 1)
    };
    until("one of the two is found to differ", both).await;
}

async fn two_implementations_of_one_row_are_refused<D: Sql>(db: Scratch<D>)
where
    Customer: ConvertColumns<D::Db>,
{
    let place = Place::new(db).await;
    let build = |migration: &Migration| {
        let side = |columns| SqlCustomers::<D> { pool: place.db.pool().clone(), columns };
        let (old, new) = (side(Columns::Old), side(Columns::New));
        let built = AssertUnwindSafe(|| drop(DualCustomers::new(migration, old, new)));
        catch_unwind(built).map_err(|panic| *panic.downcast::<String>().unwrap())
    };
    let refused = build(&place.migration).unwrap_err();
    for said in ["`one_row`", "`visit`", "`two_statements()`", "migration `customers`"] {
        assert!(refused.contains(said), "{refused}");
    }
    let registration = place.runtime.migration("two").backfill(Customer::copy_columns());
    let two = registration.two_statements().register().await.unwrap();
    build(&two).unwrap();
}
