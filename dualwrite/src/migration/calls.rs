//! Calls by closures, without a repository trait.

use crate::call::closures::converging::ConvergingWrite;
use crate::call::closures::read::ReadCall;
use crate::call::closures::write::{All, One, Unnamed, WriteCall};
use crate::database::Backend;
use crate::key::Key;
use crate::migration::Migration;
use crate::transaction::Tx;

impl Migration {
    /// Reads one record by closures, without a repository trait: what a `#[read(key = …)]` method does. `name` names the
    /// read in statistics and metrics, as `call::name`.
    pub fn read<'m, K: Key + ?Sized>(&'m self, name: &'static str, key: &'m K) -> ReadCall<'m, K> {
        ReadCall::begun(self.shared(), name, Some(key))
    }

    /// Reads without a key by closures: what a `#[read(scan)]` method does.
    pub fn scan(&self, name: &'static str) -> ReadCall<'_, i64> {
        ReadCall::begun(self.shared(), name, None)
    }

    /// Writes one record by closures: what a `#[write(key = …)]` method does.
    pub fn write<'m, 'c, DB: Backend, K: Key + ?Sized>(
        &'m self,
        name: &'static str,
        tx: &'m mut Tx<'c, DB>,
        key: &'m K,
    ) -> WriteCall<'m, 'c, DB, One<'m, K>> {
        WriteCall::begun(self.shared(), name, tx, One(key))
    }

    /// Writes one record to two stores that share no transaction; see the guide
    /// [`converging`](crate::guide::converging).
    pub fn converging_write<'m, K: Key + ?Sized>(
        &'m self,
        name: &'static str,
        key: &'m K,
    ) -> ConvergingWrite<'m, K> {
        ConvergingWrite::begun(self.shared(), name, key)
    }

    /// Writes several records by closures, all of which are named: what a `#[write(keys = …)]` method does.
    pub fn write_all<'m, 'c, DB: Backend, I>(
        &'m self,
        name: &'static str,
        tx: &'m mut Tx<'c, DB>,
        keys: I,
    ) -> WriteCall<'m, 'c, DB, All<I>>
    where
        I: IntoIterator,
        I::Item: Key,
    {
        WriteCall::begun(self.shared(), name, tx, All(keys))
    }

    /// Writes records that nobody names by closures: what a `#[write(filter)]` method does. It goes to both sides or
    /// fails.
    pub fn write_filter<'m, 'c, DB: Backend>(
        &'m self,
        name: &'static str,
        tx: &'m mut Tx<'c, DB>,
    ) -> WriteCall<'m, 'c, DB, Unnamed> {
        WriteCall::begun(self.shared(), name, tx, Unnamed)
    }
}
