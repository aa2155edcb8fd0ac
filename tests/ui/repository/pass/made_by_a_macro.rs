//! A trait whose types, keys and receiver come out of `macro_rules!`, as invisible groups.

use dualwrite::Tx;
use sqlx::{Error, Sqlite};

macro_rules! repository {
    ($name:ident, $id:ident: $key:ty, $by:expr, $answer:ty, $tx:ty) => {
        #[dualwrite::repository]
        pub trait $name {
            #[read(key = $by)]
            async fn find(&self, $id: $key) -> $answer;
            #[read(key = $id, lazy)]
            async fn get(&self, tx: $tx, $id: $key, filter: &$key) -> Result<Option<i64>, Error>;
            #[write(key = $by)]
            async fn save(&self, tx: $tx, $id: $key) -> $answer;
        }
    };
}

repository!(Customers, id: i64, id + 1, Result<i64, Error>, &mut Tx<'_, Sqlite>);

macro_rules! record {
    ($old:ident, $new:ident, $value:ty) => {
        #[derive(dualwrite::Dual)]
        pub struct Record {
            #[dual(new = $new)]
            $old: $value,
            $new: Option<$value>,
        }
    };
}

record!(email, email_address, String);

fn main() {
    let record = Record { email: "a".to_owned(), email_address: None };
    let email: &str = record.email_address();
    assert_eq!(email, "a");
}
