pub struct Filter;

#[dualwrite::repository]
trait Customers {
    #[read(scan)]
    async fn by_value(&self, filter: Filter) -> Result<i64, sqlx::Error>;
    #[read(scan)]
    async fn by_reference(&self, filter: &Filter) -> Result<i64, sqlx::Error>;
}

fn main() {}
