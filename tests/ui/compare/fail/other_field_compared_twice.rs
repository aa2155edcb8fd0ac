#[derive(dualwrite::Compare)]
#[compare(other = NewOrder, ignore_other = (id, created))]
struct Order {
    id: u64,
    #[compare(other = id)]
    number: u64,
}

struct NewOrder {
    id: u64,
    created: u64,
}

fn main() {}
