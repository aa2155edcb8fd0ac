#[derive(dualwrite::Compare)]
struct Order {
    #[compare(with = "same")]
    email: String,
    #[compare(with = |old, new| old == new)]
    name: String,
}

fn main() {}
