//! Arguments by value and by reference, keys made of several, borrows where nothing is asked twice.

use dualwrite::Tx;
use sqlx::{Error, Sqlite};

#[derive(Clone)]
pub struct Filter {
    pub tenant: String,
    pub ids: Vec<i64>,
}

#[dualwrite::repository]
pub trait Documents {
    #[read(key = (tenant, id))]
    async fn find(&self, tenant: String, id: i64) -> Result<Option<String>, Error>;
    #[read(key = (&filter.tenant, filter.ids[0]), lazy)]
    async fn first(&self, filter: Filter, names: &[String], flags: &[u8; 4]) -> Result<Option<String>, Error>;
    #[read(scan)]
    async fn all(&self, filter: &Filter, order: fn(&str) -> bool, label: &'static str) -> Result<Vec<String>, Error>;
    #[read(scan)]
    async fn named(&self, name: impl AsRef<str> + Clone + Send + Sync + 'static) -> Result<i64, Error>;
    #[read(key = *id)]
    async fn own<'s>(&'s self, id: &'s i64) -> Result<Option<String>, Error>;
    #[read(scan, shadow = never)]
    async fn pick<'a>(&self, names: &'a [&'a str], into: &mut Vec<String>) -> Result<Option<&'a str>, Error>;
    #[read(key = id)]
    async fn locked(&self, tx: &mut Tx<'_, Sqlite>, id: i64, buffer: &mut Vec<u8>) -> Result<String, Error>;
    #[read(scan)]
    async fn count_in(&self, tx: &mut Tx<'_, Sqlite>, tenant: Option<&str>) -> Result<i64, Error>;
    #[read(key = tenant, lazy)]
    async fn latest<'t>(
        &self,
        tenant: &'t str,
        filter: Filter,
        tx: &mut Tx<'t, Sqlite>,
    ) -> Result<Option<String>, Error>;
    #[write(key = -id)]
    async fn save<'c>(
        &self,
        id: i64,
        body: String,
        tx: &mut Tx<'c, Sqlite>,
        tag: Option<&str>,
        by: impl AsRef<str> + Clone + Send,
    ) -> Result<i64, Error>;
}

fn main() {}
