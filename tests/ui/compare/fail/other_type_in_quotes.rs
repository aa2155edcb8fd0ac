#[derive(dualwrite::Compare)]
#[compare(other = "NewRolloutCommand", ignore_other = ("created"))]
struct Order {
    #[compare(other = "number")]
    id: u64,
}

struct NewRolloutCommand {
    number: u64,
    created: u64,
}

fn main() {}
