//! A struct that another macro writes, inside a function, with types that arrive as fragments.

use dualwrite::{copy::ConvertColumns, CopyColumns, Dual, DualTable};

macro_rules! record {
    ($name:ident, $key:ty, $old:ident: $from:ty => $new:ident: $to:ty) => {
        #[derive(Clone, Debug, Dual, PartialEq)]
        #[dual(table = "records", key = "id")]
        struct $name {
            id: $key,
            #[dual(new = $new, forward = forward, backward = backward)]
            $old: $from,
            $new: Option<$to>,
        }
    };
}

fn forward(old: &str) -> Result<i64, std::num::ParseIntError> {
    old.parse()
}

fn backward(new: i64) -> String {
    new.to_string()
}

/// For any database with these columns.
fn ready<T: ConvertColumns<DB>, DB: dualwrite::Backend>() -> CopyColumns<T, DB> {
    T::copy_columns()
}

#[derive(Clone, Dual)]
#[dual(table = "boxes", key = "id")]
struct Boxed<T: Send + 'static> {
    id: uuid::Uuid,
    #[dual(new = current)]
    former: T,
    current: Option<T>,
}

fn main() {
    record!(Age, String, age: String => years: i64);
    let mut age = Age { id: "a".into(), age: "7".into(), years: None };
    assert_eq!(age.years().unwrap(), 7);
    age.migrate().unwrap();
    assert_eq!(age.years, Some(7));
    let _ = ready::<Age, sqlx::Sqlite>();
    let _ = ready::<Boxed<u8>, sqlx::Sqlite>();
    assert_eq!(Boxed::<u8>::NEW_COLUMNS, ["id", "current"]);
}
