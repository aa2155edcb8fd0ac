#[derive(dualwrite::Compare)]
#[compare(other = NewRolloutCommand)]
struct Order {
    id: u64,
}

struct NewRolloutCommand {
    id: u64,
    created: u64,
}

fn main() {}
