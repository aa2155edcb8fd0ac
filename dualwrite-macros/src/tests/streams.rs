//! Reads that answer with a stream: what comes out of the macro, and what it refuses.

use super::check_refused as check;

fn check_method(method: &str, expected: &[&str]) {
    check(&format!("#[repository] trait Things {{ {method} }}"), expected);
}

#[test]
fn streams() {
    super::snapshots::check(
        "repository/streams.rs",
        "
#[repository(error = to_io)]
trait Customers {
    #[read(scan)]
    fn all(&self) -> BoxStream<'_, Result<Customer, sqlx::Error>>;
    #[read(key = id)]
    fn lines(&self, id: i64) -> impl Stream<Item = io::Result<String>> + Send;
}",
    );
}

#[test]
fn streams_are_read_as_they_come() {
    check_method(
        "#[read(key = id, lazy, sample = 5, compare = f)] fn of(&self, id: i64) -> BoxStream<'_, Result<A, E>>;",
        &[
            "remove `lazy`: what a stream lacks is known at its end, when its items are gone; copy by a method that answers \
             the record",
            "remove `compare`: a stream is never compared, its items are gone when it ends",
            "remove `sample`: a stream is never compared, its items are gone when it ends",
        ],
    );
    check_method(
        "#[read(scan, on_unknown = empty())] fn all(&self) -> BoxStream<'_, A>;",
        &["remove `on_unknown`: an item of this stream says that the stage is unknown"],
    );
    check_method(
        "#[read(scan)] fn all(&self) -> BoxStream<'_, Vec<A>>;",
        &[
            "write `Result<T, E>` for the items, where `E` can be made from `dualwrite::Error`: a stage can be unknown",
        ],
    );
}

#[test]
fn streams_say_what_they_are() {
    check_method(
        "#[read(scan)] fn all(&self) -> impl Stream + Send;",
        &["say what the stream is of: write `Stream<Item = Result<T, E>>`"],
    );
    check_method(
        "#[read(scan)] fn all<'a>(&'a self) -> Pin<Box<dyn Stream<Item = Result<A, E>> + 'a>>;",
        &["add `+ Send`: a task that reads this stream could not be spawned"],
    );
}

#[test]
fn writes_and_units_of_work_have_no_streams() {
    check_method(
        "#[write(key = id)] fn save<'a>(&'a self, tx: &'a mut Tx<'_, Db>, id: i64) -> BoxStream<'a, Result<A, E>>;",
        &[
            "answer what was written when all of it is, with `async fn`: nobody could roll back a side whose stream is still \
             being read",
        ],
    );
    check(
        "#[repository(unit_of_work)] trait Things { #[read(scan)] fn all(&mut self) -> BoxStream<'_, Result<A, E>>; }",
        &[
            "answer a `Vec`, with `async fn`: a unit of work builds the side for the call, and a stream would outlive it",
        ],
    );
}

#[test]
fn a_call_is_not_over_before_the_stream_that_it_answers() {
    const WITHIN: &str = "answer the stream itself, `fn list(&self) -> BoxStream<'_, Result<T, E>>`: this call would be over \
                          before its stream, and the side could be taken away under it";
    for answer in [
        "Result<BoxStream<'_, Result<A, E>>, E>",
        "Result<impl Stream<Item = A>, E>",
        "Result<(Pin<Box<dyn Stream<Item = A> + Send>>, u64), E>",
    ] {
        check_method(
            &format!("#[read(scan, shadow = never)] async fn all(&self) -> {answer};"),
            &[WITHIN],
        );
    }
}
