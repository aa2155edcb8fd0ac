#[derive(dualwrite::Compare)]
struct Order {
    #[compare = "ignore"]
    id: u64,
}

fn main() {}
