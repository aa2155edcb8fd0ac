//! Expansions of `#[derive(Dual)]`, one for each capability.

use super::snapshots::check;

#[test]
fn rename() {
    check(
        "dual/rename.rs",
        "
#[derive(Dual)]
pub struct Customer {
    id: i64,
    #[dual(new = email_address)]
    email: String,
    email_address: Option<String>,
}",
    );
}

#[test]
fn optional_on_either_side() {
    check(
        "dual/optional_on_either_side.rs",
        "
#[derive(Dual)]
#[dual(crate = migrations)]
struct Record<T: Clone, const SIZE: usize> {
    #[dual(new = tag_list)]
    tags: Option<Vec<T>>,
    tag_list: Option<Vec<T>>,
    #[dual(new = r#type)]
    kind: Option<[u8; SIZE]>,
    pub(crate) r#type: [u8; SIZE],
}",
    );
}

#[test]
fn presence() {
    check(
        "dual/presence.rs",
        "
#[derive(Dual)]
struct Customer {
    #[dual(new = email_address, present = non_default)]
    email: String,
    email_address: String,
    #[dual(new = years, present = is_plausible, getter = age_in_years, setter = grow)]
    age: Option<u8>,
    years: Option<u8>,
}",
    );
}

#[test]
fn conversion() {
    check(
        "dual/conversion.rs",
        "
#[derive(Dual)]
#[dual(key = \"id\")]
struct Customer {
    id: i64,
    #[dual(new = age_new, forward = parse_age, backward = to_text)]
    age: String,
    age_new: Option<i64>,
}",
    );
}

#[test]
fn one_to_several() {
    check(
        "dual/one_to_several.rs",
        "
#[derive(Dual)]
struct Person {
    #[dual(new = (first_name, last_name), forward = split, backward = join)]
    full_name: String,
    first_name: Option<String>,
    last_name: Option<String>,
}",
    );
}

#[test]
fn several_to_one() {
    check(
        "dual/several_to_one.rs",
        "
#[derive(Dual)]
struct Payment {
    amount: i64,
    currency: Option<String>,
    #[dual(old = (amount, currency), forward = Money::of, backward = Money::parts)]
    money: Option<Money>,
}",
    );
}

#[test]
fn another_record() {
    check(
        "dual/another_record.rs",
        "
#[derive(Dual)]
#[dual(key = (tenant, id))]
struct Goal {
    tenant: i64,
    id: i64,
    #[dual(new = current_version.title)]
    title: String,
    #[dual(new = current_version.notes, absent = default)]
    notes: Option<String>,
    current_version: Option<GoalVersion>,
}",
    );
}

#[test]
fn table() {
    check(
        "dual/table.rs",
        "
#[derive(Dual, sqlx::FromRow)]
#[dual(table = \"shop.customers\", key = \"id\")]
struct Customer {
    id: i64,
    #[sqlx(rename = \"mail\")]
    #[dual(new = email_address)]
    email: String,
    email_address: Option<String>,
    #[dual(new = age_new, forward = parse_age, backward = to_text)]
    age: String,
    age_new: Option<i64>,
    #[dual(new = since_year, forward = year, backward = date, sql = \"CAST(since AS INTEGER)\")]
    since: Option<String>,
    #[dual(column = \"joined\")]
    since_year: i64,
    #[sqlx(skip)]
    orders: Vec<Order>,
}",
    );
}

#[test]
fn markers() {
    check(
        "dual/markers.rs",
        "
#[derive(Dual)]
#[dual(table = \"customer\", key = \"id\")]
struct Customer {
    id: i64,
    #[dual(new = email_address, copied = email_copied)]
    email: Option<String>,
    email_address: Option<String>,
    email_copied: bool,
}",
    );
}

#[test]
fn columns_are_spelled_as_sqlx_spells_them() {
    for (rule, columns) in [
        ("snake_case", ["first_name", "e_mail2"]),
        ("lowercase", ["first_name", "e_mail2"]),
        ("UPPERCASE", ["FIRST_NAME", "E_MAIL2"]),
        ("SCREAMING_SNAKE_CASE", ["FIRST_NAME", "E_MAIL2"]),
        ("camelCase", ["firstName", "eMail2"]),
        ("PascalCase", ["FirstName", "EMail2"]),
    ] {
        let source = format!(
            "#[derive(Dual)] #[dual(table = \"t\", key = \"id\")] #[sqlx(rename_all = \"{rule}\")]
            struct S {{
                #[sqlx(rename = \"Id\")] id: i64,
                #[dual(new = e_mail2)] first_name: String,
                e_mail2: Option<String>,
            }}"
        );
        let found = super::expand(&source).to_string();
        for column in columns.iter().chain(&["Id"]) {
            assert!(found.contains(&format!("\"{column}\"")), "{rule}: {column} is not in {found}");
        }
    }
}
