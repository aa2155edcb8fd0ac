#[derive(dualwrite::Compare)]
struct Order {
    #[compare(tolerance = -0.01)]
    total: f64,
    #[compare(tolerance = 0)]
    tax: f64,
    #[compare(tolerance = "0.01")]
    tip: f64,
    #[compare(relative = 5)]
    weight: f64,
}

fn main() {}
