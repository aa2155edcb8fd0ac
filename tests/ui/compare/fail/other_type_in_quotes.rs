#[derive(dualwrite::Compare)]
#[compare(other = "NewOrder", ignore_other = ("created"))]
struct Order {
    #[compare(other = "number")]
    id: u64,
}

struct NewOrder {
    number: u64,
    created: u64,
}

fn main() {}
