#[derive(dualwrite::Compare)]
#[compare(reveal, redact)]
struct Order {
    #[compare(with = same, tolerance = 0.01)]
    total: f64,
    #[compare(unordered, key = id)]
    lines: Vec<u8>,
    #[compare(unordered, relative = 0.01)]
    prices: Vec<f64>,
    #[compare(redact, reveal)]
    status: u8,
}

fn main() {}
