//! Nothing that is generated needs a module of its own.

use dualwrite::{Migration, Tx};
use sqlx::Sqlite;

fn wrapped(migration: &Migration) {
    struct Store;

    #[dualwrite::repository]
    trait Orders {
        #[read(key = id)]
        async fn find(&self, id: i64) -> Result<i64, sqlx::Error>;
        #[write(key = id)]
        async fn save(&self, tx: &mut Tx<'_, Sqlite>, id: i64) -> Result<(), sqlx::Error>;
    }

    impl Orders for Store {
        async fn find(&self, id: i64) -> Result<i64, sqlx::Error> {
            Ok(id)
        }
        async fn save(&self, _: &mut Tx<'_, Sqlite>, _: i64) -> Result<(), sqlx::Error> {
            Ok(())
        }
    }

    let orders = DualOrders::new(migration, Store, Store);
    drop(orders.find(1));
}

fn main() {
    let _ = wrapped;
}
