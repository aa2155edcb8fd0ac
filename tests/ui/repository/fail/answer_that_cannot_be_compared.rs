struct Customer;

#[dualwrite::repository]
trait Customers {
    #[read(key = id)]
    async fn find(&self, id: i64) -> Result<Option<Customer>, sqlx::Error>;
    #[read(key = id, lazy)]
    async fn count(&self, id: i64) -> Result<u64, sqlx::Error>;
}

fn main() {}
