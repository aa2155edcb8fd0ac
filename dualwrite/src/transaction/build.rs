//! Sides that borrow a connection: how they are built for one call, over the connection of a fenced transaction or,
//! for a comparison, over another one of the same pool.

use sqlx::pool::PoolConnection;

use crate::database::Backend;
use crate::error::Error;
use crate::stages::columns::Columns;
use crate::transaction::Tx;

/// Builds a side of a unit of work over a connection.
///
/// Every function from `&mut Connection` to the side does it. Write a function item: a closure cannot say that its
/// answer borrows from its argument. Implement the trait yourself where a side needs more than the connection.
///
/// ```
/// # #[cfg(feature = "sqlite")] mod example {
/// use dualwrite::BuildSide;
/// use sqlx::SqliteConnection;
///
/// struct Customers<'t> {
///     connection: &'t mut SqliteConnection,
///     region: &'static str,
/// }
///
/// // Where the connection is all that it needs:
/// fn customers(connection: &mut SqliteConnection) -> Customers<'_> {
///     Customers { connection, region: "eu" }
/// }
///
/// // Where it needs more:
/// struct CustomersOf {
///     region: &'static str,
/// }
///
/// impl<'t> BuildSide<'t, SqliteConnection> for CustomersOf {
///     type Side = Customers<'t>;
///
///     fn build(&self, connection: &'t mut SqliteConnection) -> Customers<'t> {
///         Customers { connection, region: self.region }
///     }
/// }
/// # }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not build a side from `&mut {C}`",
    label = "give a function `fn side(connection: &mut {C}) -> Side<'_>`",
    note = "a closure, or `Side::new` of an `impl<'t> Side<'t>`, works for one lifetime only: write a function item",
    note = "where a side needs more than the connection, implement `dualwrite::BuildSide` for a type of your own"
)]
pub trait BuildSide<'t, C: 't> {
    /// The side, which borrows the connection.
    type Side: Send;

    /// Builds it for one call.
    fn build(&self, connection: &'t mut C) -> Self::Side;
}

#[diagnostic::do_not_recommend]
impl<'t, C: 't, S: Send, F: Fn(&'t mut C) -> S> BuildSide<'t, C> for F {
    type Side = S;

    fn build(&self, connection: &'t mut C) -> S {
        self(connection)
    }
}

/// A function that builds a side, with the columns of one row that it is built for.
#[derive(Clone, Copy, Debug)]
pub struct OfColumns<F> {
    function: F,
    columns: Columns,
}

impl<F> OfColumns<F> {
    /// For these columns.
    pub fn new(function: F, columns: Columns) -> Self {
        Self { function, columns }
    }
}

impl<'t, C: 't, S: Send, F: Fn(&'t mut C, Columns) -> S> BuildSide<'t, C> for OfColumns<F> {
    type Side = S;

    fn build(&self, connection: &'t mut C) -> S {
        (self.function)(connection, self.columns)
    }
}

/// A side for one call in the transaction.
pub fn built<'t, DB: Backend, M: BuildSide<'t, DB::Connection>>(
    make: &M,
    tx: &'t mut Tx<'_, DB>,
) -> M::Side {
    make.build(&mut **tx)
}

/// A side for one call of a comparison, outside the transaction.
pub fn built_apart<'t, DB: Backend, M: BuildSide<'t, DB::Connection>>(
    make: &M,
    connection: &'t mut Apart<DB>,
) -> M::Side {
    make.build(&mut connection.0)
}

/// The pool of a transaction, of which a comparison takes a connection. None where somebody else began the
/// transaction: then nothing is compared.
pub struct ApartFrom<DB: Backend>(Option<sqlx::Pool<DB>>);

impl<DB: Backend> ApartFrom<DB> {
    /// Of this transaction.
    #[must_use]
    pub fn of(tx: &Tx<'_, DB>) -> Self {
        Self(tx.pool.clone())
    }

    /// A connection for one call.
    ///
    /// # Errors
    /// `Database`.
    pub async fn connection(&self) -> Result<Apart<DB>, Error> {
        const DOING: &str = "taking a connection for a comparison";
        let pool =
            self.0.as_ref().ok_or_else(|| Error::database(DOING, sqlx::Error::PoolClosed))?;
        let taken = pool.acquire().await;
        taken.map(Apart).map_err(|error| Error::database(DOING, error))
    }
}

impl<DB: Backend> Clone for ApartFrom<DB> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

/// A connection without a transaction.
pub struct Apart<DB: Backend>(PoolConnection<DB>);
