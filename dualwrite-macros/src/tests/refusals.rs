//! What `#[repository]` says about each mistake: all of an item at once, each with what to write
//! instead.

use super::{check_refused as check, reported};

/// Expects these messages for one method of a trait.
fn check_method(method: &str, expected: &[&str]) {
    check(&format!("#[repository] trait Things {{ type Error; {method} }}"), expected);
}

#[test]
fn routes() {
    check_method(
        "async fn find(&self, id: i64) -> Result<(), E>;",
        &[
            "say how `find` is routed: `#[read(key = …)]`, `#[read(scan)]`, `#[write(key = …)]`, or \
           `#[primary]` where it does neither",
        ],
    );
    check_method(
        "#[read] async fn find(&self) -> Result<(), E>;",
        &[
            "say which record is read: `#[read(key = …)]`, or `#[read(scan)]` for lists and aggregates",
        ],
    );
    check_method(
        "#[write()] async fn save(&self, tx: &mut Tx<'_, Db>) -> Result<(), E>;",
        &[
            "say which record is written: `#[write(key = …)]`; several: `keys = …`; those that a filter of the database finds: `filter`; where the database makes the key: `key_from = …`",
        ],
    );
    check_method(
        "#[read(scan)] #[write(key = id)] #[read(scan)] async fn both(&self) -> Result<(), E>;",
        &["a method is routed in one way: keep one `#[read(…)]`, `#[write(…)]` or `#[primary]`"; 2],
    );
    check_method(
        "#[read(scan, key = id)] async fn find(&self, id: i64) -> Result<(), E>;",
        &["a scan reads many records and has no key: keep `scan` or `key = …`"],
    );
    check_method(
        "#[read(scan, lazy)] async fn all(&self) -> Result<(), E>;",
        &["`lazy` copies the record of a key, and a scan has none: remove `lazy`"],
    );
}

#[test]
fn settings() {
    check_method(
        "#[read(kye = id, scn, key = id, key = id)] async fn find(&self, id: i64) -> Result<(), E>;",
        &[
            "unknown key `kye`, did you mean `key`? `#[read]` takes `key`, `scan`, `ramp`, `lazy`, `shadow`, `sample`, `timeout`, `compare`, `error`, `on_unknown`",
            "unknown key `scn`, did you mean `scan`? `#[read]` takes `key`, `scan`, `ramp`, `lazy`, `shadow`, `sample`, `timeout`, `compare`, `error`, `on_unknown`",
            "`key` is given twice: keep one",
        ],
    );
    check_method(
        "#[write(by = id)] async fn save(&self, id: i64, tx: &mut Tx<'_, Db>) -> Result<(), E>;",
        &[
            "unknown key `by`; `#[write]` takes `key`, `keys`, `filter`, `once`, `key_from`, `then`, `into`, `on_mirror_error`, `on_difference`, `timeout`, `primary_timeout`, `error`, `on_unknown`",
        ],
    );
    check_method(
        "#[read(key, lazy = true, shadow = no)] async fn find(&self) -> Result<(), E>;",
        &[
            "`key` needs a value: write `key = …`, an expression over the arguments such as `customer.id`",
            "`lazy` takes no value: write `lazy` alone",
            "`shadow` takes `never`; without it the read is compared",
        ],
    );
    check_method(
        "#[read(key = )] async fn find(&self) -> Result<(), E>;",
        &[
            "`key` needs a value: write `key = …`, an expression over the arguments such as `customer.id`",
        ],
    );
    check_method(
        "#[read(scan = , timeout =, lazy)] async fn all(&self) -> Result<(), E>;",
        &[
            "`scan` takes no value: write `scan` alone",
            "`timeout` needs a value: write `timeout = …`, a length of time such as `\"500ms\"` or `\"2s\"`",
        ],
    );
    check_method(
        "#[read = \"id\"] async fn find(&self) -> Result<(), E>;",
        &[
            "settings stand in parentheses, not after `=`; `#[read]` takes `key`, `scan`, `ramp`, `lazy`, `shadow`, `sample`, `timeout`, `compare`, `error`, `on_unknown`",
        ],
    );
    check(
        "#[repository(crate = \"dualwrite\", krate)] trait Things {}",
        &[
            "unknown key `krate`, did you mean `crate`? `#[repository]` takes `crate`, `name`, `error`, `remote`, `transaction`, `unit_of_work`",
            "`crate` takes a path: write `crate = my_crate::dualwrite`, without quotes",
        ],
    );
}

#[test]
fn keys() {
    check_method(
        "#[read(key = self.id)] async fn find(&self) -> Result<(), E>;",
        &["a key is made from the arguments: `self` is the wrapper here, pass what you need"],
    );
    check_method(
        "#[read(key = { return f(id?).await; })] async fn find(&self, id: I) -> Result<(), E>;",
        &[
            "a key is a value: remove `return`",
            "a key cannot wait: compute it before the call",
            "a key cannot fail: compute it before the call",
        ],
    );
}

#[test]
fn transactions() {
    check_method(
        "#[write(key = id)] async fn save(&self, id: i64) -> Result<(), E>;",
        &[
            "add `tx`, `&mut dualwrite::Tx<'_, DB>`, which `migration.begin(..)` gives, or keep the trait as it \
             is and write `#[repository(transaction = DB)]`: a write must not run under a stage that has passed",
        ],
    );
    check_method(
        "#[write(key = 1)] async fn save(&self, tx: &mut SqliteConnection) -> Result<(), E>;",
        &["a dual write must not run under a stage that has passed: take `&mut dualwrite::Tx<'_, \
           DB>`, which `migration.begin(..)` gives"],
    );
    check_method(
        "#[write(key = 1)] async fn save(&self, tx: Tx<'_, Db>) -> Result<(), E>;",
        &["a transaction is lent to each side in turn: write `&mut Tx<'_, DB>`"],
    );
    check_method(
        "#[read(scan)] async fn all(&self, a: &mut Tx<'_, A>, b: &mut Tx<'_, B>) -> Result<(), E>;",
        &["a call takes part in one transaction: keep one `&mut Tx<'_, DB>`"],
    );
}

#[test]
fn signatures() {
    const SHARED: &str = "write `&self`: a repository is shared by many calls at once; where it borrows a connection, write `#[repository(unit_of_work)]`";
    check_method("#[read(scan)] async fn all(&mut self) -> Result<(), E>;", &[SHARED]);
    check_method("#[read(scan)] async fn all(self: &Self) -> Result<(), E>;", &[SHARED]);
    check_method(
        "#[read(scan)] async fn all() -> Result<(), E>;",
        &["`all` has no receiver: write `&self` first"],
    );
    check_method(
        "#[read(scan)] async unsafe extern \"C\" fn old_side(&self) -> Result<(), E>;",
        &[
            "the generated wrapper has a function `old_side` of its own, which would hide this: rename it",
            "generated code calls no unsafe method: remove `unsafe`",
            "a routed method is a plain Rust function: remove this",
        ],
    );
    check_method(
        "#[read(scan)] async fn all(&self, _: A, (b, c): B, #[cfg(x)] d: D) -> Result<(), E>;",
        &[
            "this argument is handed on to both sides: give it a name",
            "arguments are handed on by name: write a plain name here",
            "attributes on arguments are not supported: remove this",
        ],
    );
    check_method(
        "#[read(scan)] async fn all(&self, a: Self) -> Result<Self::Eror, E>;",
        &[
            "`Self` is another type on each side and on the wrapper: name a type that all three share",
            "`Self::Eror` is declared elsewhere, if at all: declare `type Eror;` in this trait, did you \
             mean `Error`?",
        ],
    );
}

#[test]
fn answers() {
    const SYNC: &str = "a call may wait for a database: write `async fn`, or answer `impl \
                        Future<Output = Result<T, E>> + Send`; what does not read or write is \
                        marked `#[primary]`";
    check_method("#[read(scan)] fn all(&self) -> Result<(), E>;", &[SYNC]);
    check_method("#[read(scan)] fn all(&self);", &[SYNC]);
    check_method(
        "#[read(scan)] async fn all(&self);",
        &[
            "answer `Result<T, E>` where `E` can be made from `dualwrite::Error`, or say what to answer then with `on_unknown = …`: `all` cannot fail, and a stage can be unknown",
        ],
    );
    check_method(
        "#[read(scan)] async fn all(&self) -> Vec<A>;",
        &[
            "answer `Result<T, E>` where `E` can be made from `dualwrite::Error`, or say what to answer then with `on_unknown = …`: this cannot fail, and a stage can be unknown",
        ],
    );
    check_method(
        "#[read(scan)] async fn all(&self) -> Result<impl Display, E>;",
        &["each side would answer with a type of its own: name the type"],
    );
    check_method(
        "#[read(scan)] fn all(&self) -> impl Future<Output = Result<(), E>>;",
        &["a future that is not `Send` cannot be spawned: add `+ Send`"],
    );
    check_method(
        "#[read(scan)] fn all(&self) -> impl Display + Send;",
        &["this is not a future: write `impl Future<Output = Result<T, E>> + Send`"],
    );
    check_method(
        "#[read(scan)] fn all<'a>(&'a self) -> Pin<Box<dyn Future<Output = Result<(), E>> + 'a>>;",
        &["a future that is not `Send` cannot be spawned: add `+ Send`"],
    );
    check_method("#[read(scan)] fn all(&self) -> Pin<&mut dyn Future<Output = A>>;", &[SYNC]);
    check_method(
        "#[read(scan)] fn all(&self) -> BoxFuture<'_, Vec<A>>;",
        &[
            "answer `Result<T, E>` where `E` can be made from `dualwrite::Error`, or say what to answer then with `on_unknown = …`: this cannot fail, and a stage can be unknown",
        ],
    );
}

#[test]
fn reads_that_are_asked_twice() {
    const BORROW: &str =
        "this read is asked again after the call, when this borrow has ended: take an owned value";
    let or_never = |message: &str| format!("{message}, or write `shadow = never`");
    check_method(
        "#[read(scan)] async fn all(&self, a: Option<&str>, b: &[&str]) -> Result<(), E>;",
        &[&or_never(BORROW), &or_never(BORROW)],
    );
    check_method(
        "#[read(key = a.id, lazy)] async fn all(&self, a: A<'a>, b: &'b B) -> Result<(), E>;",
        &[BORROW; 2],
    );
    check_method(
        "#[read(scan)] async fn all(&self, a: &mut A, b: &dyn B) -> Result<&str, E>;",
        &[
            &or_never("this read is asked twice, and a `&mut` can be lent once: take `&T` or `T`"),
            &or_never(
                "this read keeps a copy of its arguments: name a type parameter, `value: &T`",
            ),
            &or_never(
                "this read is asked twice, so its answers cannot borrow: answer an owned value",
            ),
        ],
    );
    check_method(
        "#[read(key = id, lazy)] async fn all(&self, tx: &mut Tx<'_, Db>, id: i64) -> Result<Option<&str>, E>;",
        &["this read is asked twice, so its answers cannot borrow: answer an owned value"],
    );
}

#[test]
fn traits() {
    check(
        "#[repository] #[async_trait::async_trait(?Send)] unsafe auto trait Things {
            const A: i64;
            type Row<'r>;
            #[cfg(unix)] type Error;
            methods!();
        }",
        &[
            "an unsafe trait cannot be implemented by generated code: remove `unsafe`",
            "an auto trait has no methods to route: remove `auto`",
            "a future that is not `Send` cannot be spawned: remove `?Send`",
            "an associated type with parameters cannot be shared by both sides: remove the parameters",
            "an associated type cannot come and go: remove `#[cfg]`",
            "only methods, types and constants can stand here: write them out",
        ],
    );
}

#[test]
fn methods_of_the_primary() {
    check_method(
        "#[primary(key = id)] fn name(&self) -> impl Display;",
        &[
            "`#[primary]` takes nothing, the call goes to the side that answers: write `#[primary]` alone",
            "this is not a future: write `impl Future<Output = Result<T, E>> + Send`",
        ],
    );
    check_method(
        "#[primary] fn all(&self) -> Vec<impl Display>;",
        &["each side would answer with a type of its own: name the type"],
    );
    check_method(
        "#[primary] async fn lock(&self, tx: &mut Tx<'_, Db>);",
        &["a call in a transaction reads or writes: say `#[read(…)]` or `#[write(…)]`"],
    );
    check_method(
        "fn name(&self) -> String;",
        &[
            "say how `name` is routed: `#[read(key = …)]`, `#[read(scan)]`, `#[write(key = …)]`, or \
           `#[primary]` where it does neither",
        ],
    );
    check_method(
        "#[primary] fn with_both(&self);",
        &[
            "the generated wrapper has a function `with_both` of its own, which would hide this: rename it",
        ],
    );
}

#[test]
fn exclusive_borrows() {
    check_method(
        "#[write(key = v)] async fn save(&self, tx: &mut Tx<'_, Db>, v: &mut i64) -> Result<(), E>;",
        &[
            "a write may go to both sides, and each would change this: take `&T` or `T`, and answer what \
           changes",
        ],
    );
    check_method(
        "#[read(key = v, lazy)] async fn get(&self, tx: &mut Tx<'_, Db>, v: &mut i64) -> Result<(), E>;",
        &[
            "a lazy read may ask both sides, and each would change this: take `&T` or `T`, and answer \
           what changes",
        ],
    );
}

#[test]
fn items_that_are_no_trait() {
    let messages = |item: &str| {
        let expansion = crate::repository::repository(Default::default(), item.parse().unwrap());
        reported(expansion).0
    };
    assert_eq!(
        messages("struct Store;"),
        ["`#[repository]` goes on a trait: write it above `trait …`"]
    );
    assert_eq!(
        messages("impl Things for Store {}"),
        ["`#[repository]` goes on the trait: put it above `trait …`, and implement that twice"]
    );
}

#[test]
fn a_trait_that_is_not_finished_is_a_trait() {
    let item = "pub trait Things { #[read(scan)] async fn all(&self) -> ; }";
    let expansion = crate::repository::repository(Default::default(), item.parse().unwrap());
    let text = expansion.to_string();
    assert!(text.contains("compile_error") && !text.contains("goes on a trait"), "{text}");
}

#[test]
fn keys_that_are_the_same_for_every_call() {
    check_method(
        "#[read(key = \"id\")] async fn get(&self, id: i64) -> Result<(), E>;",
        &["name an argument, `key = id`: \"id\" is a constant, the same for every call"],
    );
    check_method(
        "#[read(key = 7)] async fn get(&self, of: i64) -> Result<(), E>;",
        &["name an argument, `key = of`: 7 is a constant, the same for every call"],
    );
    check_method(
        "#[read(key = idd)] async fn get(&self, id: i64) -> Result<(), E>;",
        &[
            "make the key from an argument: `idd` uses none, so it would be the same for every call, did you \
           mean `id`?",
        ],
    );
    check_method(
        "#[write(key = TENANT.id())] async fn save(&self, tx: &mut Tx<'_, Db>, id: i64) -> Result<(), E>;",
        &[
            "make the key from an argument: `TENANT . id ()` uses none, so it would be the same for every call",
        ],
    );
    check_method(
        "#[write(keys = [1, 2])] async fn save(&self, tx: &mut Tx<'_, Db>, id: i64) -> Result<(), E>;",
        &[
            "make the key from an argument: `[1 , 2]` uses none, so it would be the same for every call",
        ],
    );
    check_method(
        "#[read(key = id, ramp = 1)] async fn get(&self, id: i64) -> Result<(), E>;",
        &["name an argument, `ramp = id`: 1 is a constant, the same for every call"],
    );
}

#[test]
fn records_of_a_write() {
    check_method(
        "#[write(key = id, filter)] async fn save(&self, tx: &mut Tx<'_, Db>, id: i64) -> Result<(), E>;",
        &["a write names its records in one way: keep `key` or `filter`"],
    );
    check_method(
        "#[write(key_from = |id| *id)] async fn save(&self, tx: &mut Tx<'_, Db>) -> Result<i64, E>;",
        &["say how the other side gets the key: `then = method`, or `into = argument`"],
    );
    check_method(
        "#[write(key = id, into = id)] async fn save(&self, tx: &mut Tx<'_, Db>, id: i64) -> Result<i64, E>;",
        &["`into` hands on a key that the database makes: add `key_from = …`"],
    );
    check_method(
        "#[write(key_from = |id| *id, into = id)] async fn save(&self, tx: &mut Tx<'_, Db>, id: i64) -> Result<i64, E>;",
        &[
            "take `Option<…>` by value here: the key is handed to the other side in an argument that is `None` \
           before",
        ],
    );
    check_method(
        "#[write(key_from = |id| *id, then = savee)] async fn save(&self, tx: &mut Tx<'_, Db>) -> Result<i64, E>;",
        &[
            "declare `savee` in this trait: it writes the other side under the key that the first has made, did \
           you mean `save`?",
        ],
    );
    check_method(
        "#[write(key_from = |id| *id, then = save)] async fn save(&self, tx: &mut Tx<'_, Db>) -> Result<i64, E>;",
        &[
            "give `save` the arguments of the method that names it, called as they are there, and one more for \
           the key",
        ],
    );
}

#[test]
fn answers_without_an_error() {
    check_method(
        "#[read(scan, on_unknown = Err(e()))] async fn all(&self) -> Result<(), E>;",
        &["remove `on_unknown`: this answer has an error, which says that the stage is unknown"],
    );
    check_method(
        "#[read(scan, error = \"f\")] async fn all(&self) -> Result<(), E>;",
        &[
            "`error` takes a function `fn(dualwrite::Error) -> E` by name: write `error = to_report`, without \
           quotes",
        ],
    );
}

#[test]
fn what_the_compiler_has_said_is_not_said_again() {
    let expand = |source: &str| {
        let item = source.parse().unwrap();
        crate::repository::repository(proc_macro2::TokenStream::new(), item).to_string()
    };
    let incomplete = expand(
        "trait Things { #[read(key = id)] async fn find(&self, id: i64) -> Result<A, E>
        #[read(scan)] async fn all(&self) -> Result<A, E>; }",
    );
    assert!(
        incomplete.contains("trait Things") && !incomplete.contains("compile_error"),
        "{incomplete}"
    );
    assert!(expand("trait Things { 7 }").contains("compile_error"));
}
