//! Getting to the database: one connection first, which says at once what is wrong; a pool would try again and
//! again.

use std::str::FromStr as _;
use std::time::Duration;

use dualwrite::{Backend, operator::Operator};
use sqlx::mysql::{MySql, MySqlConnectOptions};
use sqlx::pool::PoolOptions;
use sqlx::postgres::{PgConnectOptions, Postgres};
use sqlx::sqlite::{Sqlite, SqliteConnectOptions};
use sqlx::{ConnectOptions, Connection};

use crate::failure::{Exit, unreachable};

/// How long a server may take to answer the first time.
const TIMEOUT: Duration = Duration::from_secs(10);

/// The operator of the database with this URL. Makes neither tables nor files.
pub(crate) async fn connect(url: &str) -> Result<Operator, Exit> {
    match url.split_once(':').map_or("", |(scheme, _)| scheme) {
        "postgres" | "postgresql" => {
            let options = PgConnectOptions::from_str(url).map_err(|error| unreachable(&error))?;
            open::<Postgres>(options.application_name("dualwrite")).await
        }
        "mysql" | "mariadb" => {
            open::<MySql>(MySqlConnectOptions::from_str(url).map_err(|error| unreachable(&error))?)
                .await
        }
        "sqlite" => {
            let options =
                SqliteConnectOptions::from_str(url).map_err(|error| unreachable(&error))?;
            open::<Sqlite>(options.create_if_missing(false)).await
        }
        _ => Err(Exit::wrong_use(
            "the URL of the database must begin with postgres:, mysql:, mariadb: or sqlite:",
        )),
    }
}

async fn open<DB: Backend>(
    options: <DB::Connection as Connection>::Options,
) -> Result<Operator, Exit> {
    let first = async { options.connect().await?.close().await };
    match tokio::time::timeout(TIMEOUT, first).await {
        Ok(connected) => connected.map_err(|error| unreachable(&error))?,
        Err(_) => {
            let seconds = TIMEOUT.as_secs();
            return Err(Exit::unreachable(format!(
                "the database did not answer within {seconds} seconds; check host and port in the URL"
            )));
        }
    }
    let pool = PoolOptions::<DB>::new().max_connections(1).acquire_timeout(TIMEOUT);
    Ok(Operator::new(pool.connect_lazy_with(options)))
}
