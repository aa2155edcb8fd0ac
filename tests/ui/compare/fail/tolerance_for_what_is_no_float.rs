#[derive(dualwrite::Compare)]
struct Order {
    #[compare(tolerance = 0.01)]
    total: i64,
    #[compare(relative = 0.01)]
    names: Vec<String>,
}

fn main() {}
