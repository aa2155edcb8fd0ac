#[derive(dualwrite::Compare)]
struct Order {
    #[compare(ignore)]
    id: u64,
    #[compare(ignore)]
    updated: u64,
}

fn main() {}
