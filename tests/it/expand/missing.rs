//! Each piece that is missing, or stricter than old, keeps `DualWrite` shut with its reason.

use dualwrite::{Migration, Stage, preflight::FindingLevel};
use sqlx::migrate::Migrate;

use super::world::{migrate, migration, old_tables, refused, write};
use crate::support::db::{Scratch, on_all_databases};
use crate::support::sql::Sql;

on_all_databases!(each_missing_piece_refuses_dual_write_with_its_reason);

/// How something is broken and put right again, and what is said of it.
struct Broken {
    by: &'static str,
    repaired_by: &'static str,
    check: &'static str,
    reasons: &'static [&'static str],
}

const fn broken(
    by: &'static str,
    repaired_by: &'static str,
    check: &'static str,
    reasons: &'static [&'static str],
) -> Broken {
    Broken { by, repaired_by, check, reasons }
}

const ANYWHERE: &[Broken] = &[
    broken(
        "ALTER TABLE customer DROP COLUMN phone",
        "ALTER TABLE customer ADD COLUMN phone VARCHAR(30)",
        "expand_missing",
        &["table `customer`, column `phone`", "ADD COLUMN", "varchar(30)"],
    ),
    broken(
        "CREATE UNIQUE INDEX too_strict ON customer (phone)",
        "DROP INDEX too_strict",
        "expand_unique",
        &["column `phone`", "too_strict refuses rows"],
    ),
    broken(
        "DROP TABLE customer_tag",
        "CREATE TABLE customer_tag (customer_id BIGINT NOT NULL, position INTEGER NOT NULL, tag VARCHAR(40), \
         owner_email VARCHAR(60) NOT NULL, PRIMARY KEY (customer_id, position));
         CREATE INDEX tag_again ON customer_tag (tag)",
        "expand_missing",
        &["table `customer_tag`", "CREATE TABLE", "run: "],
    ),
    broken(
        "DROP TABLE customer_tag;
         CREATE TABLE customer_tag (customer_id BIGINT NOT NULL, position INTEGER NOT NULL, tag VARCHAR(40), \
         owner_email VARCHAR(60) NOT NULL);
         CREATE INDEX tag_again ON customer_tag (tag)",
        "CREATE UNIQUE INDEX tag_key ON customer_tag (customer_id, position)",
        "expand_unique",
        &["unique index over (customer_id, position)", "UNIQUE INDEX"],
    ),
    broken(
        "DROP INDEX tag_again",
        "CREATE INDEX tag_again ON customer_tag (tag)",
        "expand_index",
        &["table `customer_tag`, column `tag`", "the index over (tag)", "INDEX"],
    ),
];

const SERVERS: &[Broken] = &[
    broken(
        "ALTER TABLE customer DROP COLUMN age_years; ALTER TABLE customer ADD COLUMN age_years SMALLINT;
         CREATE INDEX age_again ON customer (age_years)",
        "ALTER TABLE customer DROP COLUMN age_years; ALTER TABLE customer ADD COLUMN age_years INTEGER;
         CREATE INDEX age_again ON customer (age_years)",
        "expand_type",
        &["column `age_years`", "smallint", "`integer` is declared"],
    ),
];

const POSTGRES: &[Broken] = &[
    broken(
        "ALTER TABLE customer ALTER COLUMN email_address TYPE varchar(20)",
        "ALTER TABLE customer ALTER COLUMN email_address TYPE varchar(60)",
        "expand_narrow",
        &["column `email_address`", "shorter", "TYPE character varying(60)"],
    ),
    broken(
        "DELETE FROM customer; ALTER TABLE customer ALTER COLUMN email_address SET NOT NULL",
        "ALTER TABLE customer ALTER COLUMN email_address DROP NOT NULL",
        "expand_not_null",
        &[
            "column `email_address`",
            "run: ALTER TABLE \"customer\" ALTER COLUMN \"email_address\" DROP NOT NULL",
        ],
    ),
    broken(
        "ALTER TABLE customer ADD CONSTRAINT strict CHECK (email_address LIKE '%@%')",
        "ALTER TABLE customer DROP CONSTRAINT strict",
        "expand_rule",
        &["column `email_address`", "strict", "refuses values"],
    ),
    broken(
        "DROP INDEX customer_customer_email_email_address_new",
        "CREATE UNIQUE INDEX again ON customer (email_address)",
        "expand_index",
        &["unique index customer_email", "run: CREATE UNIQUE INDEX CONCURRENTLY"],
    ),
    broken(
        "DROP INDEX customer_customer_com_email_address_new",
        "CREATE INDEX again_com ON customer (lower(email_address)) WHERE email_address LIKE '%.com'",
        "expand_index",
        &["index customer_com", "lower((\"email_address\")::text)", "WHERE"],
    ),
    broken(
        "UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'again_com'::regclass",
        "UPDATE pg_index SET indisvalid = true WHERE indexrelid = 'again_com'::regclass",
        "expand_index",
        &["again_com is not valid", "run: DROP INDEX CONCURRENTLY \"again_com\"; CREATE INDEX"],
    ),
];

const MYSQL: &[Broken] = &[
    broken(
        "ALTER TABLE customer MODIFY COLUMN email_address VARCHAR(20)",
        "ALTER TABLE customer MODIFY COLUMN email_address VARCHAR(60)",
        "expand_narrow",
        &["column `email_address`", "shorter", "MODIFY COLUMN `email_address` varchar(60)"],
    ),
    broken(
        "ALTER TABLE customer MODIFY COLUMN account_id BIGINT UNSIGNED",
        "ALTER TABLE customer MODIFY COLUMN account_id BIGINT",
        "expand_narrow",
        &["column `account_id`", "unsigned"],
    ),
    broken(
        "DELETE FROM customer; ALTER TABLE customer MODIFY COLUMN email_address VARCHAR(60) NOT NULL",
        "ALTER TABLE customer MODIFY COLUMN email_address VARCHAR(60) NULL",
        "expand_not_null",
        &[
            "column `email_address`",
            "run: ALTER TABLE `customer` MODIFY COLUMN `email_address`",
            "NULL",
        ],
    ),
    broken(
        "ALTER TABLE customer ADD CONSTRAINT strict CHECK (email_address LIKE '%@%')",
        "ALTER TABLE customer DROP CONSTRAINT strict",
        "expand_rule",
        &["column `email_address`", "strict", "refuses values"],
    ),
    broken(
        "ALTER TABLE customer DROP INDEX customer_customer_email_email_address_new",
        "CREATE UNIQUE INDEX again ON customer (email_address)",
        "expand_index",
        &["unique index customer_email", "run: ALTER TABLE `customer` ADD UNIQUE INDEX"],
    ),
];

const SQLITE: &[Broken] = &[
            broken(
                "DROP INDEX customer_customer_email_email_address_new",
                "CREATE UNIQUE INDEX again ON customer (email_address)",
                "expand_index",
                &["unique index customer_email", "run: CREATE UNIQUE INDEX"],
            ),
            broken(
                "DROP INDEX again; ALTER TABLE customer DROP COLUMN email_address;
                 ALTER TABLE customer ADD COLUMN email_address VARCHAR(60) CHECK (email_address LIKE '%@%');
                 CREATE UNIQUE INDEX again ON customer (email_address)",
                "DROP INDEX again; ALTER TABLE customer DROP COLUMN email_address;
                 ALTER TABLE customer ADD COLUMN email_address VARCHAR(60) CHECK (email_address <> '');
                 CREATE UNIQUE INDEX again ON customer (email_address)",
                "expand_rule",
                &["column `email_address`", "LIKE '%@%'", "refuses values"],
            ),
            broken(
                "DROP INDEX again; ALTER TABLE customer DROP COLUMN email_address;
                 ALTER TABLE customer ADD COLUMN email_address INTEGER CHECK (email_address <> '');
                 CREATE UNIQUE INDEX again ON customer (email_address)",
                "DROP INDEX again; ALTER TABLE customer DROP COLUMN email_address;
                 ALTER TABLE customer ADD COLUMN email_address VARCHAR(60) CHECK (email_address <> '');
                 CREATE UNIQUE INDEX again ON customer (email_address)",
                "expand_narrow",
                &["column `email_address`", "another type", "ADD COLUMN \"email_address\" VARCHAR(60)"],
            ),
            broken(
                "ALTER TABLE customer DROP COLUMN phone; ALTER TABLE customer ADD COLUMN phone INTEGER",
                "ALTER TABLE customer DROP COLUMN phone; ALTER TABLE customer ADD COLUMN phone VARCHAR(30)",
                "expand_type",
                &["column `phone`", "`varchar(30)` is declared"],
            ),
        ];

fn particular(database: &str) -> &'static [Broken] {
    match database {
        "postgres" => POSTGRES,
        "mysql" => MYSQL,
        _ => SQLITE,
    }
}

async fn each_missing_piece_refuses_dual_write_with_its_reason<D: Sql>(db: Scratch<D>)
where
    <D::Db as sqlx::Database>::Connection: Migrate,
{
    old_tables(&db).await;
    let (runtime, migration) = migration(&db).await;
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), &migration.expand().plan().await.unwrap().files(1));
    migrate(&db, folder.path(), false).await;
    is_ready(&migration).await;
    let servers = if D::NAME == "sqlite" { &[] } else { SERVERS };
    for one in ANYWHERE.iter().chain(servers).chain(particular(D::NAME)) {
        db.execute(&spelled::<D>(one.by)).await;
        let report = migration.expand().check().await.unwrap();
        let refusals = report.findings.iter().filter(|one| one.level == FindingLevel::Refuse);
        let checks: Vec<&str> = refusals.map(|one| &*one.check).collect();
        // Without its table an index is missing, too.
        let more = usize::from(one.by == "DROP TABLE customer_tag");
        assert_eq!((checks[0], checks.len()), (one.check, 1 + more), "{}: {report:#?}", one.by);
        let reason = refused(&migration).await.join("\n");
        for told in one.reasons {
            assert!(reason.contains(told), "{told} is not in: {reason}");
        }
        db.execute(&spelled::<D>(one.repaired_by)).await;
        is_ready(&migration).await;
    }
    migration.advance(Stage::DualWrite).await.unwrap();
    runtime.shutdown().await.unwrap();
}

/// MySQL wants to know the table of an index; a connection to SQLite learns of another one's columns when it reads.
fn spelled<D: Sql>(sql: &str) -> String {
    let of = |name: &str| if name.contains("tag") { "customer_tag" } else { "customer" };
    match D::NAME {
        "mysql" => {
            let statements =
                sql.split(';').map(str::trim).map(|sql| match sql.strip_prefix("DROP INDEX ") {
                    Some(name) => format!("DROP INDEX {name} ON {}", of(name)),
                    None => sql.to_owned(),
                });
            statements.collect::<Vec<_>>().join("; ")
        }
        "sqlite" => format!("SELECT count(*) FROM customer; {sql}"),
        _ => sql.to_owned(),
    }
}

async fn is_ready(migration: &Migration) {
    let report = migration.expand().check().await.unwrap();
    assert!(report.is_ready(), "{report:#?}");
}
