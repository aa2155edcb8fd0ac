//! Getters, setters and what the struct as a whole says, without a database.

use std::borrow::Cow;
use std::error::Error as _;
use std::num::ParseIntError;

use dualwrite::{ConversionError, Dual, Operation, Route, Side, Stage};

fn route(stage: Stage) -> Route {
    Route::of(stage, Operation::Write)
}

#[derive(Clone, Debug, Default, Dual, PartialEq)]
struct Contact {
    #[dual(new = email_address)]
    email: String,
    email_address: Option<String>,
    #[dual(new = phone_number, present = some)]
    phone: Option<String>,
    phone_number: Option<String>,
    #[dual(new = nick, present = non_default)]
    nickname: String,
    nick: String,
    #[dual(new = years, present = is_plausible)]
    age: Option<u8>,
    years: u8,
    #[dual(new = photo, getter = picture, setter = show)]
    image: Box<[u8]>,
    photo: Option<Box<[u8]>>,
}

fn is_plausible(years: u8) -> bool {
    years < 130
}

#[test]
fn a_rename_reads_new_where_it_is_there() {
    let mut contact = Contact {
        email: "old".into(),
        phone: Some("1".into()),
        nickname: "nick".into(),
        age: Some(7),
        years: 255,
        image: Box::new([1]),
        ..Contact::default()
    };
    assert_eq!(
        (contact.email_address(), contact.phone_number(), contact.nick(), contact.years()),
        ("old", Some("1"), "nick", 7)
    );
    assert_eq!(contact.picture(), [1]);
    assert_eq!(contact.email_address_source(), Side::Old);
    assert_eq!((contact.nick_source(), contact.years_source()), (Side::Old, Side::Old));
    contact.age = None;
    assert_eq!((contact.years(), contact.years_source()), (255, Side::New), "old has none either");
    contact.age = Some(7);

    contact.set_email_address("new");
    contact.set_phone_number("2");
    contact.set_nick("n");
    contact.set_years(8);
    contact.show([2, 3]);
    assert!(contact.is_migrated());
    assert_eq!(contact.divergence(), [""; 0]);
    assert_eq!((contact.email.as_str(), contact.email_address()), ("new", "new"));
    assert_eq!((contact.phone.as_deref(), contact.phone_number()), (Some("2"), Some("2")));
    assert_eq!((contact.age, contact.years(), contact.years_source()), (Some(8), 8, Side::New));
    assert_eq!((&*contact.image, contact.picture()), (&[2, 3][..], &[2, 3][..]));
}

#[test]
fn migrating_fills_what_is_not_there_and_nothing_else() {
    let mut contact = Contact {
        email: "old".into(),
        email_address: Some("kept".into()),
        nickname: "nick".into(),
        years: 200,
        ..Contact::default()
    };
    assert!(!contact.is_migrated());
    contact.migrate().unwrap();
    assert_eq!(contact.email_address.as_deref(), Some("kept"));
    assert_eq!(contact.nick, "nick");
    assert_eq!(contact.phone_number, None, "old has none");
    assert_eq!(contact.years, 200, "old has none");
    assert_eq!(contact.photo.as_deref(), Some(&[][..]));
    assert!(contact.is_migrated(), "nothing is left to take from old");
    assert_eq!(contact.divergence(), ["email_address"]);
    contact.phone_number = Some("1".into());
    assert_eq!(contact.divergence(), ["email_address", "phone_number"], "old lacks it");
}

#[derive(Dual)]
#[dual(key = "id")]
struct Nullable {
    id: i64,
    #[dual(new = email_address)]
    email: Option<String>,
    email_address: Option<String>,
    #[dual(new = (first, last), forward = two_words, backward = one_text)]
    name: Option<String>,
    first: Option<String>,
    last: Option<String>,
}

fn two_words(name: &str) -> Result<(String, String), &'static str> {
    let (first, last) = name.split_once(' ').ok_or("one word")?;
    Ok((first.to_owned(), last.to_owned()))
}

fn one_text(first: &str, last: &str) -> String {
    format!("{first} {last}")
}

#[test]
fn a_null_of_new_is_never_answered_by_a_stale_value_of_old() {
    let mut row = Nullable {
        id: 1,
        email: Some("stale".into()),
        email_address: None,
        name: Some("Ada Lovelace".into()),
        first: None,
        last: None,
    };
    assert_eq!(row.email_address(Side::New), None);
    assert_eq!(row.email_address(Side::Old), Some("stale"));
    assert_eq!(row.name(Side::New).unwrap(), None);
    let (first, last) = row.name(Side::Old).unwrap().unwrap();
    assert_eq!((&*first, &*last), ("Ada", "Lovelace"));
    row.set_email_address("new");
    assert_eq!(row.email_address(Side::New), row.email_address(Side::Old));
    row.name = Some("Ada".into());
    assert!(row.name(Side::Old).is_err());
    row.set_name("Grace", "Hopper").unwrap();
    assert_eq!(row.name.as_deref(), Some("Grace Hopper"));
    assert_eq!(row.id, 1);
}

#[test]
fn null_is_written_by_clear_and_not_filled_by_migrate() {
    let stale = || Nullable {
        id: 1,
        email: Some("stale".into()),
        email_address: None,
        name: Some("Ada Lovelace".into()),
        first: None,
        last: None,
    };
    let mut row = stale();
    assert_eq!(row.divergence(), ["email_address", "name"], "one side is NULL");
    row.migrate().unwrap();
    assert_eq!((&row.email_address, &row.first), (&None, &None), "NULL may be the value");
    row.clear_email_address();
    row.clear_name();
    assert_eq!((&row.email, &row.email_address), (&None, &None));
    assert_eq!((&row.name, &row.first, &row.last), (&None, &None, &None));
    assert_eq!(row.divergence(), [""; 0]);

    let mut row = stale();
    row.set_email_address("new");
    row.clear_email_address_by(&route(Stage::Off));
    assert_eq!((&row.email, row.email_address.as_deref()), (&None, Some("new")));
    row.set_email_address("new");
    row.clear_email_address_by(&route(Stage::Complete));
    assert_eq!((row.email.as_deref(), &row.email_address), (Some("new"), &None));
}

#[test]
fn a_plan_chooses_the_side() {
    let mut contact = Contact {
        email: "old".into(),
        email_address: Some("new".into()),
        nickname: "o".into(),
        nick: "n".into(),
        ..Contact::default()
    };
    for (stage, read) in [(Stage::Off, "old"), (Stage::Shadow, "old"), (Stage::Live, "new")] {
        assert_eq!(contact.email_address_by(&route(stage)), Some(read));
        assert_eq!(contact.nick_by(&route(stage)), &read[..1]);
    }
    assert_eq!(contact.phone_number_by(&route(Stage::Live)), None);

    contact.set_email_address_by(&route(Stage::Off), "1");
    assert_eq!((contact.email.as_str(), contact.email_address.as_deref()), ("1", Some("new")));
    contact.set_email_address_by(&route(Stage::Complete), "2");
    assert_eq!((contact.email.as_str(), contact.email_address.as_deref()), ("1", Some("2")));
    for stage in [Stage::DualWrite, Stage::Shadow, Stage::Live, Stage::RampDown] {
        // Whatever the route is of: a write goes where the stage says.
        contact.set_email_address_by(&Route::of(stage, Operation::Scan), stage.to_string());
        assert_eq!(contact.email, stage.to_string());
        assert_eq!(contact.email_address, Some(stage.to_string()));
    }
}

#[derive(Clone, Debug, Dual, PartialEq)]
#[dual(key = ("shop", "id"))]
struct Customer {
    shop: i64,
    id: String,
    #[dual(new = age_new, forward = parse_age, backward = age_text, present = is_set)]
    age: String,
    age_new: Option<i64>,
    #[dual(new = (first_name, last_name), forward = split, backward = join)]
    full_name: String,
    first_name: Option<String>,
    last_name: Option<String>,
    amount: Option<i64>,
    currency: Option<String>,
    #[dual(old = (amount, currency), forward = Money::of, backward = Money::parts, present = some)]
    money: Option<Money>,
}

#[derive(Clone, Debug, PartialEq)]
struct Money {
    cents: i64,
    currency: [char; 3],
}

impl Money {
    fn of(cents: i64, currency: &str) -> Result<Self, String> {
        let letters: Vec<char> = currency.chars().collect();
        let currency = letters.try_into().map_err(|_| format!("no currency: {currency}"))?;
        Ok(Self { cents, currency })
    }

    fn parts(&self) -> (i64, String) {
        (self.cents, self.currency.iter().collect())
    }
}

fn is_set(age: i64) -> bool {
    age >= 0
}

fn parse_age(age: &str) -> Result<i64, ParseIntError> {
    age.parse()
}

fn age_text(age: i64) -> Result<String, &'static str> {
    if age > 150 { Err("nobody is that old") } else { Ok(age.to_string()) }
}

fn split(name: &str) -> Result<(String, String), &'static str> {
    let (first, last) = name.split_once(' ').ok_or("only one name")?;
    Ok((first.to_owned(), last.to_owned()))
}

fn join(first: &str, last: &str) -> String {
    format!("{first} {last}")
}

fn customer() -> Customer {
    Customer {
        shop: 1,
        id: "c7".into(),
        age: "36".into(),
        age_new: None,
        full_name: "Ada Lovelace".into(),
        first_name: None,
        last_name: Some("Byron".into()),
        amount: Some(250),
        currency: Some("EUR".into()),
        money: None,
    }
}

#[test]
fn values_are_converted_on_the_way() {
    let mut ada = customer();
    assert_eq!(ada.age_new().unwrap(), 36);
    assert_eq!(ada.full_name().unwrap(), ("Ada".into(), Cow::<str>::Owned("Lovelace".into())));
    assert_eq!(ada.money().unwrap().unwrap().cents, 250);
    assert_eq!((ada.age_new_source(), ada.full_name_source()), (Side::Old, Side::Old));
    assert_eq!((ada.is_migrated(), ada.divergence()), (false, vec![]));

    ada.set_age_new(37).unwrap();
    ada.set_full_name("Augusta", "King").unwrap();
    ada.set_money(Money { cents: 1, currency: ['G', 'B', 'P'] }).unwrap();
    assert!(ada.is_migrated() && ada.divergence().is_empty());
    assert_eq!((ada.age.as_str(), ada.age_new), ("37", Some(37)));
    assert_eq!(ada.full_name, "Augusta King");
    assert!(matches!(ada.full_name().unwrap(), (Cow::Borrowed("Augusta"), Cow::Borrowed("King"))));
    assert_eq!((ada.amount, ada.currency.as_deref()), (Some(1), Some("GBP")));

    ada.age_new = Some(-1);
    assert_eq!((ada.age_new().unwrap(), ada.age_new_source()), (37, Side::Old));
    assert!(!ada.is_migrated());
    ada.migrate().unwrap();
    assert_eq!(ada.age_new, Some(37));
    ada.full_name = "Ada".into();
    ada.amount = None;
    assert_eq!(ada.divergence(), ["full_name", "money"]);
}

#[test]
fn plans_convert_too() {
    let mut ada = customer();
    assert_eq!(ada.age_new_by(&route(Stage::Off)).unwrap(), Some(36));
    assert_eq!(ada.age_new_by(&route(Stage::Live)).unwrap(), None);
    ada.set_age_new_by(&route(Stage::Complete), 151).unwrap();
    assert_eq!((ada.age.as_str(), ada.age_new), ("36", Some(151)), "old was not asked");
    ada.set_full_name_by(&route(Stage::Off), "A", "B").unwrap();
    assert_eq!((ada.full_name.as_str(), ada.first_name.as_deref()), ("A B", None));
}

#[test]
fn a_failed_conversion_names_field_and_key_and_changes_nothing() {
    let mut ada = customer();
    let error = ada.set_age_new(4711).unwrap_err();
    assert_eq!(
        (error.field(), error.key(), error.to()),
        ("age_new", Some(r#"[1,"c7"]"#), Side::Old)
    );
    assert_eq!(
        error.to_string(),
        r#"`age_new` of `Customer` with the key [1,"c7"] cannot be converted to old"#
    );
    assert!(!format!("{error:?}").contains("that old"));
    assert_eq!(error.source().unwrap().to_string(), "nobody is that old");
    assert_eq!(ada, customer());

    ada.age = "unknown".into();
    ada.currency = Some("EURO".into());
    let check = |error: ConversionError, field| {
        assert_eq!((error.field(), error.to(), error.is_absent()), (field, Side::New, false));
    };
    check(ada.age_new().unwrap_err(), "age_new");
    check(ada.money().unwrap_err(), "money");
    check(ada.age_new_by(&route(Stage::Off)).unwrap_err(), "age_new");
    let before = ada.clone();
    check(ada.migrate().unwrap_err(), "age_new");
    assert_eq!(ada, before);
    assert!(!ada.is_migrated());
    ada.age_new = Some(1);
    assert_eq!(ada.divergence(), ["age_new"], "what cannot be converted disagrees");
    let sqlx: sqlx::Error = ada.money().unwrap_err().into();
    assert!(sqlx.source().unwrap().is::<ConversionError>());
}

#[derive(Clone, Debug, Default, Dual, PartialEq)]
struct Goal {
    #[dual(new = current_version.title)]
    title: String,
    #[dual(new = current_version.notes.text, type = Option<String>, absent = default, present = some)]
    notes: Option<String>,
    current_version: Option<Version>,
    #[dual(new = owner.id, type = u64, forward = u64::from, backward = narrow, getter = owner_id)]
    owner_number: u32,
    owner: Owner,
}

#[derive(Clone, Debug, Default, PartialEq)]
struct Version {
    title: String,
    notes: Notes,
}

#[derive(Clone, Debug, Default, PartialEq)]
struct Notes {
    text: Option<String>,
}

#[derive(Clone, Debug, Default, PartialEq)]
struct Owner {
    id: u64,
}

fn narrow(id: u64) -> Result<u32, std::num::TryFromIntError> {
    id.try_into()
}

#[test]
fn a_field_may_move_to_another_record() {
    let mut goal = Goal { title: "old".into(), notes: Some("n".into()), ..Goal::default() };
    assert_eq!((goal.title(), goal.title_source()), ("old", Side::Old));
    assert_eq!(goal.text(), Some("n"));
    assert_eq!(goal.owner_id(), 0, "new is always there");

    let error = goal.set_title("new").unwrap_err();
    assert!(error.is_absent());
    assert_eq!(
        error.to_string(),
        "`title` of `Goal` has no `current_version` to be written to: fill that first"
    );
    assert_eq!(goal.title, "old", "nothing was written");
    assert!(goal.migrate().unwrap_err().is_absent());
    goal.set_title_by(&route(Stage::Off), "older").unwrap();

    goal.set_text("made");
    assert_eq!(goal.current_version.as_ref().unwrap().notes.text.as_deref(), Some("made"));
    goal.set_title("new").unwrap();
    assert_eq!((goal.title.as_str(), goal.title(), goal.title_source()), ("new", "new", Side::New));
    goal.set_owner_id(7_u64).unwrap();
    assert_eq!((goal.owner_number, goal.owner.id), (7, 7));
    assert!(goal.set_owner_id(u64::MAX).is_err());
    assert!(goal.is_migrated() && goal.divergence().is_empty());
    goal.owner_number = 8;
    assert_eq!(goal.divergence(), ["owner_id"]);
}

#[derive(Dual)]
struct Reading {
    #[dual(new = degrees)]
    celsius: f64,
    degrees: Option<f64>,
}

#[test]
fn no_number_agrees_with_no_number() {
    let reading = Reading { celsius: f64::NAN, degrees: Some(f64::NAN) };
    assert!(reading.divergence().is_empty());
    assert_eq!(Reading { degrees: Some(0.0), ..reading }.divergence(), ["degrees"]);
}

#[derive(Clone, Debug, Dual, serde::Deserialize, serde::Serialize)]
#[serde(rename_all = "camelCase")]
struct Served<T> {
    #[dual(new = email_address)]
    #[serde(rename = "e-mail")]
    email: T,
    email_address: Option<T>,
    #[serde(flatten)]
    rest: std::collections::BTreeMap<String, T>,
}

#[test]
fn serde_goes_beside_it() {
    let json = r#"{"e-mail":"a","emailAddress":null,"more":"b"}"#;
    let mut served: Served<String> = serde_json::from_str(json).unwrap();
    assert_eq!(served.email_address(), "a");
    served.set_email_address("c");
    assert_eq!(
        serde_json::to_string(&served).unwrap(),
        r#"{"e-mail":"c","emailAddress":"c","more":"b"}"#
    );
    assert_eq!(served.rest["more"], "b");
}
