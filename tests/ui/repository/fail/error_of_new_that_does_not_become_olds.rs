#[dualwrite::repository]
trait Customers {
    type Error: Send + 'static;
    #[read(key = id)]
    async fn find(&self, id: i64) -> Result<i64, Self::Error>;
}

struct Old;
struct New;
struct Failed;
struct Status(u16);

impl From<dualwrite::Error> for Failed {
    fn from(_: dualwrite::Error) -> Self {
        Self
    }
}

impl Customers for Old {
    type Error = Failed;
    async fn find(&self, id: i64) -> Result<i64, Failed> {
        Ok(id)
    }
}

impl Customers for New {
    type Error = Status;
    async fn find(&self, id: i64) -> Result<i64, Status> {
        Err(Status(id as u16))
    }
}

fn assert_customers<C: Customers>() {}

fn main() {
    assert_customers::<DualCustomers<Old, New>>();
}
