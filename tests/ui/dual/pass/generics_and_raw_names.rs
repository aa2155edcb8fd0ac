//! Parameters, lifetimes, where clauses, raw names, and the library under another name.

mod reexports {
    pub use dualwrite as migrations;
}

#[derive(reexports::migrations::Dual)]
#[dual(crate = reexports::migrations)]
struct Record<'r, T: Default, const SIZE: usize>
where
    T: PartialEq,
{
    #[dual(new = r#type)]
    kind: &'r str,
    r#type: Option<&'r str>,
    #[dual(new = payload)]
    r#box: [T; SIZE],
    payload: Option<[T; SIZE]>,
    #[dual(new = items)]
    r#loop: Vec<T>,
    items: Option<Vec<T>>,
}

fn main() {
    let mut record = Record::<u8, 2> {
        kind: "a",
        r#type: None,
        r#box: [1, 2],
        payload: None,
        r#loop: vec![3],
        items: Some(vec![]),
    };
    assert_eq!((*record.r#type(), record.payload(), record.items().len()), ("a", &[1, 2], 0));
    record.set_type("b");
    record.set_payload([4, 5]);
    record.set_items([6]);
    assert_eq!((record.kind, record.r#box, record.r#loop.as_slice()), ("b", [4, 5], &[6][..]));
    assert!(record.is_migrated());
}
