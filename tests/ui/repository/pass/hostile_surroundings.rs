//! No prelude, the library under another name, and every usual name meaning something else.

#![no_implicit_prelude]
#![allow(dead_code, non_camel_case_types)]

mod reexports {
    pub use ::dualwrite as migrations;
}

type Result<T> = ::core::result::Result<T, ::sqlx::Error>;
type Option<T> = ::core::option::Option<T>;
struct Some;
struct Ok;
struct Err;
struct Box;
struct Vec;
struct String;
struct Arc;
struct O;
struct N(i64);
struct B;
struct Old;
struct Both;
trait Send {}
trait Sync {}
trait Clone {}
trait Future {}
trait From {}
trait Into {}
mod core {}
mod std {}
mod dualwrite {}

#[reexports::migrations::repository(crate = crate::reexports::migrations)]
trait Things {
    #[read(key = call, lazy)]
    async fn find(&self, call: i64) -> Result<Option<i64>>;
    const LIMIT: u32 = 1;
    #[primary]
    async fn both(&self, call: i64) -> i64;
    #[read(scan, sample = 1, timeout = "1s")]
    async fn list(&self, old: &str, new: u32, side: u8, again: bool) -> Result<i64>;
    #[read(key = (answer, error), lazy)]
    async fn find_in(
        &self,
        answer: &str,
        error: i64,
        tx: &mut reexports::migrations::Tx<'_, ::sqlx::Sqlite>,
    ) -> Result<Option<i64>>;
    #[write(key = write.0)]
    async fn save(&self, call: &mut reexports::migrations::Tx<'_, ::sqlx::Sqlite>, write: &N) -> Result<()>;
    #[write(key = value)]
    async fn set(
        &self,
        value: i64,
        tx: &mut reexports::migrations::Tx<'_, ::sqlx::Sqlite>,
        o: ::std::option::Option<i64>,
    ) -> ::core::result::Result<(), ::sqlx::Error>;
}

fn main() {}
