use futures_util::stream::{BoxStream, Stream};

#[dualwrite::repository]
trait Customers {
    #[read(scan, compare = same)]
    fn compared(&self) -> BoxStream<'_, Result<i64, sqlx::Error>>;
    #[read(scan)]
    fn plain(&self) -> BoxStream<'_, i64>;
    #[read(scan)]
    fn on_one_thread(&self) -> impl Stream<Item = Result<i64, sqlx::Error>>;
    #[read(scan)]
    async fn within(&self) -> Result<BoxStream<'_, Result<i64, sqlx::Error>>, sqlx::Error>;
    #[write(key = id)]
    fn save<'s>(
        &'s self,
        tx: &'s mut dualwrite::Tx<'_, sqlx::Sqlite>,
        id: i64,
    ) -> BoxStream<'s, Result<i64, sqlx::Error>>;
}

fn main() {}
