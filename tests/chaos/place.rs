//! A database for one round.

use std::path::Path;
use std::time::Duration;

use sqlx::Pool;
use sqlx::pool::PoolOptions;

use crate::client::HOT;
use crate::service::{FOREIGN, MIGRATIONS, Names, TABLES, VERSIONED, first_rows};
use crate::support::db::database_name;
use crate::support::sql::Sql;
use crate::support::wait::soon;
use dualwrite::Side;

pub(crate) struct Place<D: Sql> {
    /// Not through a proxy.
    pub(crate) pool: Pool<D::Db>,
    pub(crate) url: String,
    /// What is dropped in the end, and where.
    database: Option<(Pool<D::Db>, String)>,
}

impl<D: Sql> Place<D> {
    /// On the server with this URL, or in the folder.
    pub(crate) async fn create(server: Option<&str>, folder: &Path) -> Self {
        let (url, database) = match server {
            None => (format!("sqlite://{}?mode=rwc", folder.join("round.db").display()), None),
            Some(server) => {
                let name = database_name("chaos");
                let admin = connect::<D>(server, 1).await;
                let create = match D::NAME {
                    "postgres" => format!("CREATE DATABASE {name} TEMPLATE template0"),
                    _ => format!("CREATE DATABASE {name} CHARACTER SET utf8mb4"),
                };
                D::execute(&admin, &create).await.unwrap();
                let (server, _) = server.rsplit_once('/').unwrap();
                (format!("{server}/{name}"), Some((admin, name)))
            }
        };
        let pool = connect::<D>(&url, 6).await;
        if D::NAME == "sqlite" {
            D::execute(&pool, "PRAGMA journal_mode = WAL").await.unwrap();
        }
        let place = Self { pool, url, database };
        place.fill().await;
        place
    }

    async fn fill(&self) {
        let mut sql = vec![TABLES.to_owned()];
        let rows = first_rows();
        for migration in MIGRATIONS {
            let old = Names { migration, side: Side::Old };
            sql.extend(rows.iter().map(|note| old.upsert::<D>(note)));
            let drawn = VERSIONED.chain(FOREIGN).map(|id| format!("('{migration}', {id}, 0)"));
            let drawn: Vec<String> = drawn.collect();
            sql.push(format!("INSERT INTO drawn VALUES {}", drawn.join(", ")));
        }
        sql.extend(HOT.map(|id| format!("INSERT INTO hot VALUES ({id}, 0)")));
        D::execute(&self.pool, &sql.join(";\n")).await.unwrap();
    }

    /// The URL by way of another port.
    pub(crate) fn url_by(&self, from: u16, port: u16) -> String {
        self.url.replacen(&format!(":{from}/"), &format!(":{port}/"), 1)
    }

    pub(crate) async fn remove(self) {
        let Some((admin, name)) = self.database else { return };
        self.pool.close().await;
        let force = D::sql("", " WITH (FORCE)", "");
        // The connections of what was killed may end a moment later.
        soon(format!("{name} is dropped"), async || {
            D::execute(&admin, &format!("DROP DATABASE IF EXISTS {name}{force}")).await.ok()
        })
        .await;
    }
}

async fn connect<D: Sql>(url: &str, max: u32) -> Pool<D::Db> {
    let pool = PoolOptions::<D::Db>::new()
        .max_connections(max)
        .acquire_timeout(Duration::from_secs(30))
        .connect_lazy(url)
        .unwrap();
    soon("the database lets one in", async || pool.acquire().await.ok().map(drop)).await;
    pool
}
