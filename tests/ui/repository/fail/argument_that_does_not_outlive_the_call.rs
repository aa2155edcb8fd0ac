#[dualwrite::repository]
trait Customers<'t> {
    #[read(scan)]
    async fn named(&self, name: Option<&str>, into: &mut Vec<u8>) -> Result<i64, sqlx::Error>;
    #[read(key = id, lazy)]
    async fn find(&self, id: i64, of: &'t str, by: &dyn Fn(&str) -> i64) -> Result<Option<&str>, sqlx::Error>;
}

fn main() {}
