#[dualwrite::repository(transaction = sqlx::Sqlite)]
trait Customers {
    #[write(key = id)]
    async fn rename(&self, id: i64) -> Result<(), sqlx::Error>;
}

struct SqlCustomers(sqlx::SqlitePool);

impl Customers for SqlCustomers {
    async fn rename(&self, id: i64) -> Result<(), sqlx::Error> {
        sqlx::query("DELETE FROM customer WHERE id = ?").bind(id).execute(&self.0).await.map(drop)
    }
}

fn unfenced(migration: &dualwrite::Migration, pool: sqlx::SqlitePool) -> impl Customers {
    DualCustomers::new(migration, SqlCustomers(pool.clone()), SqlCustomers(pool.clone())).fenced(pool)
}

fn main() {}
