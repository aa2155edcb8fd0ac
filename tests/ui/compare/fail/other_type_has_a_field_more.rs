#[derive(dualwrite::Compare)]
#[compare(other = NewOrder)]
struct Order {
    id: u64,
}

struct NewOrder {
    id: u64,
    created: u64,
}

fn main() {}
