#[dualwrite::repository]
trait Customers {
    type Row: Clone + PartialEq + Send + Sync + 'static;
    #[read(key = id)]
    async fn find(&self, id: i64) -> Result<Self::Row, sqlx::Error>;
}

struct Old;
struct New;

impl Customers for Old {
    type Row = i64;
    async fn find(&self, id: i64) -> Result<i64, sqlx::Error> {
        Ok(id)
    }
}

impl Customers for New {
    type Row = String;
    async fn find(&self, id: i64) -> Result<String, sqlx::Error> {
        Ok(id.to_string())
    }
}

fn assert_customers<C: Customers>() {}

fn main() {
    assert_customers::<DualCustomers<Old, New>>();
}
