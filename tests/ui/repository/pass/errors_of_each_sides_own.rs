//! Old and new fail in ways of their own; what new says becomes old's error.

use dualwrite::testing::TestMigration;
use dualwrite::{Stage, Tx};
use sqlx::Sqlite;

#[derive(Debug, PartialEq)]
enum Failed {
    Old,
    ByNew(u16),
    ByUs,
}

struct Status(u16);

impl From<dualwrite::Error> for Failed {
    fn from(_: dualwrite::Error) -> Self {
        Self::ByUs
    }
}

impl From<Status> for Failed {
    fn from(Status(code): Status) -> Self {
        Self::ByNew(code)
    }
}

#[dualwrite::repository]
trait Customers {
    type Error: Send + 'static;
    #[read(key = id, lazy)]
    async fn find(&self, id: i64) -> Result<Option<String>, Self::Error>;
    #[read(scan)]
    async fn all(&self) -> Result<Vec<String>, Self::Error>;
    #[read(key = id)]
    async fn find_in(&self, tx: &mut Tx<'_, Sqlite>, id: i64) -> Result<String, Self::Error>;
    #[write(key = id)]
    async fn save(&self, tx: &mut Tx<'_, Sqlite>, id: i64, name: String) -> Result<(), Self::Error>;
    #[primary]
    fn limit(&self) -> Result<i64, Self::Error>;
    #[primary]
    async fn ping(&self) -> Result<(), Self::Error>;
}

struct Old;
struct New;

macro_rules! fails {
    ($side:ident, $of:ty, $error:expr) => {
        impl Customers for $side {
            type Error = $of;
            async fn find(&self, _: i64) -> Result<Option<String>, $of> {
                Err($error)
            }
            async fn all(&self) -> Result<Vec<String>, $of> {
                Err($error)
            }
            async fn find_in(&self, _: &mut Tx<'_, Sqlite>, _: i64) -> Result<String, $of> {
                Err($error)
            }
            async fn save(&self, _: &mut Tx<'_, Sqlite>, _: i64, _: String) -> Result<(), $of> {
                Err($error)
            }
            fn limit(&self) -> Result<i64, $of> {
                Err($error)
            }
            async fn ping(&self) -> Result<(), $of> {
                Err($error)
            }
        }
    };
}
fails!(Old, Failed, Failed::Old);
fails!(New, Status, Status(503));

fn main() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let test = TestMigration::new("customers").await.unwrap();
        let customers = DualCustomers::new(test.migration(), Old, New);
        for (stage, expected) in
            [(Stage::Shadow, Failed::Old), (Stage::Complete, Failed::ByNew(503))]
        {
            test.put(stage, dualwrite::Percent::ZERO).unwrap();
            assert_eq!(customers.find(1).await.unwrap_err(), expected);
            assert_eq!(customers.all().await.unwrap_err(), expected);
            assert_eq!(customers.limit().unwrap_err(), expected);
            assert_eq!(customers.ping().await.unwrap_err(), expected);
        }
    });
}
