//! One mistake is one error: implementations and uses of the trait are not blamed for it.

#[dualwrite::repository]
trait Customers {
    #[read(key = id, lazzy)]
    async fn find(&self, id: i64) -> Result<i64, sqlx::Error>;
}

struct Store;

impl Customers for Store {
    async fn find(&self, id: i64) -> Result<i64, sqlx::Error> {
        Ok(id)
    }
}

fn main() {
    drop(Store.find(1));
}
