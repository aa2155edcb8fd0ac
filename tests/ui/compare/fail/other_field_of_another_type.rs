#[derive(dualwrite::Compare)]
#[compare(other = NewOrder)]
struct Order {
    id: u64,
    age: String,
}

struct NewOrder {
    id: u64,
    age: u8,
}

fn main() {}
