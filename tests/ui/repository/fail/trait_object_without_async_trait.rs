use std::sync::Arc;

#[dualwrite::repository]
trait Customers: Send + Sync {
    #[read(key = id)]
    async fn find(&self, id: i64) -> Result<i64, sqlx::Error>;
}

fn wrapped(migration: &dualwrite::Migration, old: Arc<dyn Customers>) {
    drop(DualCustomers::from_arcs(migration, old.clone(), old));
}

fn main() {}
