#[derive(dualwrite::Compare)]
#[compare(other = NewRolloutCommand, ignore_other = (id, created))]
struct Order {
    id: u64,
    #[compare(other = id)]
    number: u64,
}

struct NewRolloutCommand {
    id: u64,
    created: u64,
}

fn main() {}
