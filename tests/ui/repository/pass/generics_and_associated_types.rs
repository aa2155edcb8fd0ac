//! Traits with parameters, associated types, supertraits and where clauses.

use std::fmt::{Debug, Display};

use dualwrite::{Backend, Key, Migration, Tx};


#[dualwrite::repository]
pub trait Store<T, const SIZE: usize = 1>: Debug + Send + Sync + 'static
where
    T: Clone + PartialEq + Send + Sync + 'static,
    Self::Row: Debug,
{
    type Error: Debug + Send + Sync + 'static;
    type Row: Clone + PartialEq + Send + Sync + Into<T> + 'static;
    type Db: Backend;

    #[read(key = id)]
    async fn find(&self, id: i64) -> Result<Option<Self::Row>, Self::Error>;
    #[read(scan)]
    async fn same(&self, row: &Self::Row, value: T) -> Result<Vec<T>, <Self as Store<T, SIZE>>::Error>;
    #[read(key = key)]
    async fn by_key<K: Key + Clone + Send + Sync + 'static>(&self, key: K) -> Result<u64, Self::Error>;
    #[read(key = key.to_string(), shadow = never)]
    async fn shown<'k, K>(&self, key: &'k K) -> Result<&'k str, Self::Error>
    where
        K: Display + Sync + ?Sized;
    #[read(key = id + 2)]
    async fn parse<V, const RADIX: u32>(&self, id: i64) -> Result<[V; SIZE], Self::Error>
    where
        V: Clone + PartialEq + Send + Sync + 'static;
    #[write(key = id)]
    async fn save(
        &self,
        tx: &mut Tx<'_, Self::Db>,
        id: i64,
        row: Self::Row,
        rest: impl Clone + Send,
    ) -> Result<T, Self::Error>;
}

#[dualwrite::repository]
trait Errors<'e, E: Send + Sync + 'static> {
    #[read(key = id)]
    async fn count(&self, id: i64) -> Result<u64, E>;
    #[write(key = name)]
    async fn rename<DB: Backend>(&self, tx: &mut Tx<'_, DB>, name: &'e str) -> Result<&'e str, E>;
}

fn assert_store<T, S: Store<T, 2>>(_: &S)
where
    T: Clone + PartialEq + Send + Sync + 'static,
    S::Row: Debug,
{
}

fn wrapped<S>(migration: &Migration, old: S, new: S)
where
    S: Store<String, 2> + Clone,
    S::Row: Debug,
    S::Error: From<dualwrite::Error>,
{
    let both = DualStore::new(migration, old.clone(), new);
    assert_store(&both);
    // A wrapper is a repository too, so wrappers nest.
    assert_store(&DualStore::new(migration, both, old));
}

fn main() {}
