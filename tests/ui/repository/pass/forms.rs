//! Boxed futures by hand and by `#[async_trait]`, methods of the primary, constants, a trait under `#[cfg]`.

use std::fmt::Debug;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use async_trait::async_trait;
use dualwrite::{Migration, Tx};
use futures_util::future::BoxFuture;
use sqlx::{Error, Sqlite};

#[dualwrite::repository]
trait ByHand: Send + Sync {
    #[read(key = id)]
    fn find<'s>(&'s self, id: i64) -> Pin<Box<dyn Future<Output = Result<i64, Error>> + Send + 's>>;
    #[write(key = id)]
    fn save<'s>(&'s self, tx: &'s mut Tx<'_, Sqlite>, id: i64) -> BoxFuture<'s, Result<i64, Error>>;
    #[primary]
    fn close(&self) -> BoxFuture<'_, ()>;
}

#[dualwrite::repository]
trait OfSize {
    #[read(key = id)]
    async fn find(&self, id: i64) -> Result<i64, Error>
    where
        Self: Sized + Send;
}

#[async_trait]
#[dualwrite::repository]
trait Above<T: Debug + Clone + PartialEq + Send + Sync + 'static>: Send + Sync {
    const SIZE: usize = 3;
    type Error: Send;
    #[read(key = name, lazy)]
    async fn find(&self, name: &str, value: T) -> Result<Option<T>, Self::Error>
    where
        T: 'static;
    #[write(key = key.0)]
    async fn save(&self, tx: &mut Tx<'_, Sqlite>, key: &(i64, T), note: String) -> Result<(), Self::Error>;
    #[primary]
    async fn size(&self, of: &mut Vec<T>, by: &(dyn Debug + Sync)) -> usize
    where
        T: 'async_trait,
        Self: Sized;
}

#[dualwrite::repository]
#[async_trait]
pub trait Below<T: Clone + Send + Sync + 'static>: Send + Sync {
    type Error: Send;
    #[read(key = name, shadow = never)]
    async fn find(&self, name: &str, values: &mut Vec<T>) -> Result<Option<T>, Self::Error>;
    #[write(key = id)]
    async fn save(&self, tx: &mut Tx<'_, Sqlite>, id: i64, note: T) -> Result<(), Self::Error>;
    #[primary]
    fn label<'s>(&'s self, other: &'s str) -> &'s str;
    async fn both(&self, values: &mut Vec<T>) -> Result<(), Self::Error> {
        self.find("a", values).await?;
        self.find("b", values).await.map(drop)
    }
}

#[dualwrite::repository]
#[cfg(any())]
trait Absent {
    #[read(scan)]
    async fn all(&self) -> Result<MaybeMissing, MaybeMissing>;
}

fn wrapped(migration: &Migration, old: Arc<dyn ByHand>, new: Arc<dyn ByHand>) -> Arc<dyn ByHand> {
    Arc::new(DualByHand::from_arcs(migration, old, new))
}

fn of_different_kinds<N: Below<i64, Error = Error> + 'static>(
    migration: &Migration,
    old: Arc<dyn Below<i64, Error = Error>>,
    new: Arc<N>,
    both: N,
) -> Box<dyn Below<i64, Error = Error>> {
    Box::new(DualBelow::from_arcs(migration, old, new).with_both(both))
}

fn main() {
    let _ = (wrapped, of_different_kinds::<DualBelow<dyn Below<i64, Error = Error>, dyn Below<i64, Error = Error>>>);
}
