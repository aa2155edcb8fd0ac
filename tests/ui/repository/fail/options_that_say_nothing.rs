#[derive(Clone)]
struct Customer;

fn same_customer(_: &Customer, _: &Customer) -> bool {
    true
}

#[dualwrite::repository]
trait Customers {
    #[read(key = id, sampel = 5, timeout = 500)]
    async fn first(&self, id: i64) -> Result<Customer, sqlx::Error>;
    #[read(key = id, sample = 101, sample = 5, compare = "same_customer")]
    async fn second(&self, id: i64) -> Result<Customer, sqlx::Error>;
    #[read(scan, shadow = never, compare = same_customer)]
    async fn third(&self) -> Result<Customer, sqlx::Error>;
    #[write(key = id, on_mirror_error = abrot)]
    async fn save(&self, tx: &mut dualwrite::Tx<'_, sqlx::Sqlite>, id: i64) -> Result<(), sqlx::Error>;
    #[primary]
    async fn lock(&self, tx: &mut dualwrite::Tx<'_, sqlx::Sqlite>);
}

fn main() {}
