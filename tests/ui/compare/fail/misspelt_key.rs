#[derive(dualwrite::Compare)]
#[compare(reveel)]
struct Order {
    #[compare(ingore)]
    updated: u64,
    #[compare(tolerence = 0.01)]
    total: f64,
    #[compare(skip)]
    token: u64,
}

fn main() {}
