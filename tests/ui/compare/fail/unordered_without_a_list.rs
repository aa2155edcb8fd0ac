use std::collections::HashMap;

#[derive(dualwrite::Compare)]
struct Order {
    #[compare(unordered)]
    lines: HashMap<u8, u8>,
    #[compare(key = id)]
    name: String,
}

fn main() {}
