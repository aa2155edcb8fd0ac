//! Options of single methods, also in generic traits: the comparison is chosen by what is known of the type.

use dualwrite::{Compare, Tx};
use sqlx::{Error, Sqlite};

#[derive(Clone, Compare)]
pub struct ByFields {
    id: i64,
}

#[derive(Clone, PartialEq)]
pub struct ByEquality;

/// Neither.
#[derive(Clone)]
pub struct ByFunction;

pub struct Rules;

impl Rules {
    fn same<T>(_: &T, _: &T) -> bool {
        true
    }
}

trait Judge {
    fn same(old: &Vec<ByFunction>, new: &Vec<ByFunction>) -> bool;
}

impl Judge for Rules {
    fn same(old: &Vec<ByFunction>, new: &Vec<ByFunction>) -> bool {
        old.len() == new.len()
    }
}

#[dualwrite::repository]
pub trait Things<C, E>
where
    C: Clone + Compare + Send + Sync + 'static,
    E: Clone + PartialEq + Send + Sync + 'static,
{
    type Row: Clone + Compare + PartialEq + Send + Sync + 'static;

    #[read(key = id, sample = 5)]
    async fn by_fields(&self, id: i64) -> Result<Option<ByFields>, Error>;
    #[read(key = id, lazy, sample = 0.01, timeout = "1 min")]
    async fn by_equality(&self, id: i64) -> Result<Option<ByEquality>, Error>;
    #[read(key = id, compare = Rules::same)]
    async fn by_function(&self, id: i64) -> Result<ByFunction, Error>;
    #[read(scan, compare = Rules::same::<Vec<ByFunction>>, sample = 100.0)]
    async fn by_generic_function(&self) -> Result<Vec<ByFunction>, Error>;
    #[read(scan, compare = <Rules as Judge>::same, timeout = "250ms")]
    async fn by_function_of_a_trait(&self) -> Result<Vec<ByFunction>, Error>;
    #[read(scan)]
    async fn comparable(&self) -> Result<Vec<C>, Error>;
    #[read(scan)]
    async fn equal(&self) -> Result<Vec<E>, Error>;
    #[read(scan)]
    async fn both(&self) -> Result<Vec<Self::Row>, Error>;
    #[read(key = id, lazy, shadow = never)]
    async fn never(&self, id: i64) -> Result<Option<ByFunction>, Error>;
    #[write(key = id, on_mirror_error = abort)]
    async fn strict(&self, tx: &mut Tx<'_, Sqlite>, id: i64) -> Result<(), Error>;
    #[write(key = id, on_mirror_error = mark_dirty)]
    async fn forgiving(&self, tx: &mut Tx<'_, Sqlite>, id: i64) -> Result<(), Error>;
}

fn main() {}
