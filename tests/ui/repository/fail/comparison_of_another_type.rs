#[derive(Clone)]
struct Customer;

fn same_customer(_: &Customer, _: &Customer) -> bool {
    true
}

#[dualwrite::repository]
trait Customers {
    #[read(key = id, compare = same_customer)]
    async fn find(&self, id: i64) -> Result<Option<Customer>, sqlx::Error>;
}

fn main() {}
