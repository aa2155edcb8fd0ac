//! The process of a service that does what its parent tells it.

use std::sync::Arc;
use std::time::Duration;

use dualwrite::{Error, ErrorKind, Migration, Tx};
use sqlx::Pool;

use crate::support::customers::{
    BACKFILL, Both, CopyCustomers, Customer, Customers, Places, both, join,
};
use crate::support::process::{Call, say};
use crate::support::sql::Sql;

struct Service<D: Sql> {
    pool: Pool<D::Db>,
    migration: Migration,
    customers: Both<D>,
    places: Arc<Places>,
    /// A transaction that stays open until the order to commit.
    open: Option<Tx<'static, D::Db>>,
}

/// Arguments: the lease in milliseconds.
pub(super) async fn serve<D: Sql>(mut call: Call) {
    let pool = call.pool::<D>(8).await;
    let places = Arc::<Places>::default();
    let copy = CopyCustomers::<D>::new(&places);
    let lease = Duration::from_millis(call.argument(0));
    let (runtime, migration) = join(&pool, lease, true, copy).await.unwrap();
    let customers = both::<D>(&migration, &pool, &places);
    say(format_args!("ready {}", runtime.instance()));
    let mut service = Service::<D> { pool, migration, customers, places, open: None };
    loop {
        let order = call.order().await;
        match order.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
            ["end"] => break,
            order => service.obey(order).await,
        }
    }
    runtime.shutdown().await.unwrap();
}

impl<D: Sql> Service<D> {
    async fn obey(&mut self, order: &[&str]) {
        match *order {
            ["watch"] => self.watch(),
            ["hold", ref place @ ..] => self.places.hold(place.join(" ")),
            ["go"] => self.places.let_one_go(),
            ["find", id] => self.find(id.parse().unwrap()),
            ["save", id, name] => self.save(customer(id, name)),
            ["open", id, name] => {
                let mut tx = self.migration.begin(&self.pool).await.unwrap();
                self.customers.save(&mut tx, &customer(id, name)).await.unwrap();
                say(format_args!("open {}", tx.position(&self.migration).unwrap().stage));
                self.open = Some(tx);
            }
            ["commit"] => {
                self.open.take().unwrap().commit().await.unwrap();
                say("committed");
            }
            ["backfill", batch, lease_ms] => {
                self.backfill(
                    batch.parse().unwrap(),
                    Duration::from_millis(lease_ms.parse().unwrap()),
                );
            }
            _ => panic!("no such order: {order:?}"),
        }
    }

    /// Says every epoch as soon as this process knows it.
    fn watch(&self) {
        let migration = self.migration.clone();
        tokio::spawn(async move {
            let mut known = migration.position().epoch;
            loop {
                let epoch = migration.position().epoch;
                if epoch != known {
                    known = epoch;
                    say(format_args!("sees {epoch}"));
                }
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        });
        say("watching");
    }

    fn find(&self, id: i64) {
        let customers = self.customers.clone();
        tokio::spawn(async move {
            match customers.find(id).await {
                Ok(Some(customer)) => say(format_args!("found {id} {}", customer.name)),
                Ok(None) => say(format_args!("found {id} nobody")),
                Err(error) => say(format_args!("found {id} {}", kind(&error))),
            }
        });
    }

    fn save(&self, customer: Customer) {
        let (pool, migration) = (self.pool.clone(), self.migration.clone());
        let customers = self.customers.clone();
        tokio::spawn(async move {
            let saving = async {
                let mut tx = migration.begin(&pool).await?;
                customers.save(&mut tx, &customer).await?;
                let stage = tx.position(&migration).unwrap().stage;
                tx.commit().await?;
                Ok::<_, sqlx::Error>(stage)
            };
            match saving.await {
                Ok(stage) => say(format_args!("saved {stage}")),
                Err(error) => say(format_args!("failed {}", kind(&error))),
            }
        });
    }

    fn backfill(&self, batch: u32, lease: Duration) {
        let migration = self.migration.clone();
        tokio::spawn(BACKFILL.scope((), async move {
            // However slow the machine is, the batch keeps its size.
            let backfill = migration.backfill().batch(batch).batch_time(Duration::from_secs(60));
            let progress = backfill.lease(lease).run().await;
            say(format_args!("backfill {progress:?}"));
        }));
    }
}

fn customer(id: &str, name: &str) -> Customer {
    Customer { id: id.parse().unwrap(), name: name.to_owned(), visits: 0 }
}

/// What went wrong, in one word where it is the library that says it.
fn kind(error: &sqlx::Error) -> String {
    match Error::find(error).map(Error::kind) {
        Some(ErrorKind::StageUnknown) => "unknown".to_owned(),
        Some(kind) => format!("{kind:?}"),
        None => format!("error: {error}"),
    }
}
