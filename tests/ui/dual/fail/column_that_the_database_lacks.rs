use dualwrite::DualTable;

#[derive(dualwrite::Dual)]
#[dual(table = "customers", key = "id")]
struct Customer {
    id: i64,
    #[dual(new = place, forward = parse, backward = show)]
    address: String,
    place: Option<Address>,
}

#[derive(Clone, PartialEq)]
struct Address(String);

fn parse(text: &str) -> Address {
    Address(text.to_owned())
}

fn show(address: &Address) -> String {
    address.0.clone()
}

fn main() {
    let _ = Customer::copy_columns::<sqlx::Sqlite>();
}
