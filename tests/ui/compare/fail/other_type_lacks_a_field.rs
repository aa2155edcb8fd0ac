#[derive(dualwrite::Compare)]
#[compare(other = NewOrder)]
struct Order {
    id: u64,
    legacy: bool,
}

struct NewOrder {
    id: u64,
}

fn main() {}
