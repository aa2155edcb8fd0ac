#[derive(dualwrite::Compare)]
struct Order {
    id: u64,
    #[compare(ignore, reveal, rename = "changed")]
    updated: u64,
}

fn main() {}
