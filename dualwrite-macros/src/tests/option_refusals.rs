//! What `#[repository]` says about mistakes in the options of a method.

use super::check_refused;

fn check_read(options: &str, expected: &[&str]) {
    let method = format!("#[read({options})] async fn find(&self, id: i64) -> Result<(), E>;");
    check_refused(&format!("#[repository] trait Things {{ {method} }}"), expected);
}

fn check_write(options: &str, expected: &[&str]) {
    let method = format!(
        "#[write({options})] async fn save(&self, tx: &mut Tx<'_, Db>, id: i64) -> Result<(), E>;"
    );
    check_refused(&format!("#[repository] trait Things {{ {method} }}"), expected);
}

#[test]
fn samples() {
    const RULE: &str = "`sample` takes a percentage of up to 100, with at most two decimals: write \
                        `sample = 5` or `sample = 0.5`";
    for wrong in ["101", "0.123", "-1", "5u8", "\"5 %\"", "half", "100.01", "1e1", "99999999999"] {
        check_read(&format!("key = id, sample = {wrong}"), &[RULE]);
    }
    check_read(
        "key = id, sample = 0.0",
        &["nothing would be compared: write `shadow = never` instead"],
    );
    check_read(
        "key = id, sample",
        &["`sample` needs a value: write `sample = …`, a percentage such as `5` or `0.5`"],
    );
}

#[test]
fn limits() {
    const RULE: &str = "`timeout` takes a length of time above zero, in `ms`, `s` or `min`: write \
                        `timeout = \"500ms\"` or `timeout = \"2s\"`";
    for wrong in
        ["500", "\"500\"", "\"ms\"", "\"0s\"", "\"1h\"", "\"-1s\"", "\"99999999999999999999s\""]
    {
        check_read(&format!("key = id, timeout = {wrong}"), &[RULE]);
    }
}

#[test]
fn functions() {
    const RULE: &str = "`compare` takes a function `fn(&T, &T) -> bool` by name: write `compare = \
                        is_same`, without quotes";
    check_read("key = id, compare = \"is_same\"", &[RULE]);
    check_read("key = id, compare = |a, b| a == b", &[RULE]);
}

#[test]
fn options_that_exclude_each_other() {
    let never = |name: &str| {
        format!(
            "`{name}` says how answers are compared, and `shadow = never` that they are not: keep one"
        )
    };
    check_read(
        "scan, shadow = never, timeout = \"1s\", sample = 5, compare = f",
        &[&never("compare"), &never("sample"), &never("timeout")],
    );
    check_refused(
        "#[repository] trait Things {
            #[read(scan, sample = 5, compare = f)]
            async fn all(&self, tx: &mut Tx<'_, Db>) -> Result<(), E>;
        }",
        &[
            "a read in the caller's transaction is never compared: remove `compare`",
            "a read in the caller's transaction is never compared: remove `sample`",
        ],
    );
    check_read(
        "key = id, shadow = nevr",
        &["`shadow` takes `never`; without it the read is compared"],
    );
    check_read("key = id, sample = 1, sample = 2", &["`sample` is given twice: keep one"]);
}

#[test]
fn policies() {
    check_write(
        "key = id, on_difference = mark, timeout = 5, primary_timeout = \"0s\"",
        &[
            "`on_difference` takes `mark_dirty`, `error` or `ignore`",
            "`timeout` takes a length of time above zero, in `ms`, `s` or `min`: write `timeout = \"500ms\"` \
             or `timeout = \"2s\"`",
            "`primary_timeout` takes a length of time above zero, in `ms`, `s` or `min`: write \
             `primary_timeout = \"500ms\"` or `primary_timeout = \"2s\"`",
        ],
    );
    check_write(
        "key = id, on_mirror_error = mark_diry",
        &["`on_mirror_error` takes `abort` or `mark_dirty`, did you mean `mark_dirty`?"],
    );
    check_write(
        "key = id, on_mirror_error = \"abort\"",
        &["`on_mirror_error` takes `abort` or `mark_dirty`"],
    );
    check_write(
        "key = id, on_miror_error = abort, shadow = never",
        &[
            "unknown key `on_miror_error`, did you mean `on_mirror_error`? `#[write]` takes `key`, `keys`, \
             `filter`, `once`, `key_from`, `then`, `into`, `on_mirror_error`, `on_difference`, `timeout`, \
             `primary_timeout`, `error`, `on_unknown`",
            "unknown key `shadow`; `#[write]` takes `key`, `keys`, `filter`, `once`, `key_from`, `then`, `into`, `on_mirror_error`, `on_difference`, `timeout`, `primary_timeout`, `error`, `on_unknown`",
        ],
    );
}

#[test]
fn transactions_that_the_wrapper_begins() {
    let check = |database: &str, method: &str, expected: &str| {
        let source = format!("#[repository(transaction = {database})] trait Things {{ {method} }}");
        check_refused(&source, &[expected]);
    };
    let write = "#[write(key = id)] async fn save(&self, id: i64) -> Result<(), E>;";
    check(
        "\"Sqlite\"",
        "#[read(scan)] async fn all(&self) -> Result<(), E>;",
        "`transaction` takes the type of the database that the writes go to: write `transaction = \
         sqlx::Postgres`, without quotes",
    );
    check(
        "Db",
        "#[read(scan)] async fn all(&self) -> Result<(), E>;",
        "remove `transaction = …`: this trait has no `#[write(…)]`",
    );
    check(
        "Db",
        "#[write(key = id)] async fn save(&self, tx: &mut Tx<'_, Db>, id: i64) -> Result<(), E>;",
        "remove this argument, or `transaction = …` above: the wrapper begins the transaction of this write",
    );
    check(
        "Db",
        "#[write(key = id)] fn save(&self, id: i64) -> BoxFuture<'_, Result<(), E>>;",
        "write `async fn`, with `#[async_trait]` below `#[repository]` where futures are boxed: the sides get a \
         transaction too, which this future does not say that it borrows",
    );
    check(
        "Db",
        &format!("{write} #[primary] fn within(&self) -> bool;"),
        "rename `within`: the generated wrapper has a function of this name, which would hide it",
    );
}
