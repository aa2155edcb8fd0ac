//! Methods with a body: routed where they say so, else inherited.

use dualwrite::Tx;
use sqlx::{Error, Sqlite};

#[dualwrite::repository]
trait Counters: Sync {
    #[read(key = id)]
    async fn get(&self, id: i64) -> Result<i64, Error>;
    #[read(key = id)]
    async fn next(&self, id: i64) -> Result<i64, Error> {
        if id == 0 {
            return Err(Error::RowNotFound);
        }
        Ok(self.get(id).await? + 1)
    }
    #[write(key = id)]
    async fn set(&self, tx: &mut Tx<'_, Sqlite>, id: i64, value: i64) -> Result<(), Error>;

    async fn reset(&self, tx: &mut Tx<'_, Sqlite>, mut ids: Vec<i64>) -> Result<(), Error> {
        while let Some(id) = ids.pop() {
            self.set(tx, id, 0).await?;
        }
        Ok(())
    }
    fn name(&self) -> &'static str {
        "counters"
    }
}

fn main() {}
