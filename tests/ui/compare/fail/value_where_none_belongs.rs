#[derive(dualwrite::Compare)]
struct Order {
    #[compare(reveal = true)]
    id: u64,
    #[compare(unordered(tags))]
    tags: Vec<u8>,
}

fn main() {}
