use std::future::Future;
use std::pin::Pin;

#[dualwrite::repository]
trait Customers {
    #[read(key = id)]
    fn find(&self, id: i64) -> Result<i64, sqlx::Error>;
    #[read(key = id)]
    fn unsent(&self, id: i64) -> impl Future<Output = Result<i64, sqlx::Error>>;
    #[read(key = id)]
    fn boxed(&self, id: i64) -> Pin<Box<dyn Future<Output = Result<i64, sqlx::Error>> + '_>>;
    #[read(key = id)]
    fn streamed(&self, id: i64) -> impl Iterator<Item = i64> + Send;
}

fn main() {}
