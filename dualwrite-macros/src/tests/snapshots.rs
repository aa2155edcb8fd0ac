//! Expansions as Rust that can be read, one for each capability, in `snapshots/`. After a change run
//! `UPDATE=1 cargo test -p dualwrite-macros` and look at the difference.

use std::path::Path;

use super::{expand, reported};

/// Compares the expansion of a source text with the file of that name.
pub(super) fn check(name: &str, source: &str) {
    let (messages, _) = reported(expand(source));
    assert!(messages.is_empty(), "{messages:?}");
    compare(name, source);
}

fn compare(name: &str, source: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("snapshots").join(name);
    let input: String = source
        .trim()
        .lines()
        .map(|line| format!("// {line}").trim_end().to_owned() + "\n")
        .collect();
    let output = prettyplease::unparse(&syn::parse2(expand(source)).unwrap());
    let actual = format!("// From:\n//\n{input}\n{output}");
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&path, &actual).unwrap();
    }
    let expected = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(actual == expected, "{name} has changed, see the head of this file:\n{actual}");
}

#[test]
fn lazy_read() {
    check(
        "repository/lazy_read.rs",
        "
#[repository]
pub trait Customers {
    /// Finds one.
    #[read(key = id, lazy)]
    async fn find(&self, id: i64) -> Result<Option<Customer>, sqlx::Error>;
}",
    );
}

#[test]
fn compared_reads() {
    check(
        "repository/compared_reads.rs",
        "
#[repository]
trait Documents {
    #[read(key = (tenant, filter.id))]
    async fn find(&self, tenant: &str, filter: Filter) -> sqlx::Result<Document>;
    #[read(scan)]
    fn all(&self, ids: &[i64]) -> impl Future<Output = Result<Vec<Document>, sqlx::Error>> + Send;
}",
    );
}

#[test]
fn reads_that_are_never_compared() {
    check(
        "repository/reads_that_are_never_compared.rs",
        "
#[repository]
trait Documents {
    #[read(key = id, shadow = never)]
    async fn version(&self, id: i64) -> Result<i64, sqlx::Error>;
    #[read(scan, shadow = never)]
    async fn pick<'n>(&self, names: &'n [&'n str]) -> Result<&'n str, sqlx::Error>;
}",
    );
}

#[test]
fn reads_with_options() {
    check(
        "repository/reads_with_options.rs",
        "
#[repository]
trait Documents {
    #[read(key = id, sample = 0.5, timeout = \"2s\", compare = rules::same)]
    async fn find(&self, id: i64) -> Result<Document, sqlx::Error>;
    #[read(key = id, lazy, shadow = never)]
    async fn latest(&self, id: i64) -> Result<Option<Document>, sqlx::Error>;
    #[write(key = id, on_mirror_error = abort)]
    async fn remove(&self, tx: &mut Tx<'_, Sqlite>, id: i64) -> Result<(), sqlx::Error>;
}",
    );
}

#[test]
fn reads_in_a_transaction() {
    check(
        "repository/reads_in_a_transaction.rs",
        "
#[repository]
trait Accounts {
    #[read(key = id)]
    async fn balance(&self, tx: &mut Tx<'_, Sqlite>, id: i64) -> Result<i64, sqlx::Error>;
    #[read(scan)]
    async fn total(&self, tx: &mut Tx<'_, Sqlite>) -> Result<i64, sqlx::Error>;
    #[read(key = name, lazy)]
    async fn lock(&self, name: String, tx: &mut Tx<'_, Sqlite>) -> Result<Option<Account>, sqlx::Error>;
}",
    );
}

#[test]
fn write() {
    check(
        "repository/write.rs",
        "
#[repository]
trait Customers {
    #[write(key = customer.id)]
    async fn save(
        &self,
        tx: &mut Tx<'_, Sqlite>,
        customer: &Customer,
        note: String,
    ) -> Result<(), sqlx::Error>;
}",
    );
}

#[test]
fn associated_types() {
    check(
        "repository/associated_types.rs",
        "
#[repository]
pub trait Store: Sync {
    type Error;
    type Row: Clone;

    #[write(key = id)]
    async fn put(&self, tx: &mut Tx<'_, Sqlite>, id: i64, row: Self::Row) -> Result<(), Self::Error>;
}",
    );
}

#[test]
fn parameters() {
    check(
        "repository/parameters.rs",
        "
#[repository]
trait Cache<'c, T: Into<N> = u8, E = Failure, const SIZE: usize = 1>
where
    T: Clone + Send + 'static,
{
    #[read(scan)]
    async fn all<'k, K: Kind, const LIMIT: usize>(&self, of: &'k O) -> Result<[T; LIMIT], E>;
}",
    );
}

#[test]
fn attributes() {
    check(
        "repository/attributes.rs",
        "
#[repository]
#[doc(hidden)]
#[allow(deprecated_in_future)]
trait Flags {
    #[cfg(feature = \"a\")]
    #[cfg(unix)]
    #[read(scan, shadow = never)]
    async fn first(&self) -> Result<bool, sqlx::Error>;
    /// Absent on Windows, and old.
    #[cfg(not(windows))]
    #[allow(clippy::doc_markdown)]
    #[deprecated]
    #[read(scan, shadow = never)]
    async fn second(&self) -> Result<bool, sqlx::Error>;
    #[read(scan, shadow = never)]
    async fn third(&self) -> Result<bool, sqlx::Error>;
}",
    );
}

#[test]
fn methods_of_the_primary() {
    check(
        "repository/methods_of_the_primary.rs",
        "
#[repository]
trait Documents {
    /// What this is.
    #[primary]
    fn name(&self) -> &'static str;
    #[cfg(unix)]
    #[primary]
    async fn ping(&self, pings: &mut u64);
    #[read(scan, shadow = never)]
    async fn count(&self) -> Result<i64, sqlx::Error>;
}",
    );
}

#[test]
fn async_trait_above() {
    check(
        "repository/async_trait_above.rs",
        "
#[repository]
trait Documents: Send + Sync {
    #[read(key = id, shadow = never)]
    fn find<'life0, 'async_trait>(
        &'life0 self,
        id: i64,
    ) -> ::core::pin::Pin<Box<
        dyn ::core::future::Future<Output = Result<Document, sqlx::Error>> + ::core::marker::Send + 'async_trait,
    >>
    where
        'life0: 'async_trait,
        Self: 'async_trait;
}",
    );
}

#[test]
fn async_trait_below() {
    check(
        "repository/async_trait_below.rs",
        "
#[repository]
#[async_trait]
trait Documents: Send + Sync {
    #[read(key = id, shadow = never)]
    async fn find(&self, id: i64) -> Result<Document, sqlx::Error>;
    #[primary]
    fn name(&self) -> String;
}",
    );
}

#[test]
fn associated_constants() {
    check(
        "repository/associated_constants.rs",
        "
#[repository]
#[cfg(unix)]
trait Documents {
    const LIMIT: u32 = 100;
    const TABLE: &'static str;
    const KINDS: [Kind; 3];
    #[read(scan, shadow = never)]
    async fn count(&self) -> Result<i64, sqlx::Error>;
}",
    );
}

#[test]
fn default_bodies() {
    check(
        "repository/default_bodies.rs",
        "
#[repository]
trait Counters: Sync {
    #[read(key = id, shadow = never)]
    async fn get(&self, id: i64) -> Result<i64, sqlx::Error> {
        Ok(id)
    }
    async fn next(&self, id: i64) -> Result<i64, sqlx::Error> {
        Ok(self.get(id).await? + 1)
    }
    fn name(&self) -> &'static str {
        \"counters\"
    }
}",
    );
}

#[test]
fn library_under_another_name() {
    check(
        "repository/library_under_another_name.rs",
        "
#[repository(crate = crate::reexports::migrations)]
trait Customers {
    #[read(key = -id)]
    async fn find(&self, id: i64) -> Result<i64, sqlx::Error>;
}",
    );
}

#[test]
fn a_mistake_leaves_the_trait() {
    compare(
        "repository/a_mistake_leaves_the_trait.rs",
        "
#[repository]
trait Customers {
    #[read(key = id, lasy)]
    async fn find(&self, id: i64) -> Result<i64, sqlx::Error>;
    async fn all(&self) -> Result<Vec<i64>, sqlx::Error>;
}",
    );
}

#[test]
fn writes_of_several_records() {
    check(
        "repository/writes_of_several_records.rs",
        "
#[repository]
trait Customers {
    #[write(keys = customers.iter().map(|customer| customer.id))]
    async fn save_all(&self, tx: &mut Tx<'_, Sqlite>, customers: &[Customer]) -> Result<(), sqlx::Error>;
    #[write(keys = ids)]
    async fn remove_all(&self, tx: &mut Tx<'_, Sqlite>, ids: Vec<i64>) -> Result<(), sqlx::Error>;
    #[write(filter)]
    async fn close(&self, tx: &mut Tx<'_, Sqlite>, country: &str) -> Result<u64, sqlx::Error>;
    #[write(once)]
    async fn see(&self, tx: &mut Tx<'_, Sqlite>, id: i64) -> Result<(), sqlx::Error>;
}",
    );
}

#[test]
fn keys_that_the_database_makes() {
    check(
        "repository/keys_that_the_database_makes.rs",
        "
#[repository]
trait Customers {
    #[write(key_from = |created| created.id, then = insert_with_id)]
    async fn insert(&self, tx: &mut Tx<'_, Sqlite>, email: &str) -> Result<Customer, sqlx::Error>;
    #[write(key = id)]
    async fn insert_with_id(&self, tx: &mut Tx<'_, Sqlite>, id: i64, email: &str) -> Result<Customer, sqlx::Error>;
    #[write(key_from = |id| *id, into = id)]
    async fn add(&self, tx: &mut Tx<'_, Sqlite>, id: Option<i64>, email: String) -> Result<i64, sqlx::Error>;
}",
    );
}

#[test]
fn errors_of_other_crates() {
    check(
        "repository/errors_of_other_crates.rs",
        "
#[repository(name = RolloutCustomers, error = to_report)]
trait Customers {
    #[read(key = id, shadow = never)]
    async fn find(&self, id: i64) -> Result<Customer, Report>;
    #[write(key = id, on_unknown = false)]
    async fn remove(&self, tx: &mut Tx<'_, Sqlite>, id: i64) -> bool;
}",
    );
}

#[test]
fn a_copy_of_a_trait_of_another_crate() {
    check(
        "repository/a_copy_of_a_trait_of_another_crate.rs",
        "
#[repository(remote = domain::Customers)]
trait Customers<T> {
    #[read(key = user, ramp = tenant, shadow = never)]
    async fn find(&self, tenant: i64, user: T) -> Result<Customer, Error>;
}",
    );
}

#[test]
fn writes_without_a_transaction() {
    check(
        "repository/writes_without_a_transaction.rs",
        "
#[repository(transaction = sqlx::Sqlite)]
trait Customers {
    #[read(scan, shadow = never)]
    async fn count(&self) -> Result<i64, sqlx::Error>;
    #[write(key = id)]
    async fn rename(&self, id: i64, name: String) -> Result<(), sqlx::Error>;
    async fn forget(&self, id: i64) -> Result<(), sqlx::Error> {
        self.rename(id, String::new()).await
    }
}",
    );
}

#[test]
fn units_of_work() {
    check(
        "repository/units_of_work.rs",
        "
#[repository(unit_of_work)]
trait Customers: Send {
    #[read(key = id)]
    async fn find(&mut self, id: i64) -> Result<Customer, sqlx::Error>;
    #[read(scan, shadow = never)]
    async fn count(&mut self) -> Result<i64, sqlx::Error>;
    #[write(key = customer.id)]
    async fn save(&mut self, customer: &Customer) -> Result<(), sqlx::Error>;
}",
    );
}
