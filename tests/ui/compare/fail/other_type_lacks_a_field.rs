#[derive(dualwrite::Compare)]
#[compare(other = NewRolloutCommand)]
struct Order {
    id: u64,
    legacy: bool,
}

struct NewRolloutCommand {
    id: u64,
}

fn main() {}
