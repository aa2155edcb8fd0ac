#[derive(dualwrite::Compare)]
#[compare(ignore_other = created)]
struct Order {
    #[compare(other = number)]
    id: u64,
}

fn main() {}
