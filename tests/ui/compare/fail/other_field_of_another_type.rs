#[derive(dualwrite::Compare)]
#[compare(other = NewRolloutCommand)]
struct Order {
    id: u64,
    age: String,
}

struct NewRolloutCommand {
    id: u64,
    age: u8,
}

fn main() {}
