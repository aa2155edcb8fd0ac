use dualwrite::{Compare, compare::Differences};

#[derive(Compare)]
struct Order {
    #[compare(reveel)]
    id: u64,
    #[compare(with = "same")]
    email: String,
}

#[derive(Compare)]
struct Book {
    orders: Vec<Order>,
}

fn main() {
    let book = Book { orders: vec![] };
    let _ = Differences::between(&book, &book);
}
