#[derive(Debug)]
struct Failure;

#[dualwrite::repository]
trait Customers {
    #[read(key = id)]
    async fn find(&self, id: i64) -> Result<i64, Failure>;
    #[write(key = id)]
    async fn save(&self, tx: &mut dualwrite::Tx<'_, sqlx::Sqlite>, id: i64) -> Result<(), Failure>;
}

fn main() {}
