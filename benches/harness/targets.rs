//! The table of targets.

/// `benches/schema.rs`: seconds in which 1,000 files are read and judged.
pub(crate) const SCHEMA_SECONDS_MAX: f64 = 1.0;

/// `benches/page.rs`: statements of a view.
pub(crate) const PAGE_STATEMENTS_MIN: f64 = 3.0;
pub(crate) const PAGE_STATEMENTS_MAX: f64 = 12.0;
/// The slowest of a hundred looks, with ten who look, beside as many trivial statements to a server.
pub(crate) const PAGE_RATIO_MAX: f64 = 60.0;
/// Statements in three seconds when nobody looks.
pub(crate) const PAGE_IDLE_MAX: f64 = 0.0;

/// `benches/fleet.rs`: rows that an idle instance writes in a second.
pub(crate) const FLEET_ROWS_WRITTEN_MAX: f64 = 0.3;
/// Rows that it reads more in a second where there are dead letters.
pub(crate) const FLEET_ROWS_READ_MORE_MAX: f64 = 100.0;
/// Transactions that 50 migrations take more than 5 to register: a heartbeat and a look may fall into the time.
pub(crate) const FLEET_REGISTERING_MORE_MAX: f64 = 4.0;
/// Transactions of an idle instance in a second.
pub(crate) const FLEET_POSTGRES_TRANSACTIONS_MAX: f64 = 0.5;
pub(crate) const FLEET_MYSQL_TRANSACTIONS_MAX: f64 = 2.0;

/// `benches/macros.rs`: seconds that fifty methods may add to a debug build.
pub(crate) const MACROS_SECONDS_MAX: f64 = 0.35;

/// `benches/soak.rs`: memory at the end over memory after the warm-up.
pub(crate) const SOAK_GROWTH_MAX: f64 = 1.10;

/// `benches/two_stores.rs`: keys a second through the relay.
pub(crate) const STORES_RELAYED_MIN: f64 = 20_000.0;
/// Times faster than reladiff, between two databases of one kind and of two.
pub(crate) const STORES_ALIKE_MIN: f64 = 3.0;
pub(crate) const STORES_ACROSS_MIN: f64 = 1.0;
/// Share of the speed of COPY into a staging table and one INSERT from it.
pub(crate) const STORES_BACKFILL_MIN: f64 = 0.8;
/// Share of the speed of the same writes without the library.
pub(crate) const STORES_CONVERGING_MIN: f64 = 0.8;
pub(crate) const STORES_EXACT_MIN: f64 = 0.7;
