#[derive(dualwrite::Compare)]
#[compare()]
struct Order {
    #[compare]
    id: u64,
}

fn main() {}
