//! Keys of the user's own types, as `#[derive(Key)]` makes them.

use dualwrite::testing::TestMigration;
use dualwrite::{BucketRule, ErrorKind, Key, KeyPart, OwnedKey, Percent, Stage, salt};

#[derive(Clone, Copy, Debug, PartialEq, Key)]
struct NoteId(i64);

#[derive(Clone, Debug, PartialEq, Key)]
struct Place<T> {
    tenant: T,
    note: NoteId,
}

#[derive(Clone, Copy, Key)]
struct Word<'w>(&'w str);

#[dualwrite::repository]
trait Notes {
    #[read(key = id)]
    async fn find(&self, id: NoteId) -> Result<&'static str, sqlx::Error>;
}

struct Store(&'static str);

impl Notes for Store {
    async fn find(&self, _: NoteId) -> Result<&'static str, sqlx::Error> {
        Ok(self.0)
    }
}

#[tokio::test(start_paused = true)]
async fn a_newtype_is_routed_as_what_it_wraps() {
    let test = TestMigration::new("derived").await.unwrap();
    let half = Percent::new(50).unwrap();
    test.put(Stage::Shadow, half).unwrap();
    let notes = DualNotes::new(test.migration(), Store("old"), Store("new"));
    for id in 0..200_i64 {
        let bucket = BucketRule::Hash.bucket(&id, salt("derived")).unwrap();
        let side = if bucket.is_below(half) { "new" } else { "old" };
        assert_eq!(notes.find(NoteId(id)).await.unwrap(), side);
    }
}

#[test]
fn derived_keys_have_the_columns_and_the_hash_of_what_they_are_made_of() {
    let place = Place { tenant: "north".to_owned(), note: NoteId(7) };
    assert_eq!(place.hash(3), ("north", 7_i64).hash(3));
    assert_eq!(place.parts(), ("north", 7_i64).parts());
    assert_eq!(<Place<String> as Key>::KIND, <(String, i64) as Key>::KIND);
    assert_eq!(Place::<String>::take(&mut place.parts().into_iter()).unwrap(), place);
    assert_eq!(NoteId(-4).integer(), Some(-4));
    assert_eq!((Word("a").hash(1), Word("a").parts()), ("a".hash(1), "a".parts()));
    let error = NoteId::take(&mut [KeyPart::Text("7".to_owned())].into_iter()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::WrongKey);
}
