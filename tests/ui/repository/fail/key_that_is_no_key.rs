#[dualwrite::repository]
trait Customers {
    #[read(key = score)]
    async fn find(&self, score: f64) -> Result<i64, sqlx::Error>;
    #[write(key = (customer, 1_i64))]
    async fn save(&self, tx: &mut dualwrite::Tx<'_, sqlx::Sqlite>, customer: &Customer) -> Result<(), sqlx::Error>;
}

struct Customer;

fn main() {}
