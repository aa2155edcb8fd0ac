trait Reads {
    fn name(&self, id: i64) -> impl Future<Output = Result<String, sqlx::Error>> + Send;
    fn count(&self) -> impl Future<Output = Result<i64, sqlx::Error>> + Send;
}

// A method is missing, and one is none of the supertrait.
#[dualwrite::repository]
trait Customers: Reads {
    #[supertrait(Reads)]
    #[read(key = id)]
    async fn name(&self, id: i64) -> Result<String, sqlx::Error>;
    #[supertrait(Reads)]
    #[read(key = id)]
    async fn email(&self, id: i64) -> Result<String, sqlx::Error>;
}

#[dualwrite::repository]
trait Others: Reads {
    #[supertrait(Writes)]
    #[read(key = id)]
    async fn name(&self, id: i64) -> Result<String, sqlx::Error>;
    #[supertrait(Reads)]
    #[read(scan)]
    async fn count(&self) -> Result<i64, sqlx::Error> {
        Ok(0)
    }
}

fn main() {}
