type Plain<'a> = sqlx::Transaction<'a, sqlx::Sqlite>;

#[dualwrite::repository]
trait Customers {
    #[write(key = id)]
    async fn save(&self, tx: &mut Plain<'_>, id: i64) -> Result<(), sqlx::Error>;
}

fn main() {}
