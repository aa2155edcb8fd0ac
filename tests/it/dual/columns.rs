//! The ready copy function for old and new columns in one row, on every database.

use dualwrite::{
    CopyBack as _, CopyKeys, Dual, DualTable, ErrorKind, Migration, Operation, Route, Runtime,
    Stage, copy::ConvertColumns,
};

use crate::support::db::{Scratch, on_all_databases};
use crate::support::sql::Sql;

on_all_databases!(
    a_rename_needs_no_sql,
    letters_count_whatever_the_collation,
    columns_of_two_collations_are_compared_by_their_letters,
    a_type_change_buries_what_cannot_be_converted,
    an_expression_is_checked_against_the_function,
    what_the_database_refuses_is_told_without_the_value,
    several_columns_become_others_under_a_key_of_two,
    null_needs_an_optional_field,
    it_copies_back,
    a_column_of_another_type_is_no_fault_of_a_row,
);

/// A migration of a struct, at `DualWrite`.
async fn dual_write<T, D>(db: &Scratch<D>) -> (Runtime<D::Db>, Migration)
where
    T: ConvertColumns<D::Db>,
    D: Sql,
{
    let runtime = Runtime::builder(db.pool().clone()).start().await.unwrap();
    let registration = runtime.migration("columns").backfill(T::copy_columns());
    let migration = registration.register().await.unwrap();
    migration.advance(Stage::DualWrite).await.unwrap();
    (runtime, migration)
}

async fn differing(migration: &Migration) -> Vec<String> {
    migration.verify().run().await.unwrap().keys
}

#[derive(Dual)]
#[dual(table = "contacts", key = "id")]
struct Contact {
    id: i64,
    #[dual(new = email_address)]
    email: String,
    email_address: Option<String>,
    #[dual(new = phone_number)]
    phone: Option<String>,
    phone_number: Option<String>,
    #[dual(new = years)]
    age: Option<i64>,
    years: Option<i64>,
}

async fn contacts<D: Sql>(db: &Scratch<D>, rows: u32) {
    db.execute(
        "CREATE TABLE contacts (id BIGINT PRIMARY KEY, \
             email VARCHAR(40) NOT NULL, email_address VARCHAR(40), \
             phone VARCHAR(40), phone_number VARCHAR(40), age BIGINT, years BIGINT)",
    )
    .await;
    for id in 1..=rows {
        let (phone, age) = match id % 3 {
            0 => ("NULL".to_owned(), "NULL".to_owned()),
            _ => (format!("'p{id}'"), id.to_string()),
        };
        db.execute(&format!(
            "INSERT INTO contacts (id, email, phone, age) VALUES ({id}, 'Word {id}', {phone}, {age})"
        ))
        .await;
    }
}

async fn a_rename_needs_no_sql<D: Sql>(db: Scratch<D>) {
    contacts(&db, 457).await;
    let (_runtime, migration) = dual_write::<Contact, D>(&db).await;
    let done = migration.backfill().batch(300).run().await.unwrap();
    assert_eq!((done.total, done.migrated, done.skipped, done.failed), (457, 457, 0, 0));
    assert!(migration.verify().run().await.unwrap().is_clean());
    let same = "SELECT count(*) FROM contacts WHERE email = email_address \
                AND ((phone IS NULL AND phone_number IS NULL) OR phone = phone_number) \
                AND ((age IS NULL AND years IS NULL) OR age = years)";
    assert_eq!(db.number(same).await, 457);

    db.execute("UPDATE contacts SET email_address = NULL WHERE id = 3").await;
    db.execute("UPDATE contacts SET phone_number = 'other' WHERE id = 4").await;
    db.execute("UPDATE contacts SET years = 0 WHERE id = 6").await;
    assert_eq!(differing(&migration).await, ["3", "4", "6"]);
    for key in [3_i64, 4, 6] {
        assert!(migration.copy(&key).await.unwrap());
    }
    assert!(migration.verify().run().await.unwrap().is_clean());

    let mut tx = migration.begin(db.pool()).await.unwrap();
    let copied = Contact::copy_columns().copy(&mut tx, &[1, 2, 1_000_000]).await.unwrap();
    assert_eq!((copied.migrated, copied.skipped), (0, 3), "a row that is gone needs nothing");
    tx.rollback().await.unwrap();
}

async fn columns_of_two_collations_are_compared_by_their_letters<D: Sql>(db: Scratch<D>) {
    contacts(&db, 3).await;
    for (column, collation) in [
        ("email_address", D::sql("NOCASE", "\"C\"", "utf8mb4_unicode_ci")),
        ("phone_number", D::sql("RTRIM", "\"C\"", "utf8mb4_bin")),
    ] {
        let alter = match D::NAME {
            "sqlite" => format!(
                "ALTER TABLE contacts DROP COLUMN {column}; \
                 ALTER TABLE contacts ADD COLUMN {column} VARCHAR(40) COLLATE {collation}"
            ),
            "postgres" => format!(
                "ALTER TABLE contacts ALTER COLUMN {column} TYPE VARCHAR(40) COLLATE {collation}"
            ),
            _ => format!("ALTER TABLE contacts MODIFY {column} VARCHAR(40) COLLATE {collation}"),
        };
        db.execute(&alter).await;
    }
    letters_count_whatever_the_collation_of(db).await;
}

async fn letters_count_whatever_the_collation<D: Sql>(db: Scratch<D>) {
    contacts(&db, 3).await;
    letters_count_whatever_the_collation_of(db).await;
}

async fn letters_count_whatever_the_collation_of<D: Sql>(db: Scratch<D>) {
    let (_runtime, migration) = dual_write::<Contact, D>(&db).await;
    migration.backfill().run().await.unwrap();
    db.execute("UPDATE contacts SET email_address = 'WORD 1' WHERE id = 1").await;
    db.execute("UPDATE contacts SET email_address = 'Word 2 ' WHERE id = 2").await;
    assert_eq!(differing(&migration).await, ["1", "2"]);
    migration.copy(&1_i64).await.unwrap();
    migration.copy(&2_i64).await.unwrap();
    assert!(migration.verify().run().await.unwrap().is_clean());
}

#[derive(Dual)]
#[dual(table = "people", key = "id")]
struct Person {
    id: i64,
    #[dual(new = age_new, forward = parse, backward = show)]
    age: Option<String>,
    age_new: Option<i64>,
    #[dual(new = email_address)]
    email: String,
    email_address: Option<String>,
}

fn parse(age: &str) -> Result<i64, String> {
    age.trim().parse().map_err(|_| format!("{age} is no age"))
}

fn show(age: i64) -> String {
    age.to_string()
}

async fn people<D: Sql>(db: &Scratch<D>, rows: u32) {
    db.execute(
        "CREATE TABLE people (id BIGINT PRIMARY KEY, age VARCHAR(40), age_new BIGINT, \
             email VARCHAR(40) NOT NULL, email_address VARCHAR(40))",
    )
    .await;
    for id in 1..=rows {
        db.execute(&format!("INSERT INTO people (id, age, email) VALUES ({id}, '{id}', 'e{id}')"))
            .await;
    }
}

async fn a_type_change_buries_what_cannot_be_converted<D: Sql>(db: Scratch<D>)
where
    Person: ConvertColumns<D::Db>,
{
    people(&db, 40).await;
    db.execute("UPDATE people SET age = 'secret' WHERE id = 7").await;
    db.execute("UPDATE people SET age = NULL WHERE id = 8").await;
    let (_runtime, migration) = dual_write::<Person, D>(&db).await;
    let done = migration.backfill().batch(16).run().await.unwrap();
    assert_eq!((done.total, done.migrated, done.failed), (40, 39, 1));
    let letters = migration.dead_letters().await.unwrap();
    assert_eq!(letters.len(), 1);
    assert_eq!(letters[0].key, "7");
    assert_eq!(letters[0].error, "`age_new` of `Person` with the key 7 cannot be converted to new");
    assert_eq!(db.number("SELECT count(*) FROM people WHERE age_new = id").await, 38);
    assert_eq!(differing(&migration).await, ["7"]);

    let error = migration.copy(&7_i64).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::CopyFailed);
    let typed = std::error::Error::source(&error).unwrap();
    let typed = typed.downcast_ref::<dualwrite::ConversionError>().unwrap();
    assert_eq!((typed.field(), typed.key()), ("age_new", Some("7")));

    db.execute("UPDATE people SET age = '77' WHERE id = 7").await;
    assert!(migration.copy(&7_i64).await.unwrap());
    assert!(migration.verify().run().await.unwrap().is_clean());
    db.execute("UPDATE people SET age_new = 1 WHERE id = 8").await;
    db.execute("UPDATE people SET email_address = 'other' WHERE id = 9").await;
    assert_eq!(differing(&migration).await, ["8", "9"]);
    migration.copy(&8_i64).await.unwrap();
    migration.copy(&9_i64).await.unwrap();
    assert!(migration.verify().run().await.unwrap().is_clean());
}

#[derive(Dual)]
#[dual(table = "codes", key = "id")]
struct Code {
    id: i64,
    #[dual(new = size, forward = size, backward = blanks, sql = "LENGTH(code)")]
    code: String,
    size: Option<i32>,
}

fn size(code: &str) -> i32 {
    if code == "odd" { 99 } else { code.len() as i32 }
}

fn blanks(size: i32) -> String {
    " ".repeat(size.unsigned_abs() as usize)
}

async fn an_expression_is_checked_against_the_function<D: Sql>(db: Scratch<D>)
where
    Code: ConvertColumns<D::Db>,
{
    db.execute("CREATE TABLE codes (id BIGINT PRIMARY KEY, code VARCHAR(40) NOT NULL, size INT)")
        .await;
    for (id, code) in [(1, "a"), (2, "odd"), (3, "abc")] {
        db.execute(&format!("INSERT INTO codes (id, code) VALUES ({id}, '{code}')")).await;
    }
    let (_runtime, migration) = dual_write::<Code, D>(&db).await;
    let done = migration.backfill().run().await.unwrap();
    assert_eq!((done.migrated, done.failed), (3, 0));
    assert_eq!(db.number("SELECT count(*) FROM codes WHERE size = LENGTH(code)").await, 3);
    assert_eq!(differing(&migration).await, ["2"], "the function says something else");
}

async fn what_the_database_refuses_is_told_without_the_value<D: Sql>(db: Scratch<D>)
where
    Code: ConvertColumns<D::Db>,
{
    db.execute(
        "CREATE TABLE codes (id BIGINT PRIMARY KEY, code VARCHAR(40) NOT NULL, \
             size INT, CHECK (size < 10 OR size IS NULL))",
    )
    .await;
    for (id, code) in [(1, "a"), (2, "a long secret"), (3, "abc")] {
        db.execute(&format!("INSERT INTO codes (id, code) VALUES ({id}, '{code}')")).await;
    }
    let (_runtime, migration) = dual_write::<Code, D>(&db).await;
    let done = migration.backfill().run().await.unwrap();
    assert_eq!((done.migrated, done.failed), (2, 1));
    let letters = migration.dead_letters().await.unwrap();
    let told = &letters[0].error;
    assert!(
        told.contains("a check is violated"),
        "it was converted, and the database refused it: {told}"
    );
}

#[derive(Dual)]
#[dual(table = "staff", key = ("shop", "badge"))]
struct Employee {
    shop: i32,
    badge: String,
    #[dual(new = (first_name, last_name), forward = split, backward = join)]
    full_name: String,
    first_name: Option<String>,
    #[dual(column = "surname")]
    last_name: String,
    cents: i64,
    currency: Option<String>,
    #[dual(old = (cents, currency), forward = Wage::of, backward = Wage::parts)]
    wage: Option<Wage>,
}

/// Stored as a text in one column.
#[derive(Clone, Debug, PartialEq, sqlx::Type)]
#[sqlx(transparent)]
struct Wage(String);

impl Wage {
    fn of(cents: i64, currency: &str) -> Self {
        Self(format!("{cents} {currency}"))
    }

    fn parts(&self) -> Result<(i64, String), Box<dyn std::error::Error + Send + Sync>> {
        let (cents, currency) = self.0.split_once(' ').ok_or("no wage")?;
        Ok((cents.parse()?, currency.to_owned()))
    }
}

fn split(name: &str) -> Result<(String, String), &'static str> {
    let (first, last) = name.split_once(' ').ok_or("only one name")?;
    Ok((first.to_owned(), last.to_owned()))
}

fn join(first: &str, last: &str) -> String {
    format!("{first} {last}")
}

async fn several_columns_become_others_under_a_key_of_two<D: Sql>(db: Scratch<D>)
where
    Employee: ConvertColumns<D::Db>,
{
    db.execute(
        "CREATE TABLE staff (shop INT NOT NULL, badge VARCHAR(40) NOT NULL, \
             full_name VARCHAR(40) NOT NULL, first_name VARCHAR(40), \
             surname VARCHAR(40) NOT NULL DEFAULT '', cents BIGINT NOT NULL, \
             currency VARCHAR(3), wage VARCHAR(40), PRIMARY KEY (shop, badge));
         INSERT INTO staff (shop, badge, full_name, cents, currency) VALUES \
             (1, 'a', 'Ada King', 100, 'EUR'), (1, 'b', 'Bob', 200, 'EUR'), \
             (2, 'a', 'Cid Key', 300, NULL)",
    )
    .await;
    let (_runtime, migration) = dual_write::<Employee, D>(&db).await;
    let done = migration.backfill().batch(2).run().await.unwrap();
    assert_eq!((done.migrated, done.failed), (2, 1));
    let letters = migration.dead_letters().await.unwrap();
    assert_eq!(
        letters[0].error,
        r#"`full_name` of `Employee` with the key [1,"b"] cannot be converted to new"#
    );
    let rows = db.rows("SELECT first_name, surname, wage FROM staff ORDER BY shop, badge").await;
    let text = |text: &str| Some(text.to_owned());
    assert_eq!(rows[0], [text("Ada"), text("King"), text("100 EUR")]);
    assert_eq!(rows[1], [None, text(""), None]);
    assert_eq!(rows[2], [text("Cid"), text("Key"), None]);
    assert_eq!(differing(&migration).await, [r#"[1,"b"]"#]);

    db.execute("UPDATE staff SET first_name = 'Bob', surname = 'B', wage = 'x' WHERE badge = 'b'")
        .await;
    let mut tx = migration.begin(db.pool()).await.unwrap();
    let keys = [(1, "b".to_owned())];
    let error = Employee::copy_columns().copy_back(&mut tx, &keys).await.unwrap_err();
    let expected = r#"`wage` of `Employee` with the key [1,"b"] cannot be converted to old"#;
    assert_eq!(error.to_string(), expected);
}

#[derive(Dual)]
#[dual(table = "scores", key = "id")]
struct Score {
    id: uuid::Uuid,
    #[dual(new = points, forward = points, backward = score)]
    score: Option<String>,
    points: i64,
}

fn points(score: &str) -> Result<i64, std::num::ParseIntError> {
    score.parse()
}

fn score(points: i64) -> String {
    points.to_string()
}

async fn null_needs_an_optional_field<D: Sql>(db: Scratch<D>)
where
    Score: ConvertColumns<D::Db>,
{
    let uuid = D::sql("BLOB", "UUID", "BINARY(16)");
    db.execute(&format!(
        "CREATE TABLE scores (id {uuid} PRIMARY KEY, score VARCHAR(40), points BIGINT NOT NULL DEFAULT 0)"
    ))
    .await;
    let id = |last: u8| match D::sql("", "postgres", "") {
        "" => format!("x'0000000000000000000000000000000{last}'"),
        _ => format!("'00000000-0000-0000-0000-00000000000{last}'"),
    };
    let (one, two) = (id(1), id(2));
    db.execute(&format!("INSERT INTO scores (id, score) VALUES ({one}, '7'), ({two}, NULL)")).await;
    let (_runtime, migration) = dual_write::<Score, D>(&db).await;
    let done = migration.backfill().run().await.unwrap();
    assert_eq!((done.migrated, done.failed), (1, 1));
    assert_eq!(db.number("SELECT sum(points) FROM scores").await, 7);
    let letters = migration.dead_letters().await.unwrap();
    assert_eq!(
        letters[0].error,
        "`points` of `Score` with the key \"00000000-0000-0000-0000-000000000002\" is missing in old, \
         and new must have it: make new optional, or fill old"
    );
}

async fn it_copies_back<D: Sql>(db: Scratch<D>)
where
    Person: ConvertColumns<D::Db>,
{
    people(&db, 3).await;
    let (_runtime, migration) = dual_write::<Person, D>(&db).await;
    migration.backfill().run().await.unwrap();
    db.execute("UPDATE people SET age_new = 50, email_address = 'new' WHERE id = 1").await;
    db.execute("UPDATE people SET age_new = NULL WHERE id = 2").await;
    let mut tx = migration.begin(db.pool()).await.unwrap();
    let copy = Person::copy_columns();
    let copied = copy.copy_back(&mut tx, &[1, 2, 3]).await.unwrap();
    assert_eq!((copied.migrated, copied.skipped), (2, 1));
    tx.commit().await.unwrap();
    let rows = db.rows("SELECT age, email FROM people ORDER BY id").await;
    let text = |text: &str| Some(text.to_owned());
    assert_eq!(rows[0], [text("50"), text("new")]);
    assert_eq!(rows[1], [None, text("e2")]);

    // Old must have an email.
    db.execute("UPDATE people SET email_address = NULL WHERE id = 3").await;
    let mut tx = migration.begin(db.pool()).await.unwrap();
    let error = copy.copy_back(&mut tx, &[3]).await.unwrap_err();
    // The value was converted: what refuses it is the column, which the database names.
    let error = error.downcast_ref::<sqlx::Error>().and_then(sqlx::Error::as_database_error);
    let kind = error.map(sqlx::error::DatabaseError::kind);
    assert_eq!(kind, Some(sqlx::error::ErrorKind::NotNullViolation));
}

async fn a_column_of_another_type_is_no_fault_of_a_row<D: Sql>(db: Scratch<D>)
where
    Person: ConvertColumns<D::Db>,
{
    db.execute(
        "CREATE TABLE people (id BIGINT PRIMARY KEY, age VARCHAR(40), age_new VARCHAR(40), \
             email VARCHAR(40) NOT NULL, email_address VARCHAR(40));
         INSERT INTO people (id, age, age_new, email) VALUES (1, '1', '1', 'e')",
    )
    .await;
    let (_runtime, migration) = dual_write::<Person, D>(&db).await;
    let mut tx = migration.begin(db.pool()).await.unwrap();
    let error = Person::copy_columns().copy(&mut tx, &[1]).await.unwrap_err();
    let text = error.to_string();
    if D::NAME == "sqlite" {
        // There each row has types of its own.
        assert!(error.is::<dualwrite::ConversionError>() && text.contains("`age_new`"), "{text}");
        return;
    }
    assert!(error.is::<sqlx::Error>() && text.contains("not what the struct says"), "{text}");
}

#[derive(Clone, Debug, Dual, PartialEq, sqlx::FromRow)]
#[dual(table = "members", key = id)]
struct Member {
    id: i64,
    #[sqlx(rename = "mail")]
    #[dual(new = email_address)]
    email: String,
    email_address: Option<String>,
    r#type: String,
    #[sqlx(skip)]
    loaded: bool,
}

#[tokio::test]
async fn rows_are_read_and_written_by_their_columns() {
    assert_eq!(Member::TABLE, "members");
    assert_eq!(Member::KEY, ["id"]);
    assert_eq!(Member::COLUMNS, ["id", "mail", "email_address", "type"]);
    let route = |stage| Route::of(stage, Operation::Write);
    assert_eq!(Member::columns_for(&route(Stage::Off)), ["id", "mail", "type"]);
    assert_eq!(Member::columns_for(&route(Stage::Complete)), ["id", "email_address", "type"]);
    for stage in [Stage::DualWrite, Stage::Shadow, Stage::Live, Stage::RampDown] {
        assert_eq!(Member::columns_for(&route(stage)), Member::COLUMNS);
    }

    let pool = sqlx::SqlitePool::connect("sqlite::memory:").await.unwrap();
    let table =
        "CREATE TABLE members (id INTEGER PRIMARY KEY, mail TEXT, email_address TEXT, type TEXT)";
    sqlx::query(table).execute(&pool).await.unwrap();
    sqlx::query("INSERT INTO members VALUES (1, 'old', NULL, 't')").execute(&pool).await.unwrap();
    let sql = format!("SELECT {} FROM members", Member::COLUMNS.join(", "));
    let mut member: Member =
        sqlx::query_as(sqlx::AssertSqlSafe(sql)).fetch_one(&pool).await.unwrap();
    assert_eq!((member.email_address(), member.loaded), ("old", false));
    member.migrate().unwrap();
    assert!(member.is_migrated());
}
