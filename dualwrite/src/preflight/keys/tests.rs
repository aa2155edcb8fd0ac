//! Tables with one key column, and what is said of it.

use super::*;
use crate::key::Key;
use crate::preflight::form::{Spelling, Wrap};
use crate::preflight::schema::{Index, Table, TableName};

fn column(name: &str, type_name: &str) -> Column {
    Column { name: name.to_owned(), type_name: type_name.to_owned(), ..Column::default() }
}

fn index(unique: bool, columns: &[&str]) -> Index {
    let columns = columns.iter().map(|column| (*column).to_owned()).collect();
    Index { name: "i".to_owned(), unique, columns }
}

fn side(side: Side, key: &[&str], columns: Vec<Column>, indexes: Vec<Index>) -> SideSchema {
    let name = TableName { schema: None, name: side.as_str().to_owned() };
    let table = Table { name: name.clone(), is_view: false, columns, indexes };
    let key = key.iter().map(|column| (*column).to_owned()).collect();
    SideSchema { side, name, key, table: Some(table) }
}

fn viewed(mut side: SideSchema) -> SideSchema {
    if let Some(table) = &mut side.table {
        table.is_view = true;
    }
    side
}

/// `int` holds integers, `text` texts, and no other type a key.
fn form_of(column: &Column, kind: KeyKind) -> Result<KeyForm, Unfit> {
    match (&*column.type_name, kind) {
        ("int", KeyKind::INTEGER) | ("text", KeyKind::TEXT) => {
            Ok(KeyForm { order: column.type_name.clone(), ..KeyForm::default() })
        }
        _ => Err(Unfit::new("it does not fit", "change it")),
    }
}

fn checks(found: &[Finding]) -> Vec<String> {
    let text = |one: &Finding| {
        let column = one.column.as_deref().unwrap_or("-");
        format!("{} {} {} {column}", one.level, one.check, one.side)
    };
    found.iter().map(text).collect()
}

fn formed(side: &SideSchema, kind: KeyKind, old_fits: bool) -> (Option<Vec<KeyForm>>, Vec<String>) {
    let mut found = Vec::new();
    let forms = forms(side, kind, old_fits, form_of, &mut found);
    (forms, checks(&found))
}

#[test]
fn a_key_has_one_form_for_each_of_its_columns() {
    let columns = || vec![column("id", "int"), column("word", "text")];
    let pair = <(i64, String) as Key>::KIND;
    let both = side(Side::Old, &["id", "word"], columns(), Vec::new());
    let (forms, found) = formed(&both, pair, false);
    let orders: Vec<String> = forms.unwrap().into_iter().map(|form| form.order).collect();
    assert_eq!((orders, found), (vec!["int".to_owned(), "text".to_owned()], vec![]));
    let absent = SideSchema { table: None, ..both };
    assert_eq!(formed(&absent, pair, false), (None, vec![]), "nothing is known of no table");
    let unknown = side(Side::Old, &["id", "name"], columns(), Vec::new());
    let refused = vec!["refuse key_column old name".to_owned()];
    assert_eq!(formed(&unknown, pair, false), (None, refused));
}

#[test]
fn a_form_says_whether_the_key_may_be_null_or_repeat() {
    let known = |nullable, is_view, indexes| {
        let column = Column { nullable, ..column("id", "int") };
        let table = side(Side::Old, &["id"], vec![column], indexes);
        let table = if is_view { viewed(table) } else { table };
        let forms = formed(&table, KeyKind::INTEGER, false).0.unwrap();
        (forms[0].nullable, forms[0].may_repeat)
    };
    let unique = || vec![index(true, &["ID"])];
    assert_eq!(known(false, false, unique()), (false, false));
    assert_eq!(known(true, false, unique()), (true, false));
    assert_eq!(known(true, true, unique()), (false, false), "a view says nothing of NULL");
    assert_eq!(known(false, false, vec![index(false, &["id"])]), (false, true));
    assert_eq!(known(false, false, vec![index(true, &["id", "at"])]), (false, true));
    assert_eq!(known(false, false, Vec::new()), (false, true));
}

#[test]
fn a_new_key_of_another_kind_is_a_key_that_changes() {
    let of = |side_of, type_name, old_fits| {
        let table = side(side_of, &["id"], vec![column("id", type_name)], Vec::new());
        let mut found = Vec::new();
        assert_eq!(forms(&table, KeyKind::INTEGER, old_fits, form_of, &mut found), None);
        (found[0].check.clone(), found[0].why.clone())
    };
    let (check, why) = of(Side::New, "text", true);
    assert_eq!(check, "key_change");
    assert!(why.contains("integer") && why.contains("of the type text"), "{why}");
    assert_eq!(of(Side::New, "text", false).0, "key_type", "the old side has no such key either");
    assert_eq!(of(Side::Old, "text", true).0, "key_type", "the old side sets the kind");
    assert_eq!(of(Side::New, "json", true).0, "key_type", "it would be no key at all");
}

#[test]
fn a_column_that_is_not_what_it_was_is_named() {
    let table = side(Side::Old, &["a", "b"], Vec::new(), Vec::new());
    let form = |order: &str| KeyForm { order: order.to_owned(), ..KeyForm::default() };
    let of = |before: &KeyForm, now: &KeyForm| {
        let (before, now) = ([form("x"), before.clone()], [form("x"), now.clone()]);
        let mut found = Vec::new();
        changed(&table, (&before, &now), &mut found);
        checks(&found)
    };
    assert_eq!(of(&form("x"), &form("x")), [""; 0]);
    assert_eq!(of(&form("x"), &form("y")), ["refuse key_changed old b"]);
    let looser = KeyForm { nullable: true, may_repeat: true, ..form("x") };
    assert_eq!(of(&form("x"), &looser), [""; 0], "other checks name these");
    assert_eq!(of(&looser, &form("x")), [""; 0]);
    let unsettled = KeyForm { is_unsettled: true, ..form("y") };
    assert_eq!(of(&form("x"), &unsettled), [""; 0], "the first row tells more");
}

fn comparison(old: &KeyForm, new: &KeyForm, elsewhere: bool) -> Option<(String, String)> {
    let table = side(Side::New, &["id"], Vec::new(), Vec::new());
    let mut found = Vec::new();
    compared((std::slice::from_ref(old), std::slice::from_ref(new)), &table, elsewhere, &mut found);
    found.into_iter().next().map(|one| (format!("{} {}", one.level, one.check), one.why))
}

#[test]
fn keys_are_compared_by_form_order_and_equality() {
    let plain = KeyForm { order: "x".to_owned(), ..KeyForm::default() };
    fn check(old: &KeyForm, new: &KeyForm, elsewhere: bool) -> Option<String> {
        comparison(old, new, elsewhere).map(|(check, _)| check)
    }
    let refused = |check: &str| Some(format!("refuse {check}"));
    assert_eq!(check(&plain, &plain, true), None);
    let bytes = KeyForm { is_bytes: true, ..plain.clone() };
    assert_eq!(check(&plain, &bytes, false), refused("key_form"));
    assert_eq!(check(&bytes, &plain, false), refused("key_form"));
    assert_eq!(check(&bytes, &bytes, false), None);
    let unsettled = KeyForm { is_unsettled: true, ..bytes.clone() };
    assert_eq!(check(&plain, &unsettled, false), None);
    assert_eq!(check(&unsettled, &plain, false), None);
    let ordered = KeyForm { order: "y".to_owned(), ..plain.clone() };
    let read = KeyForm { read: Wrap::new("upper(", ")"), ..plain.clone() };
    for other in [ordered, read] {
        assert_eq!(check(&plain, &other, false), None, "one server sorts both");
        assert_eq!(check(&plain, &other, true), refused("key_order"));
    }
    let loose = KeyForm { spelling: Spelling::Loose, ..plain.clone() };
    let why = |old: &KeyForm, new: &KeyForm| {
        let (check, why) = comparison(old, new, true).unwrap();
        assert_eq!(check, "warn key_equality");
        why
    };
    assert!(why(&plain, &loose).contains("would become one"));
    assert!(why(&loose, &plain).contains("a row for each"));
    assert_eq!(check(&loose, &loose, true), None);
}

#[test]
fn a_key_that_may_be_null_is_warned_of() {
    let of = |column: Column, is_view| {
        let old = side(Side::Old, &["id"], vec![column], Vec::new());
        let old = if is_view { viewed(old) } else { old };
        let mut found = Vec::new();
        nullable(&Subject { kind: KeyKind::INTEGER, old, new: None }, &mut found);
        checks(&found)
    };
    let free = || Column { nullable: true, ..column("id", "int") };
    assert_eq!(of(free(), false), ["warn key_null old id"]);
    assert_eq!(of(free(), true), [""; 0], "a view says nothing of NULL");
    assert_eq!(of(column("id", "int"), false), [""; 0]);
    assert_eq!(of(Column { nullable: true, ..column("at", "int") }, false), [""; 0]);
}

#[test]
fn keys_without_an_index_or_a_unique_one_are_warned_of() {
    let of = |indexes, is_view| {
        let old = side(Side::Old, &["a", "b"], Vec::new(), indexes);
        let old = if is_view { viewed(old) } else { old };
        let mut found = Vec::new();
        indexed(&Subject { kind: KeyKind::INTEGER, old, new: None }, &mut found);
        if let Some(first) = found.first() {
            assert_eq!(first.action, "create a unique index on old (a, b)");
        }
        checks(&found)
    };
    let none = ["warn key_index old a"];
    let plain = ["warn key_unique old a"];
    assert_eq!(of(Vec::new(), false), none);
    assert_eq!(of(Vec::new(), true), [""; 0]);
    assert_eq!(of(vec![index(true, &["a"])], false), none, "too short to lead through both");
    assert_eq!(of(vec![index(true, &["b", "a"])], false), none, "another order");
    assert_eq!(of(vec![index(false, &["a", "b"])], false), plain);
    assert_eq!(
        of(vec![index(true, &["a", "b", "c"])], false),
        plain,
        "unique by more than the key"
    );
    assert_eq!(of(vec![index(true, &["A", "B"])], false), [""; 0]);
}

#[test]
fn a_key_has_room_on_the_new_side_and_in_the_control_tables() {
    let of = |old: &[Option<u64>], new: Option<&[Option<u64>]>| {
        let names = ["a", "b"];
        let make = |of, lengths: &[Option<u64>]| {
            let long = |(name, length): (&&str, &Option<u64>)| Column {
                length: *length,
                ..column(name, "text")
            };
            let columns: Vec<Column> = names.iter().zip(lengths).map(long).collect();
            side(of, &names[..lengths.len()], columns, Vec::new())
        };
        let (old, new) = (make(Side::Old, old), new.map(|new| make(Side::New, new)));
        let mut found = Vec::new();
        same(&Subject { kind: KeyKind::TEXT, old, new }, &mut found);
        checks(&found)
    };
    let longest = KEY_BYTES_MAX as u64;
    let long = ["note key_length old a"];
    assert_eq!(of(&[Some(10)], Some(&[Some(9)])), ["warn key_length new a"]);
    assert_eq!(of(&[Some(10)], Some(&[Some(10)])), [""; 0]);
    assert_eq!(of(&[Some(10)], Some(&[None])), [""; 0]);
    assert_eq!(of(&[None], Some(&[Some(9)])), [""; 0]);
    assert_eq!(of(&[Some(longest)], Some(&[Some(longest)])), [""; 0]);
    assert_eq!(of(&[Some(longest), Some(1)], Some(&[None, None])), long, "both parts together");
    assert_eq!(of(&[Some(u64::from(u16::MAX) - 1)], Some(&[None])), long);
    assert_eq!(
        of(&[Some(u64::from(u16::MAX))], Some(&[None])),
        [""; 0],
        "it says no length at all"
    );
    assert_eq!(of(&[Some(longest + 1)], None), [""; 0], "nothing is known of the new side");
}
