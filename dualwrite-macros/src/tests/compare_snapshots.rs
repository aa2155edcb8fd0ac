//! Expansions of `#[derive(Compare)]`, as `snapshots` describes.

use super::expand;
use super::snapshots::check;

#[test]
fn fields() {
    check(
        "compare/fields.rs",
        "
#[derive(Compare)]
pub struct Order {
    id: i64,
    #[compare(reveal)]
    status: Status,
    #[compare(ignore)]
    updated: SystemTime,
    #[compare(tolerance = 0.01, relative = 0.001)]
    total: f64,
    #[compare(with = rules::same_email, rename = \"mail\")]
    r#email: String,
    #[compare(unordered)]
    tags: Vec<String>,
    #[compare(key = id, reveal)]
    lines: Vec<Line>,
    #[compare(key = (tenant.id, 0))]
    parts: Vec<Part>,
    #[compare(key = Note::key)]
    notes: Vec<Note>,
}",
    );
}

#[test]
fn variants() {
    check(
        "compare/variants.rs",
        "
#[derive(Compare)]
#[compare(reveal)]
enum Payment {
    Cash,
    Card { number: String, #[compare(ignore)] token: Token },
    #[compare(rename = \"transfer\")]
    Wire(Bank, #[compare(redact)] Iban),
}",
    );
}

#[test]
fn parameters() {
    check(
        "compare/parameters.rs",
        "
#[derive(Compare)]
#[compare(crate = migrations)]
struct Page<'a, T: Clone, K: Ord = u8, const N: usize = 1>
where
    T: Debug,
{
    title: &'a str,
    items: [T; N],
    by_key: BTreeMap<K, T>,
    #[compare(unordered)]
    bag: Vec<T>,
    #[compare(tolerance = 1)]
    size: T,
    #[compare(with = same::<T>, reveal)]
    extra: T,
    next: Option<Box<Page<'a, T, K, N>>>,
}",
    );
}

#[test]
fn another_type() {
    check(
        "compare/another_type.rs",
        "
#[derive(Compare)]
#[compare(other = v2::Customer<'_>, ignore_other = (created, updated))]
struct Customer {
    id: i64,
    #[compare(other = email_address)]
    email: String,
    #[compare(ignore)]
    legacy: bool,
}",
    );
}

#[test]
fn variants_of_another_type() {
    check(
        "compare/variants_of_another_type.rs",
        "
#[derive(Compare)]
#[compare(other = v2::Status)]
enum Status {
    Open,
    #[compare(ignore_other = by)]
    Paid { amount: u64 },
}",
    );
}

#[test]
fn nothing_to_compare() {
    check(
        "compare/nothing_to_compare.rs",
        "
#[derive(Compare)]
enum Never {}",
    );
}

/// The guide shows what is generated.
#[test]
fn the_guide_is_right() {
    let guide = concat!(env!("CARGO_MANIFEST_DIR"), "/../dualwrite/src/docs/compare.md");
    let guide = std::fs::read_to_string(guide).unwrap();
    let source = "
#[derive(Compare)]
struct Order {
    #[compare(reveal)]
    id: i64,
    #[compare(tolerance = 0.01)]
    weight: f64,
    total: Money,
}
";
    assert!(guide.contains(source));
    let expansion = prettyplease::unparse(&syn::parse2(expand(source)).unwrap());
    assert!(guide.contains(&expansion), "{expansion}");
}
