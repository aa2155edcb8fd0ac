#[derive(dualwrite::Compare)]
#[compare(crate = "dualwrite")]
struct Order {
    id: u64,
}

fn main() {}
