//! A record whose column gets another name, read and written by the statements that its columns give: NULL
//! is a value like any other, and a row with more NOT NULL columns than the record has is written all the
//! same.

use dualwrite::{
    Backend, BindColumns, Columns, Dual, DualTable, Gate, Migration, Move, Percent, Runtime, Stage,
    Tx, copy::ConvertColumns, shadow::ComparedReport,
};

use crate::support::db::{Scratch, on_all_databases};
use crate::support::sql::Sql;
use crate::support::wait::{soon, until};

on_all_databases!(
    null_is_a_value_at_every_stage,
    a_planted_difference_between_columns_is_found,
    complete_waits_until_the_old_column_may_be_left_out,
);

#[derive(Clone, Debug, PartialEq, sqlx::FromRow, Dual)]
#[dual(table = "customer", key = "id")]
struct Customer {
    id: i64,
    name: String,
    #[dual(new_column = "email_address")]
    email: Option<String>,
}

#[dualwrite::repository]
trait Customers<DB: Backend> {
    #[read(key = id)]
    async fn find(&self, id: i64) -> Result<Option<Customer>, sqlx::Error>;
    #[read(key = id)]
    async fn find_in(&self, tx: &mut Tx<'_, DB>, id: i64) -> Result<Option<Customer>, sqlx::Error>;
    #[write(key = customer.id)]
    async fn save(&self, tx: &mut Tx<'_, DB>, customer: &Customer) -> Result<(), sqlx::Error>;
    #[write(key = customer.id)]
    async fn insert(
        &self,
        tx: &mut Tx<'_, DB>,
        customer: &Customer,
    ) -> Result<Customer, sqlx::Error>;
}

struct SqlCustomers<D: Sql> {
    pool: sqlx::Pool<D::Db>,
    columns: Columns,
}

/// What a row of text is as a customer.
fn customer(row: Vec<Option<String>>) -> Customer {
    let [id, name, email] = <[Option<String>; 3]>::try_from(row).unwrap();
    Customer { id: id.unwrap().parse().unwrap(), name: name.unwrap(), email }
}

impl<D: Sql> SqlCustomers<D> {
    fn select(&self, id: i64) -> String {
        let columns = self.columns.select::<Customer, D::Db>();
        format!("SELECT {columns} FROM customer WHERE id = {id}")
    }
}

impl<D: Sql> Customers<D::Db> for SqlCustomers<D>
where
    Customer: BindColumns<D::Db> + for<'r> sqlx::FromRow<'r, <D::Db as sqlx::Database>::Row>,
{
    async fn find(&self, id: i64) -> Result<Option<Customer>, sqlx::Error> {
        Ok(D::rows(&self.pool, &self.select(id)).await?.pop().map(customer))
    }

    async fn find_in(
        &self,
        tx: &mut Tx<'_, D::Db>,
        id: i64,
    ) -> Result<Option<Customer>, sqlx::Error> {
        Ok(D::read(tx, &self.select(id)).await?.pop().map(customer))
    }

    async fn save(&self, tx: &mut Tx<'_, D::Db>, customer: &Customer) -> Result<(), sqlx::Error> {
        self.columns.save(customer, tx).await
    }

    async fn insert(
        &self,
        tx: &mut Tx<'_, D::Db>,
        customer: &Customer,
    ) -> Result<Customer, sqlx::Error> {
        let columns = self.columns.select::<Customer, D::Db>();
        self.columns.insert(customer).returning(&columns).fetch_one(tx).await
    }
}

struct Place<D: Sql> {
    db: Scratch<D>,
    _runtime: Runtime<D::Db>,
    migration: Migration,
    customers: DualCustomers<SqlCustomers<D>, SqlCustomers<D>>,
}

impl<D: Sql> Place<D>
where
    Customer: ConvertColumns<D::Db>,
{
    /// `rule`: what the old column must be.
    async fn new(db: Scratch<D>, rule: &str) -> Self {
        db.execute(&format!(
            "CREATE TABLE customer (id BIGINT PRIMARY KEY, name VARCHAR(50) NOT NULL, \
             email VARCHAR(50) {rule}, email_address VARCHAR(50))"
        ))
        .await;
        // Such a table refuses `ON CONFLICT`.
        let rule = D::sql(
            "SELECT 1",
            "CREATE RULE looked_at AS ON UPDATE TO customer DO ALSO SELECT 1 WHERE false",
            "SELECT 1",
        );
        db.execute(rule).await;
        db.execute(
            "INSERT INTO customer (id, name, email) VALUES (1, 'ada', 'ada@example.com'), (2, 'bob', '')",
        )
        .await;
        let runtime = Runtime::builder(db.pool().clone()).start().await.unwrap();
        let copy = Customer::copy_columns();
        let migration = runtime.migration("customers").backfill(copy).register().await.unwrap();
        let pool = db.pool().clone();
        let customers = DualCustomers::one_row(&migration, |columns| SqlCustomers {
            pool: pool.clone(),
            columns,
        });
        Self { db, _runtime: runtime, migration, customers }
    }

    /// How `find` compares.
    async fn find(&self) -> ComparedReport {
        let methods = self.migration.status().await.unwrap().methods;
        methods.into_iter().find(|method| method.method == "find").unwrap().compared
    }

    /// Waits until the instance declares these columns as needed, by which others judge who cannot read the catalogue.
    async fn declares(&self, needed: &str) {
        let declared = format!("\"needed_columns\":{needed}");
        let stored = async || {
            let rows = self.db.rows("SELECT terms FROM dualwrite_acknowledgement").await;
            rows.iter().flatten().flatten().any(|terms| terms.contains(&declared))
        };
        until("the instance has declared what it needs", stored).await;
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
}

async fn null_is_a_value_at_every_stage<D: Sql>(db: Scratch<D>)
where
    Customer: ConvertColumns<D::Db>
        + BindColumns<D::Db>
        + for<'r> sqlx::FromRow<'r, <D::Db as sqlx::Database>::Row>,
{
    let place = Place::new(db, "").await;
    let mut next = 10;
    for stage in Stage::ALL {
        place.go(stage).await;
        for ramp in [0, 50] {
            if ramp > 0 && stage != Stage::Complete {
                place.migration.ramp_to(Percent::new(ramp).unwrap()).await.unwrap();
            }
            for email in [None, Some(format!("{stage}-{ramp}")), None] {
                next += 1;
                let made = Customer { id: next, name: "new".into(), email: email.clone() };
                let mut tx = place.migration.begin(place.db.pool()).await.unwrap();
                if D::NAME == "postgres" || next % 2 == 0 {
                    // `RETURNING` has the columns under the names of the record.
                    assert_eq!(place.customers.insert(&mut tx, &made).await.unwrap(), made);
                } else {
                    place.customers.save(&mut tx, &made).await.unwrap();
                }
                let again = Customer { name: "again".into(), ..made };
                for id in [1, next] {
                    let again = Customer { id, ..again.clone() };
                    place.customers.save(&mut tx, &again).await.unwrap();
                    assert_eq!(place.customers.find_in(&mut tx, id).await.unwrap(), Some(again));
                }
                tx.commit().await.unwrap();
                for id in [1, next] {
                    let found = place.customers.find(id).await.unwrap().unwrap();
                    assert_eq!(found.email, email, "{stage} {ramp}");
                }
            }
        }
    }
    // All that were read while `Shadow` was in force: six rows, twice.
    until("the reads are compared", async || place.find().await.total() >= 12).await;
    assert_eq!(place.find().await.different, 0);
}

async fn a_planted_difference_between_columns_is_found<D: Sql>(db: Scratch<D>)
where
    Customer: ConvertColumns<D::Db>
        + BindColumns<D::Db>
        + for<'r> sqlx::FromRow<'r, <D::Db as sqlx::Database>::Row>,
{
    let place = Place::new(db, "").await;
    place.go(Stage::Shadow).await;
    place.db.execute("UPDATE customer SET email_address = NULL WHERE id = 2").await;
    for id in [1, 2] {
        let found = <_ as Customers<D::Db>>::find(&place.customers, id).await.unwrap();
        assert!(found.unwrap().email.is_some());
    }
    let both = async || {
        let find = place.find().await;
        (find.equal, find.different) == (1, 1)
    };
    until("one of the two is found to differ", both).await;
}

async fn complete_waits_until_the_old_column_may_be_left_out<D: Sql>(db: Scratch<D>)
where
    Customer: ConvertColumns<D::Db>
        + BindColumns<D::Db>
        + for<'r> sqlx::FromRow<'r, <D::Db as sqlx::Database>::Row>,
{
    let place = Place::new(db, "NOT NULL").await;
    place.go(Stage::RampDown).await;
    let only = async || {
        let blockers = place.migration.readiness(Move::Advance(Stage::Complete)).await.unwrap();
        // The instance may not have reported yet that it has drained.
        (blockers.len() == 1).then_some(blockers)
    };
    let blockers = soon("one gate is left", only).await;
    let found = &blockers[0];
    assert_eq!(found.gate, Gate::OldMayBeLeftOut);
    assert!(found.reason.contains("(email)") && found.reason.contains("default"), "{found}");
    place.declares("[\"email\"]").await;
    place.migration.ramp_to(Percent::new(1).unwrap()).await.unwrap_err();
    let error = place.migration.advance(Stage::Complete).await.unwrap_err();
    assert_eq!(error.blockers(), blockers);
    let Some(drop) = Some(D::sql(
        "",
        "ALTER TABLE customer ALTER COLUMN email DROP NOT NULL",
        "ALTER TABLE customer MODIFY email VARCHAR(50) NULL",
    ))
    .filter(|sql| !sql.is_empty()) else {
        return; // SQLite can only make the table anew
    };
    place.db.execute(drop).await;
    place.migration.verify().run().await.unwrap(); // the table may have been made anew
    place.go(Stage::Complete).await;
    place.declares("[]").await;
    let made = Customer { id: 3, name: "new".into(), email: None };
    let mut tx = place.migration.begin(place.db.pool()).await.unwrap();
    place.customers.save(&mut tx, &made).await.unwrap();
    tx.commit().await.unwrap();
}
